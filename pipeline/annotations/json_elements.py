"""A JSON file that memory need not hold: the elements of its lists, one after the other."""

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.data.images import shown
from pipeline.errors import DataError

BLOCK_BYTES = 2**20
BOM = codecs.BOM_UTF8  # which some editors begin a file with
BLANK = re.compile(r"[ \t\r\n]*")


def elements(path: Path) -> Iterator[tuple[str, Any, int, int]]:
    """Go through the lists of the object that a file holds.

    Yields:
        Of each element of a list its key in the object, itself, and where it lies in the file:
        first byte and number of bytes.

    Raises:
        DataError: It is no JSON, or no object.
    """
    with path.open("rb") as file:
        text = _Text(file)
        try:
            text.take("{")
            while text.next() != "}":
                key, _, _ = text.value()
                text.take(":")
                if text.next() == "[":
                    yield from ((key, *element) for element in text.elements())
                else:
                    text.value()
                if text.next() != "}":
                    text.take(",")
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{shown(path)}: expected JSON, an object with lists, but at byte {text.at}: "
                f"{error}. Export it again, or name its form with --as."
            ) from None


class _Text:
    """What lies before a place in a file, of which a block is held.

    Bytes are taken for characters: JSON's own are ASCII, and no other character has such bytes.
    """

    def __init__(self, file: BinaryIO) -> None:
        mark = len(BOM) if file.read(len(BOM)) == BOM else 0
        file.seek(mark)
        self._file, self._held, self._place, self._before = file, "", 0, mark
        self._decoder = json.JSONDecoder()

    @property
    def at(self) -> int:
        """Where it stands, bytes from the start."""
        return self._before + self._place

    def _read_on(self) -> bool:
        """Hold more, and let go of what is passed; False at the end of the file."""
        block = self._file.read(max(BLOCK_BYTES, len(self._held)))
        if block:
            self._held = self._held[self._place :] + block.decode("latin-1")
            self._before, self._place = self.at, 0
        return bool(block)

    def next(self) -> str:
        """Go to the next character that is not blank and return it, "" at the end."""
        while True:
            self._place = BLANK.match(self._held, self._place).end()  # type: ignore[union-attr]
            if self._place < len(self._held) or not self._read_on():
                return self._held[self._place : self._place + 1]

    def take(self, expected: str) -> None:
        """Pass a character."""
        found = self.next()
        if found != expected:
            raise ValueError(f"expected {expected!r}, got {found!r}")
        self._place += 1

    def value(self) -> tuple[Any, int, int]:
        """Pass a value; return it, its first byte and its number of bytes."""
        self.next()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._held, self._place)
            except json.JSONDecodeError as error:
                if not self._read_on():
                    raise ValueError(error.msg) from None
                continue
            # A number may go on where the block ends.
            if end < len(self._held) or not self._read_on():
                break
        start, length = self.at, end - self._place
        passed = self._held[self._place : end]
        self._place = end
        if not passed.isascii():
            value = json.loads(passed.encode("latin-1"))
        return value, start, length

    def elements(self) -> Iterator[tuple[Any, int, int]]:
        """Pass a list, element by element."""
        self.take("[")
        while self.next() != "]":
            yield self.value()
            if self.next() != "]":
                self.take(",")
        self.take("]")
