"""Which bands of a raster are red, green and blue."""

from collections.abc import Sequence

from pipeline.errors import ConfigError, DataError

COLOURS = ("red", "green", "blue")


def parse_bands(text: str) -> tuple[int, ...]:
    """Read `--bands`: the numbers of red, green and blue from 1 on, or of one band for grey.

    Raises:
        ConfigError: It is something else.
    """
    try:
        bands = tuple(int(part) for part in text.split(","))
    except ValueError:
        bands = ()
    if len(bands) not in (1, 3) or min(bands) < 1:
        raise ConfigError(
            "--bands: expected the numbers of the bands that are red, green and blue, such as "
            f"3,2,1, or the number of one for grey, got {text!r}. Band 1 is a file's first."
        )
    return bands


def choose_bands(
    given: Sequence[int] | None, meanings: Sequence[str], descriptions: Sequence[str | None]
) -> tuple[int, ...]:
    """Return the bands for red, green and blue, or the one for grey.

    Args:
        given: What the user says, as `parse_bands` returns it; None leaves it to the file.
        meanings: Of each band as GDAL's colour interpretation names it: red, gray, alpha ...
        descriptions: What the file calls them.

    Raises:
        ConfigError: The file does not have those bands.
        DataError: It does not say which they are. Neither message names the file.
    """
    colours = [n for n, meaning in enumerate(meanings, start=1) if meaning != "alpha"]
    if given is not None:
        if missing := [band for band in given if band > len(meanings)]:
            raise DataError(
                f"expected bands from 1 to {len(meanings)}, which it has, got {missing[0]} in "
                f"--bands {','.join(map(str, given))}. Correct it."
            )
        return tuple(given)
    if "palette" in meanings:
        raise DataError(
            "expected colours or values, got numbers of a palette. Make colours of them first: "
            "gdal_translate -expand rgb IN.tif OUT.tif"
        )
    if len(colours) == 1:
        return (colours[0],)
    if {*COLOURS} <= {*meanings}:
        return tuple(meanings.index(colour) + 1 for colour in COLOURS)
    if len(colours) == 3:
        return tuple(colours)
    if len(colours) < 3:
        raise DataError(
            f"{len(meanings)} bands, of which none is known as a colour. Name the one that is to "
            "be grey: --bands 1"
        )
    named = ", ".join(f"{n} {name}" for n, name in enumerate(descriptions, start=1) if name)
    raise DataError(
        f"{len(meanings)} bands, and the file does not say which are red, green and blue"
        f"{f' ({named})' if named else ''}. Name them: --bands 3,2,1 if the first are blue, green "
        "and red, as in files by wavelength, --bands 1,2,3 if they are red, green and blue."
    )
