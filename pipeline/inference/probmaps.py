"""Probability maps on disk: one 8-bit PNG an image, and an index with a line for every image.

Maps enter image by image as uint8; a folder leaves. In the PNG the maps of the classes stand one
below the other; below them the contact maps, from networks that tell touching borders. Where no
object rises above the floor there is only the line in the index. It holds each PNG's SHA-256, so
that what was changed is not read. A killed writer resumes after the images it had recorded; several
may write shards of one folder at a time; a reader takes only a whole one.
"""

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.data.number_tables import read_numbers
from pipeline.errors import ArtifactError
from pipeline.jobs.artifacts import read_json, write_atomic, write_json
from pipeline.jobs.job import Job
from pipeline.jobs.parts import Part
from pipeline.maps import MAX_LEVEL, ImageMaps, as_level, map_path
from pipeline.masks.sizes import Sizes

COLUMNS = [
    "ImageId",
    "max_probability",
    "mean_probability",
    "image_probability",  # empty without an image head
    "bytes",
    "sha256",  # of the PNG, its first 16 digits
]
DROPPED = "mean_disagreement"
"""A column of version 0.1.0. Where it has values, each PNG ends in a strip that is not read."""
RECORD_EVERY = 500
Row = tuple[str, float, float, float | None, int, str]


def rises_above(layers: Sequence[ImageMaps], floor: float) -> bool:
    """Tell whether an image's maps are worth keeping: a class's maximum reaches `floor`.

    A map that does not is the same as none, for calibration and submission alike. The floor is
    rounded as calibration rounds its thresholds, so that one at the floor loses nothing.
    """
    return max(int(one.prob_hw.max()) for one in layers) >= as_level(floor)


class MapWriter:
    """Writes the maps of one job, or of one shard of it.

    Which images are written stands in a record of each shard, until the whole part makes the index
    of all of them: a killed run, even one of another number of shards, is resumed.

    Args:
        job: Its folder takes the maps; unfinished work of another job there is refused.
        part: What of the job is written here.
        floor: Maps with a maximum probability below are not stored.

    Attributes:
        precisions: That networks have computed maps in, each once.

    Raises:
        ArtifactError: The folder holds the unfinished maps of another configuration.
    """

    def __init__(self, job: Job, part: Part, *, floor: float) -> None:
        self._job, self._part, self._floor = job, part, floor
        self._records = job.folder / "records"
        self.precisions: list[str] = []
        self._own = self._records / f"{part.shard}of{part.shards}.json"
        records = {path: self._rows_of(path) for path in sorted(self._records.glob("*.json"))}
        self._rows = records.pop(self._own, [])
        self._others = [row for rows in records.values() for row in rows]

    def _rows_of(self, path: Path) -> list[Row]:
        recorded = read_json(path)
        self._job.refuse_others(recorded["owner"], path)
        if recorded["columns"] != COLUMNS:
            raise ArtifactError(
                f"{path}: unfinished maps of another version. {self._job.restart_hint}"
            )
        # Version 0.3.0 did not record it; on CPUs it was float32.
        known = recorded.get("precisions", ["float32"])
        self.precisions += [each for each in known if each not in self.precisions]
        return [tuple(row) for row in recorded["rows"]]

    @property
    def written(self) -> set[str]:
        """Images that need not be predicted again."""
        return {row[0] for row in self._others + self._rows}

    def add(self, image_id: str, layers: Sequence[ImageMaps]) -> None:
        """Store the maps of one image, one a class."""
        probs = np.concatenate([one.prob_hw for one in layers])
        highest, mean = probs.max() / MAX_LEVEL, probs.mean() / MAX_LEVEL
        size, digest = 0, ""
        if rises_above(layers, self._floor):
            contacts = [one.contact_hw for one in layers if one.contact_hw is not None]
            picture = np.concatenate([probs, *contacts])
            # Level 1: maps are mostly flat, so more effort saves little and costs a forward pass.
            content = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()
            write_atomic(map_path(self._job.folder, image_id), content, sync=False)
            size, digest = len(content), _digest(content)
        head = layers[0].image_prob
        row = (image_id, round(highest, 4), round(mean, 6), head, size, digest)
        self._rows.append(row)
        if len(self._rows) % RECORD_EVERY == 0:
            self.record()

    def record(self) -> None:
        """Have the maps on the disk, and a record of them."""
        os.sync()  # a record names only maps that are on the disk; syncing each costs far more
        told = {"owner": self._job.owner, "precisions": self.precisions, "columns": COLUMNS}
        write_json(self._own, told | {"rows": self._rows})

    def end(self, image_ids: Sequence[str], device: str, *, also: Sequence[str] = ()) -> None:
        """Record the maps; where the part is whole, write the index of all and finish the job.

        Args:
            image_ids: The images that the whole part must have, each once.
            device: What they were predicted on.
            also: Other files in the job's folder that are its outputs.

        Raises:
            ArtifactError: An image is missing, is there twice, or is none of the part's.
        """
        self.record()
        if self._part.shards > 1:
            return
        index = pd.DataFrame(self._others + self._rows, columns=COLUMNS).sort_values("ImageId")
        wrong = (Counter(index.ImageId) - Counter(image_ids)) | (
            Counter(image_ids) - Counter(index.ImageId)
        )
        if wrong:
            raise ArtifactError(
                f"{self._records}: expected each of {len(image_ids)} images once, got "
                f"{len(index)}; missing, twice or unexpected: {', '.join(sorted(wrong)[:3])}. "
                f"{self._job.restart_hint}"
            )
        write_atomic(self._job.folder / "index.csv", index.to_csv(index=False).encode())
        metrics = {"images": len(index), "stored": int((index.bytes > 0).sum())}
        precision = ", ".join(self.precisions) or None
        self._job.finish(["index.csv", *also], metrics, device, precision)
        shutil.rmtree(self._records)


