"""Train every network of configs/networks/ with the same budget and folds, and compare them.

    python -m tests.bench.networks [--only unet,fpn] [--crops N] [--epochs N] [key=value ...]

Writes a table (Markdown) and a plot beside each other: tests/bench/networks.md and .png. Each
network sees 6,400 crops in each of two folds, the last 1,600 in the fine-tune. The steps of all
twelve cost 53 minutes of processor time on a busy machine (8 crops of 64 px, one thread), so about
35 minutes on two cores with all else. The six on VGG, narrowed only as their files say, take nine
tenths of it, SegNet and TernausNet-16 alone two fifths: --only without them is the way to be quick.
Images/s are those of steps of two images on one thread, measured apart when all have been trained.
"""

from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

from pipeline.compute.device import Device
from pipeline.config.load import load_config
from pipeline.networks.build import build_network
from pipeline.networks.table import count, speeds
from tests.bench.sizes import sized
from tests.bench.trials import Score, budget_of, parser, run_trial

CONFIGS = Path("configs/networks")
WIDTH, ROW, LEFT, TOP, BAR = 1400, 52, 260, 90, 640
INK, BLUE, GREY = (40, 40, 40), (0, 114, 178), (200, 200, 200)


def table(
    scores: dict[str, Score], parameters: dict[str, int], images_per_s: dict[str, float]
) -> str:
    """Return the comparison as Markdown, the best network on ship images first."""
    lines = [
        "| network | F2, ship images | F2, all images | Dice | parameters | images/s, training |",
        "|---|---|---|---|---|---|",
    ]
    for name in sorted(scores, key=lambda name: -scores[name].f2_ship):
        score = scores[name]
        lines.append(
            f"| `{name}` | {score.f2_ship:.3f} ± {score.f2_ship_error:.3f} | {score.f2:.3f} "
            f"| {score.dice:.3f} | {parameters[name] / 1e6:.2f} M | {images_per_s[name]:.0f} |"
        )
    return "\n".join(lines) + "\n"


def plot(scores: dict[str, Score], images_per_s: dict[str, float], path: Path) -> None:
    """Draw a bar a network: F2 on ship images with its standard error, and the speed as text."""
    names = sorted(scores, key=lambda name: -scores[name].f2_ship)
    image = Image.new("RGB", (WIDTH, TOP + ROW * len(names) + 40), "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(26)
    longest = max(score.f2_ship + score.f2_ship_error for score in scores.values()) or 1.0
    draw.text((LEFT, 30), "F2 on ship images, out of fold, ± standard error", INK, font)
    draw.text((LEFT + BAR + 150, 30), "images/s, training", INK, font)
    for row, name in enumerate(names):
        score, middle = scores[name], TOP + ROW * row + ROW // 2
        end, error = (BAR * value / longest for value in (score.f2_ship, score.f2_ship_error))
        draw.text((LEFT - 20, middle), name, INK, font, anchor="rm")
        draw.rectangle((LEFT, middle - 17, LEFT + end, middle + 17), BLUE)
        draw.line((LEFT + max(end - error, 0), middle, LEFT + end + error, middle), GREY, 5)
        draw.text((LEFT + BAR + 20, middle), f"{score.f2_ship:.3f}", INK, font, anchor="lm")
        draw.text((LEFT + BAR + 280, middle), f"{images_per_s[name]:.0f}", INK, font, anchor="rm")
    image.save(path)


def main() -> None:
    """Run, print and draw."""
    flags = parser(__doc__, "networks", crops=1600, epochs=3)
    flags.add_argument(
        "--only",
        default=sized(None, "unet"),
        help="names of networks, separated by commas; default: all",
    )
    flags.add_argument("--out", type=Path, default=Path("tests/bench/networks.md"))
    arguments = flags.parse_intermixed_args()
    names = sorted(path.stem for path in CONFIGS.glob("*.yaml"))
    if arguments.only:
        names = arguments.only.split(",")
    configs, scores, parameters, images_per_s = {}, {}, {}, {}
    for name in names:
        path, overrides = CONFIGS / f"{name}.yaml", budget_of(arguments)
        config = configs[name] = load_config(path, overrides)
        parameters[name], _ = count(config.network, config.crops.size_px)
        scores[name] = run_trial(path, f"{arguments.prefix}-{name}", overrides)
    torch.set_num_threads(1)
    for name, config in configs.items():
        device = Device.choose(config.machine)
        network = device.place(build_network(config.network, channels=1))
        _, images_per_s[name] = speeds(network, config.crops.size_px, device)
    text = table(scores, parameters, images_per_s)
    arguments.out.write_text(text, encoding="utf-8")
    plot(scores, images_per_s, arguments.out.with_suffix(".png"))
    print(text)


if __name__ == "__main__":
    main()
