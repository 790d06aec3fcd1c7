"""Try encoders, the smallest of each family: which sizes they take, what they cost, and one step.

    python -m tests.bench.encoders [--table TABLE.csv] [--page PAGE.md] [--only NAME,NAME]

Writes pipeline/networks/encoders.csv after each encoder and, at the end, docs/encoders.md from it.
What is in the table is not tried again: it resumes. Shapes tell the sizes and the costs; up to 60
million parameters a step of training at 96 px and a prediction of 101 x 75 px are computed as well.
An hour on one core.
"""

import argparse
import csv
import io
import re
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import torch
from torch.nn import functional

from pipeline.config.networks import Network
from pipeline.errors import ConfigError
from pipeline.jobs.artifacts import write_atomic
from pipeline.networks.build import SegmentationNetwork, build_network, build_random
from pipeline.networks.check import check_sizes
from pipeline.networks.encoders import build_encoder, encoders, timm
from pipeline.networks.input_sizes import on_shapes, problem_at
from pipeline.networks.measured import COLUMNS, TABLE, Encoder, read_encoders
from pipeline.networks.table import count
from pipeline.networks.weight_files import imagenet_source
from tests.bench.sizes import sized

PAGE = Path("docs/encoders.md")
CROP_PX, IMAGE, COUNTED_PX, OTHER_PX = 96, (101, 75), 224, 96
MAX_COMPUTED = 60e6
MAX_STRIDE_PX = 64
HEAD = """# Encoders

The smallest encoder of each family of timm (`tu-...`) and of segmentation_models_pytorch, as
`python -m tests.bench.encoders` found it; `./run.sh list_networks --all` prints the same. Larger
ones of a family take the same sizes as a rule, or those that their name says. Whatever the name, a
run tells in seconds, before it reads any data, whether its crops fit.

*arch*: `unet` stands for every architecture but `dpt`; those that dilate the encoder (`deeplabv3`,
`deeplabv3plus`, `pan`) take fewer. *sizes*: images of any size, padded to the stride; or padded to
multiples of N px; or padded to N x N px and none larger. Where `img_size` says yes,
`network.options={img_size: M}` makes the encoder for M instead. *finest*: stride of the finest
features: the larger, the coarser what edges are drawn from. *M*: millions of parameters of the
network that a gradient reaches. *GMACs*: of an image of 224 x 224 px, or of the largest.
*weights*: whether `network.weights=imagenet` finds some. *result*: `trained` after a step and a
prediction, `shapes` where only shapes were tried (more than 60 million parameters).

## Start weights

`network.weights` takes a file of PyTorch's or safetensors', whatever its name: of the encoder as
timm, torchvision or segmentation_models_pytorch name its tensors, or of a whole network. Names may
stand behind `module.`, `_orig_mod.`, `body.`, `model.`, `net.`, `network.` or `backbone.`, as
wrappers, Lightning and detectors put them; of a checkpoint that holds averaged weights, too, those
are taken. Where a file has names of its own throughout, as EfficientNet-Lite of other packages has,
tensors are matched by order if number, shapes and kinds all agree. The log says what was taken and
what was left over; what does not fit is refused.

A file that holds more than tensors, a pickled network for instance, is refused, since to read it is
to run it: save `network.state_dict()`. Where timm has several weights for one name, the encoder
`tu-NAME.TAG` is one of them, with its colours; a file whose name says another tag with other
colours, or a `tf_` network for one without, is refused, and a warning says where it does not tell.

## Table

"""


def family_of(name: str) -> str:
    """Return the beginning of a name that says whose it is, such as `tu-resnetv2` or `vgg`."""
    found = re.match(r"(?:tu-)?(?:tf_|test_|timm-)?[a-z]+?(?:v\d+)?(?![a-z])", name)
    assert found is not None
    return found[0]


def smallest() -> list[tuple[int, str]]:
    """Return the smallest encoder of each family with its parameters, the smallest first."""
    found: dict[str, tuple[int, str]] = {}
    for name in [*encoders, *(f"tu-{name}" for name in timm.list_models())]:
        sized_name = parameters(name), name
        family = family_of(name)
        found[family] = min(found.get(family, sized_name), sized_name)
    return sorted(found.values())


def parameters(name: str) -> int:
    """Count those of the whole classifier, or of smp's encoder."""
    if name.startswith("tu-"):
        with torch.device("meta"):
            whole = timm.create_model(name.removeprefix("tu-"))
    else:
        whole = on_shapes(lambda: build_encoder(name))
    return sum(p.numel() for p in whole.parameters())


