"""Training state on disk: whole, of this very job, and undamaged, or refused.

A dictionary of tensors and plain values enters `save`; `load` gives it back only if every byte has
its checksum and the state belongs to the job that asks for it.
"""

import zipfile
from pathlib import Path
from typing import Any

import torch

from pipeline.errors import ArtifactError
from pipeline.jobs.artifacts import write_atomic
from pipeline.jobs.job import Job

__all__ = ["load", "save"]


def save(path: Path, state: dict[str, Any]) -> None:
    """Write `state` atomically; the previous file stays until the new one is whole.

    Raises:
        ArtifactError: The disk is full.
    """
    write_atomic(path, lambda file: torch.save(state, file))


def load(path: Path, job: Job) -> dict[str, Any]:
    """Read what `save` wrote, onto the CPU.

    Args:
        path: The file.
        job: Whose `owner` the state must carry under "owner".

    Raises:
        ArtifactError: The file is damaged or is the state of another job.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"checksum of {damaged}")
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (zipfile.BadZipFile, RuntimeError, EOFError, OSError, ValueError) as error:
        raise ArtifactError(
            f"{path}: damaged checkpoint ({error}): expected it as it was saved. {job.restart_hint}"
        ) from error
    job.refuse_others(state["owner"], path)
    return state
