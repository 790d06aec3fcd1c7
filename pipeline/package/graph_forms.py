"""The forms of a file that a `Graph` is written in and read back from: FORMS."""

import json
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.export import ExportedProgram

from pipeline.errors import ConfigError
from pipeline.package.graph import INPUT, OUTPUTS, Graph

METADATA = "metadata.json"
"""The extra file in a program of torch.export."""

Function = Callable[[Tensor], list[Tensor]]
Metadata = Mapping[str, Any]


class Form(NamedTuple):
    """A form of file.

    Attributes:
        check: Raises ConfigError where a package is missing.
        ending: Of the names of such files, without which torch warns of its own.
        save: Writes a graph, as it was traced, and what is said of it, into a file; an ONNX file's
            weights may be in another beside it.
        read: Returns what computes the outputs of such a file.
    """

    check: Callable[[], None]
    ending: str
    save: Callable[[Graph, ExportedProgram, Path, Metadata], None]
    read: Callable[[Path], Function]


def _check_onnx() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"--as onnx: {error.name}, which it needs, is not installed. Install it with "
            '`pip install --constraint requirements.lock ".[onnx]"`, or use --as torch-export.'
        ) from None


def _save_onnx(graph: Graph, program: ExportedProgram, file: Path, metadata: Metadata) -> None:
    import onnx

    with warnings.catch_warnings(action="ignore"):
        exported = torch.onnx.export(
            program,
            dynamo=True,
            dynamic_shapes=(graph.free_axes,),
            input_names=[INPUT],
            output_names=OUTPUTS[: len(program.graph_signature.user_outputs)],
            verbose=False,
        )
    assert exported is not None, "only the older exporter returns nothing"
    model = exported.model
    metadata = {**metadata, "opset": model.opset_imports[""]}
    model.metadata_props.update({name: json.dumps(value) for name, value in metadata.items()})
    for node in model.graph.all_nodes():
        node.metadata_props.clear()  # how it was traced, which differs from time to time
    exported.save(file)  # with weights of more than 1.5 GiB in another beside it
    onnx.checker.check_model(file, full_check=True)


def _read_onnx(file: Path) -> Function:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # what goes wrong is raised, too
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return lambda images: [
        torch.from_numpy(one) for one in session.run(None, {INPUT: images.numpy()})
    ]


def _save_program(_graph: Graph, program: ExportedProgram, file: Path, metadata: Metadata) -> None:
    torch.export.save(program, file, extra_files={METADATA: json.dumps(metadata)})


def _read_program(file: Path) -> Function:
    function = torch.export.load(file).module()
    return lambda images: list(function(images))


FORMS = {
    "onnx": Form(_check_onnx, ".onnx", _save_onnx, _read_onnx),
    "torch-export": Form(lambda: None, ".pt2", _save_program, _read_program),
}


def largest_difference(graph: Graph, function: Function, batches: Iterable[Tensor]) -> float:
    """Return how far at most a probability is from the graph's own; NaN if one is.

    Args:
        graph: What the function should be.
        function: Of a file.
        batches: Images, each of a size that the graph takes.
    """
    differences = [
        (got - expected).abs().max()
        for images in batches
        for got, expected in zip(function(images), graph(images), strict=True)
    ]
    return float(torch.stack(differences).max())