def measure(name: str, size: int) -> Encoder:
    """Try an encoder of so many parameters under U-Net, and where that cannot be, under DPT."""
    reasons = []
    for arch in ("unet", "dpt"):
        network = Network(arch=arch, encoder=name, weights="none", options={})
        try:
            check_sizes(network, CROP_PX, [IMAGE])
        except ConfigError as error:
            before, _, reason = str(error).partition(f"{name!r}: ")
            reasons.append(re.sub(r"\. (Set|No|Correct|It takes) .*", "", reason or before))
            continue
        built = on_shapes(lambda network=network: build_random(network, 1, image_head=False))
        computed = size <= MAX_COMPUTED
        if computed:
            compute(build_network(network, channels=1))
        used, macs = count(network, min(COUNTED_PX, built.largest_px or COUNTED_PX))
        return Encoder(
            family_of(name),
            name,
            arch,
            sizes_of(built),
            yes(made_for_another(network)),
            str(finest_px(built)),
            f"{used / 1e6:.1f}",
            f"{macs / 1e9:.1f}",
            yes(has_weights(name)),
            "trained" if computed else "shapes",
        )
    weights = yes(has_weights(name))
    return Encoder(family_of(name), name, *"------", weights, reasons[0].replace("|", "/"))


def compute(network: SegmentationNetwork) -> None:
    """Take a step of training, and predict."""
    images = torch.zeros(2, 3, CROP_PX, CROP_PX, dtype=torch.uint8)
    functional.softplus(network.train()(images).logits_nchw).mean().backward()
    with torch.inference_mode():
        network.eval()(torch.zeros(1, 3, *IMAGE, dtype=torch.uint8))


def sizes_of(built: SegmentationNetwork) -> str:
    """Say in two or three words which images a network takes."""
    if built.largest_px is not None:
        return f"up to {built.largest_px}"
    return "any" if built.stride <= MAX_STRIDE_PX else f"multiples of {built.stride}"


def made_for_another(network: Network) -> bool:
    """Tell whether the encoder takes a size of its own making, and only by being made for it."""
    other = network.model_copy(update={"options": {"img_size": OTHER_PX}})
    try:
        built = on_shapes(lambda: build_random(other, 1, image_head=False))
    except ConfigError:
        return False
    return problem_at(built, OTHER_PX, OTHER_PX) is None and built.stride == OTHER_PX


def finest_px(built: SegmentationNetwork) -> int:
    """Return the stride of the finest features that are not the image itself."""
    strides: list[int] = []

    def note(_: object, inputs: tuple[torch.Tensor], output: list[torch.Tensor]) -> None:
        maps = output[0] if isinstance(output, tuple) else output[1:]
        strides.extend(inputs[0].shape[3] // each.shape[3] for each in maps if each.shape[1])

    hook = built.body.encoder.register_forward_hook(note)
    side_px = built.largest_px or COUNTED_PX
    built(torch.zeros(1, 3, side_px, side_px, device="meta"))
    hook.remove()
    return min(strides)


def has_weights(name: str) -> bool:
    """Tell whether weights are published where the pipeline looks for them."""
    try:
        imagenet_source(name)
    except ConfigError:
        return False
    return True


def yes(value: bool) -> str:
    """Write a truth value."""
    return "yes" if value else "no"


def table(measured: Iterable[Encoder]) -> str:
    """Write the table that `read_encoders` reads."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(asdict, measured))
    return text.getvalue()


def page(measured: Iterable[Encoder]) -> str:
    """Write the table as a document."""
    titles = ("encoder", "arch", "sizes", "img_size", "finest", "M", "GMACs", "weights", "result")
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for each in sorted(measured, key=lambda one: one.name):
        cells = [getattr(each, column) for column in COLUMNS[1:]]
        lines.append(f"| `{cells[0]}` | {' | '.join(cells[1:])} |")
    return HEAD + "\n".join(lines) + "\n"


def main() -> None:
    """Measure what is missing, and write table and page after each."""
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--table", type=Path, default=TABLE)
    flags.add_argument("--page", type=Path, default=PAGE)
    flags.add_argument("--only", default=sized(None, "tu-test_resnet,tu-levit_128s"))
    arguments = flags.parse_args()
    measured = read_encoders(arguments.table)
    if arguments.only:
        wanted = [(parameters(name), name) for name in arguments.only.split(",")]
    else:
        wanted = smallest()
    done = {one.name for one in measured}
    for size, name in wanted:
        if name in done:
            continue
        started = time.perf_counter()
        measured.append(measure(name, size))
        print(f"{time.perf_counter() - started:5.1f} s  {' | '.join(vars(measured[-1]).values())}")
        write_atomic(arguments.table, table(measured).encode())
    arguments.page.write_text(page(measured), encoding="utf-8")


if __name__ == "__main__":
    main()
