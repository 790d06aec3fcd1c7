"""Which images of a folder overlap: for any images of one size, without a run.

Reads a folder of images. Writes `groups.csv` (ImageId, group), what a split must keep whole, and
`pairs.csv` (ImageId, other, down_px, right_px, mirrored, quarter_turns): each pair that overlaps,
and where the upper left corner of the other lies in the first, once it is mirrored, left for right,
where that is 1, and then turned so many times counterclockwise. Images that steps of a third
connect are compared at such steps only.
"""

import logging
import os
from pathlib import Path

from pipeline.config.paths import of_caller
from pipeline.errors import ConfigError, DataError
from pipeline.jobs.artifacts import write_atomic
from pipeline.jobs.command import argument_parser, exit_codes

NAMED = 10
PAIR_COLUMNS = ["ImageId", "other", "down_px", "right_px", "mirrored", "quarter_turns"]
LOG = logging.getLogger("pipeline.commands.find_overlaps")


def main() -> None:
    """Read the command line and write the tables."""
    parser = argument_parser(__doc__)
    parser.add_argument("images", type=Path, help="the folder of images")
    parser.add_argument("output", type=Path, help="the folder for the two tables")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with exit_codes(resumes=False):
        if arguments.jobs < 1:
            raise ConfigError(f"--jobs {arguments.jobs}: expected a number from 1 on.")
        output = of_caller(arguments.output)
        if output.exists() and not output.is_dir():
            raise ConfigError(f"{output}: expected a folder for the tables, got a file.")
        find_overlaps(of_caller(arguments.images), output, arguments.jobs)


def find_overlaps(images: Path, output: Path, jobs: int) -> None:
    """Compare all images of a folder.

    Raises:
        DataError: It holds none, or one that cannot be used.
    """
    import numpy as np
    import pandas as pd

    from pipeline.data.any_offset import COVERED, find_pairs
    from pipeline.data.grouping import join_groups
    from pipeline.data.images import ENDINGS, list_images, name_defect, shown
    from pipeline.data.landmarks import as_mirror_and_turns
    from pipeline.data.overlaps import link_tiles, linked_pairs
    from pipeline.data.signature_store import read_signatures
    from pipeline.data.verify import verify_images

    paths = list_images(images) if images.is_dir() else []
    if not paths:
        raise DataError(
            f"{images}: expected a folder with images ({', '.join(ENDINGS)}), got none."
        )
    defects = verify_images(paths, None, jobs=jobs).defect
    bad = [
        f"{shown(path)}: {reason}"
        for path, defect in zip(paths, defects, strict=True)
        if (reason := name_defect(path.name) or defect)
    ]
    if bad:
        raise DataError(
            f"{len(bad)} of {len(paths)} images cannot be used:\n  "
            + "\n  ".join(bad[:NAMED])
            + "\nMend them, or move them to another folder."
        )
    names = pd.Series([path.name for path in paths], name="ImageId")
    LOG.info("%d images %s", len(paths), COVERED)
    signatures = read_signatures(paths, jobs=jobs, store=None)
    groups = link_tiles(signatures)
    found = dict[tuple[int, int], tuple[int, ...]]()
    for pair in find_pairs(signatures, paths, groups, jobs=jobs, every=True):
        found[pair.one, pair.other] = (*pair.offset_yx, *as_mirror_and_turns(pair.turn))
    one, other, offsets_yx = linked_pairs(signatures, groups)
    for *tiles, down, right in np.column_stack([one, other, offsets_yx]).tolist():
        found[tiles[0], tiles[1]] = down, right, 0, 0
    groups = join_groups(groups, [*found])
    rows = [(names[one], names[other], *found[one, other]) for one, other in sorted(found)]
    pairs = pd.DataFrame(rows, columns=PAIR_COLUMNS)
    tables = {"groups.csv": names.to_frame().assign(group=groups), "pairs.csv": pairs}
    for name, table in tables.items():
        write_atomic(output / name, table.to_csv(index=False).encode())
    LOG.info("%d images, %d pairs, %d groups", len(names), len(pairs), groups.max() + 1)


if __name__ == "__main__":
    main()