class MapReader:
    """Reads what a `MapWriter` wrote.

    Args:
        job: A finished job.
        image_ids: The images that must be there, no more and no fewer.
        sizes: Of the maps.
        contact: Whether each has a contact map.
        classes: Of which each image has maps.

    Raises:
        ArtifactError: The index is damaged, of another version, or speaks of other images.
    """

    def __init__(
        self,
        job: Job,
        image_ids: Collection[str],
        sizes: Sizes,
        *,
        contact: bool,
        classes: int = 1,
    ) -> None:
        index = read_numbers(job.checked("index.csv"))
        has_strip = DROPPED in index and bool(index.pop(DROPPED).notna().any())
        if list(index.columns) not in (COLUMNS, COLUMNS[:-1]):
            raise ArtifactError(
                f"{job.folder / 'index.csv'}: expected the columns {', '.join(COLUMNS)}, got "
                f"{', '.join(index.columns)}: maps of another version. {job.restart_hint}"
            )
        index = index.set_index("ImageId")
        wrong = sorted(set(index.index) ^ set(image_ids))
        if wrong:
            raise ArtifactError(
                f"{job.folder / 'index.csv'}: expected the maps of {len(set(image_ids))} images, "
                f"got {len(index)}; only in one of both: {', '.join(wrong[:3])}. {job.restart_hint}"
            )
        self._job, self._contact, self._classes = job, contact, classes
        self._digests = index["sha256"].to_dict() if "sha256" in index else None
        self._strips, self._sizes = (1 + contact) * classes + has_strip, sizes
        self.image_ids = sorted(image_ids)
        self._bytes = index["bytes"].to_dict()
        self._image_prob = index["image_probability"].dropna().to_dict()

    def image_prob(self, image_id: str) -> float | None:
        """Return the image head's answer, also where no map is stored; None without a head."""
        return self._image_prob.get(image_id)

    def read(self, image_id: str, layer: int = 0) -> ImageMaps | None:
        """Return the maps of one class of an image; see `read_all`."""
        layers = self.read_all(image_id)
        return None if layers is None else layers[layer]

    def read_all(self, image_id: str) -> list[ImageMaps] | None:
        """Return the maps of an image, one a class; None where no object rose above the floor.

        Raises:
            ArtifactError: The file is missing, damaged, or of another size.
        """
        expected = self._bytes[image_id]
        if expected == 0:
            return None
        path = map_path(self._job.folder, image_id, by_stem=self._digests is None)
        content = path.read_bytes() if path.is_file() else b""
        picture: npt.NDArray[np.uint8] | None = None
        unchanged = self._digests is None or self._digests[image_id] == _digest(content)
        if len(content) == expected and unchanged:
            picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        height, width = self._sizes[image_id]
        if picture is None or picture.shape != (self._strips * height, width):
            found = f"{len(content)} other bytes" if picture is None else f"shape {picture.shape}"
            raise ArtifactError(
                f"{path}: expected a map of shape {(self._strips * height, width)} in {expected} "
                f"bytes, got {found}. {self._job.restart_hint}"
            )
        return self._maps_of(image_id, picture.reshape(self._strips, height, width))

    def background(self, image_id: str) -> list[ImageMaps]:
        """Return the maps of an image without a stored one: 0 everywhere."""
        return self._maps_of(image_id, np.zeros((self._strips, *self._sizes[image_id]), np.uint8))

    def _maps_of(self, image_id: str, strips: npt.NDArray[np.uint8]) -> list[ImageMaps]:
        contacts = [*strips[self._classes :]] if self._contact else [None] * self._classes
        return [
            ImageMaps(prob_hw, contact_hw, self.image_prob(image_id))
            for prob_hw, contact_hw in zip(strips, contacts, strict=False)
        ]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
