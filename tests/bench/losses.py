"""What each step of the recipe is worth: cross-validated F2 over several seeds, table and plot.

    python -m tests.bench.losses [--seeds 0,1,2] [--crops N] [--epochs N] [key=value ...]

Each variant but the last adds one thing to the one before it. Steps, learning rates and folds are
the same for all: where there is no Lovász stage, the fine-tune keeps the training loss. The
seed moves the weights at the start, the crops and their augmentation; the folds stay. Each of the
18 runs sees 12,800 crops in each of two folds, the last 3,200 in the fine-tune; the steps cost
33 minutes of processor time in all.
"""

from pathlib import Path
from statistics import mean, stdev

from matplotlib.figure import Figure

from tests.bench.sizes import sized
from tests.bench.trials import Score, budget_of, parser, run_trial

CONFIG = Path("configs/demo.yaml")
BCE = "{name: bce, weight: 1.0, label_smoothing: %s}"
WITH_DICE = (
    "{name: bce_minus_ln_dice, weight: 1.0, per_image: false, smooth: 1.0, label_smoothing: %s}"
)
FOCAL = "{name: focal, weight: 1.0, alpha: 0.25, gamma: 2.0}"
LOVASZ = (
    "{name: lovasz_hinge, weight: 1.0, per_image: true, margin: elu, symmetric: false, empty: skip}"
)
NO_EMA = ["train.ema_decay=0.0", "finetune.ema_decay=0.0"]


def stages(train: str, finetune: str) -> list[str]:
    """Return the overrides that set both stages' losses."""
    return [f"train.loss=[{train}]", f"finetune.loss=[{finetune}]"]


PLAIN_BCE, PLAIN_DICE, SMOOTHED_DICE = BCE % 0.0, WITH_DICE % 0.0, WITH_DICE % 0.1
LOVASZ_STAGE = f"{LOVASZ}, {PLAIN_BCE}"
VARIANTS = {
    "bce": ("BCE", stages(PLAIN_BCE, PLAIN_BCE) + NO_EMA),
    "dice": ("BCE − ln Dice", stages(PLAIN_DICE, PLAIN_DICE) + NO_EMA),
    "lovasz": ("+ Lovász stage", stages(PLAIN_DICE, LOVASZ_STAGE) + NO_EMA),
    "ema": ("+ EMA", stages(PLAIN_DICE, LOVASZ_STAGE)),
    "smoothing": ("+ label smoothing 0.1", stages(SMOOTHED_DICE, f"{LOVASZ}, {BCE % 0.1}")),
    "focal": ("focal for BCE − ln Dice, with Lovász and EMA", stages(FOCAL, LOVASZ_STAGE)),
}


def line(title: str, scores: list[Score]) -> str:
    """Return a row of the table: means, and the standard deviation over seeds."""
    columns = [[getattr(score, name) for score in scores] for name in ("f2_ship", "f2", "dice")]
    spreads = [stdev(values) if len(values) > 1 else 0.0 for values in columns]
    cells = [f"{mean(v):.3f} ± {s:.3f}" for v, s in zip(columns, spreads, strict=True)]
    each = ", ".join(f"{score.f2_ship:.3f}" for score in scores)
    return f"| {title} | {' | '.join(cells)} | {each} |"


def plot(lines: list[str], path: Path) -> None:
    """Draw the table's rows: F2 of images with ships, a dot a seed, the mean as a line."""
    cells = [[cell.strip() for cell in row.strip("| \n").split("|")] for row in lines]
    figure = Figure(figsize=(9, 0.55 * len(cells) + 1.2), layout="constrained")
    axes = figure.add_subplot(xlabel="F2, images with ships, out of fold; a dot a seed")
    for place, (_, *_, each) in enumerate(cells):
        values = [float(value) for value in each.split(",")]
        axes.plot(values, [place] * len(values), "o", color="#0072b2", markersize=9, alpha=0.7)
        axes.vlines(mean(values), place - 0.3, place + 0.3, color="#282828", linewidth=2)
    axes.set_yticks(range(len(cells)), [title for title, *_ in cells])
    axes.invert_yaxis()
    axes.grid(axis="x", color="#dddddd")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Run, print and draw."""
    flags = parser(__doc__, "losses", crops=3200, epochs=3)
    flags.add_argument("--seeds", default=sized("0,1,2", "0"))
    flags.add_argument(
        "--only",
        default=sized(None, "bce"),
        help="variants, separated by commas, of: " + ", ".join(VARIANTS),
    )
    flags.add_argument("--out", type=Path, default=Path("tests/bench/losses.md"))
    arguments = flags.parse_intermixed_args()
    chosen = arguments.only.split(",") if arguments.only else list(VARIANTS)
    scores: dict[str, list[Score]] = {variant: [] for variant in chosen}
    for seed in arguments.seeds.split(","):
        for variant in chosen:
            overrides = [*budget_of(arguments), *VARIANTS[variant][1], f"seed={seed}"]
            name = f"{arguments.prefix}-{variant}-{seed}"
            scores[variant].append(run_trial(CONFIG, name, overrides))
    lines = [
        "| variant | F2, ship images | F2, all images | Dice | F2, ship images, each seed |",
        "|---|---|---|---|---|",
        *(line(VARIANTS[variant][0], scores[variant]) for variant in chosen),
    ]
    arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    plot(lines[2:], arguments.out.with_suffix(".png"))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
