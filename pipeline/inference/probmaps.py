"""Probability maps on disk: one 8-bit PNG an image, and an index with a line for every image.

Maps enter image by image as uint8; a folder leaves. The PNG is the ship map and, from networks that
tell contact, the contact map below it. Where no ship rises above the floor there is only the line.
A killed writer goes on after the images it had recorded; a reader takes only a whole folder.
"""

from collections.abc import Collection
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from pipeline.artifacts import read_json, write_atomic, write_json
from pipeline.errors import ArtifactError
from pipeline.run import Job
from pipeline.ships.separate import ImageMaps

__all__ = ["MapReader", "MapWriter", "rises_above"]

COLUMNS = ["ImageId", "max_probability", "mean_probability", "image_probability", "bytes"]
RECORD_EVERY = 500


def rises_above(prob_hw: np.ndarray, floor: float) -> bool:
    """Tell whether a map, uint8 (H, W), is worth keeping: its maximum probability reaches `floor`.

    A map that does not is the same as none, for calibration and submission alike.
    """
    return bool(prob_hw.max() / 255 >= floor)


class MapWriter:
    """Writes the maps of one job.

    Args:
        job: Its folder takes the maps; unfinished work of another job there is refused.
        floor: Maps with a maximum probability below are not stored.

    Raises:
        ArtifactError: The folder holds the unfinished maps of another configuration.
    """

    def __init__(self, job: Job, *, floor: float) -> None:
        self._job, self._floor = job, floor
        self._partial = job.folder / "partial.json"
        self._rows: list[tuple[str, float, float, float | None, int]] = []
        if self._partial.is_file():
            recorded = read_json(self._partial)
            if recorded["owner"] != job.owner:
                raise ArtifactError(
                    f"{self._partial}: unfinished maps of another configuration or of other "
                    f"weights. {job.restart_hint}"
                )
            self._rows = [tuple(row) for row in recorded["rows"]]

    @property
    def written(self) -> set[str]:
        """Images that need not be predicted again."""
        return {row[0] for row in self._rows}

    def add(self, image_id: str, maps: ImageMaps) -> None:
        """Store the maps of one image."""
        prob_hw, contact_hw = maps.prob_hw, maps.contact_hw
        highest, mean = prob_hw.max() / 255, prob_hw.mean() / 255
        size = 0
        if rises_above(prob_hw, self._floor):
            picture = prob_hw if contact_hw is None else np.concatenate([prob_hw, contact_hw])
            # Level 1: maps are mostly flat, so more effort saves little and costs a forward pass.
            content = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()
            write_atomic(_map_path(self._job.folder, image_id), content)
            size = len(content)
        self._rows.append((image_id, round(highest, 4), round(mean, 6), maps.image_prob, size))
        if len(self._rows) % RECORD_EVERY == 0:
            self._record()

    def _record(self) -> None:
        write_json(self._partial, {"owner": self._job.owner, "rows": self._rows})

    def close(self, device: str) -> None:
        """Write the index and finish the job."""
        index = pd.DataFrame(self._rows, columns=COLUMNS).sort_values("ImageId")
        write_atomic(self._job.folder / "index.csv", index.to_csv(index=False).encode())
        self._partial.unlink(missing_ok=True)
        metrics = {"images": len(index), "stored": int((index.bytes > 0).sum())}
        self._job.finish(["index.csv"], metrics, device)


class MapReader:
    """Reads what a `MapWriter` wrote.

    Args:
        job: A finished job.
        image_ids: The images that must be there, no more and no fewer.
        height: Of every map, px.
        width: Of every map, px.
        contact: Whether each has a contact map.

    Raises:
        ArtifactError: The index is damaged or speaks of other images.
    """

    def __init__(
        self, job: Job, image_ids: Collection[str], height: int, width: int, *, contact: bool
    ) -> None:
        self._job, self._height = job, height
        self._shape = (2 * height if contact else height, width)
        index = pd.read_csv(job.checked("index.csv"), dtype={"ImageId": str}).set_index("ImageId")
        wrong = sorted(set(index.index) ^ set(image_ids))
        if wrong:
            raise ArtifactError(
                f"{job.folder / 'index.csv'}: expected the maps of {len(set(image_ids))} images, "
                f"got {len(index)}; only in one of both: {', '.join(wrong[:3])}. {job.restart_hint}"
            )
        self.image_ids = sorted(image_ids)
        self._bytes = index["bytes"].to_dict()
        self._image_prob = index["image_probability"].dropna().to_dict()

    def read(self, image_id: str) -> ImageMaps | None:
        """Return the maps of an image, or None where no ship rose above the floor.

        Raises:
            ArtifactError: The file is missing, damaged, or of another size.
        """
        expected = self._bytes[image_id]
        if expected == 0:
            return None
        path = _map_path(self._job.folder, image_id)
        content = path.read_bytes() if path.is_file() else b""
        picture: np.ndarray | None = None
        if len(content) == expected:
            picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        if picture is None or picture.shape != self._shape:
            found = f"{len(content)} bytes" if picture is None else f"shape {picture.shape}"
            raise ArtifactError(
                f"{path}: expected a map of shape {self._shape} in {expected} bytes, got {found}. "
                f"{self._job.restart_hint}"
            )
        contact_hw = picture[self._height :]
        return ImageMaps(
            picture[: self._height],
            contact_hw if len(contact_hw) else None,
            self._image_prob.get(image_id),
        )


def _map_path(folder: Path, image_id: str) -> Path:
    return folder / "maps" / f"{Path(image_id).stem}.png"
