"""The part of YAML that a configuration is written in: plain values, lists and mappings.

Text enters, plain values leave, with the line of each. They are built from the parser's events, one
after the other, so that what is refused is refused before anything grows out of it: tags, anchors
and aliases, merge keys, deep nesting, long texts, further documents. YAML 1.1 finds dates, times
in base 60, octal numbers and words such as `yes` in plain text. Here a number is decimal, `true`,
`false` and `null` are the only words, and everything else is text.
"""

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import yaml

from pipeline.config.describe import Key, dotted
from pipeline.errors import ConfigError

FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?\Z")
MAX_DEPTH = 20
MAX_TEXT = 1000
"""Letters: in any script fewer bytes than a path may have."""

Event = Any  # the stubs do not know what each kind of event has
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)\Z")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z")
_MAX_INT = 2**63 - 1
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def read_yaml(text: str, key: Key, place: Callable[[int], str], places: dict[Key, str]) -> Any:  # noqa: ANN401
    """Return the plain value that `text` holds: str, int, float, bool, None, list or dict.

    Args:
        text: One document; an empty one is None.
        key: Where the value belongs.
        place: Says where a line, from 1, is.
        places: Is given the place of each key in the value.

    Raises:
        ConfigError: It is not YAML, or more of YAML than a configuration may use.
    """
    try:
        return _Document(text, place, places).read(key)
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        mark = getattr(error, "problem_mark", None)
        where = place(1 if mark is None else mark.line + 1)
        why = getattr(error, "problem", None) or " ".join(str(error).split())
        raise ConfigError(f"{where}: {dotted(key)}: not YAML: {why}. Correct it.") from error


class _Document:
    def __init__(self, text: str, place: Callable[[int], str], places: dict[Key, str]) -> None:
        self._events: Iterator[Event] = yaml.parse(text, Loader=yaml.SafeLoader)
        self._place = place
        self._places = places

    def read(self, key: Key) -> Any:  # noqa: ANN401
        next(self._events)  # the stream begins
        if isinstance(next(self._events), yaml.StreamEndEvent):
            return None
        value = self._value(next(self._events), key)
        next(self._events)  # the document ends
        after = next(self._events)
        if not isinstance(after, yaml.StreamEndEvent):
            raise self._wrong(after, key, "one document, got another. Remove what is behind `---`")
        return value

    def _value(self, event: Event, key: Key) -> Any:  # noqa: ANN401
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise self._wrong(event, key, "no anchor (&) or alias (*). Write the value out")
        if event.tag is not None:
            raise self._wrong(event, key, f"no tag, got {event.tag[:40]!r}. Remove it")
        if len(key) > MAX_DEPTH:
            raise self._wrong(event, key[:3], f"at most {MAX_DEPTH} levels. Nest less deeply")
        self._places.setdefault(key, self._at(event))
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(key)
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Any] = []
            while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
                items.append(self._value(event, (*key, len(items))))
            return items
        return self._scalar(event, key)

    def _mapping(self, key: Key) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent) or event.anchor or event.tag:
                raise self._wrong(event, key, "plain names as keys. Write `key: value`")
            name = self._text(event, key)
            here = (*key, name)
            if name == "<<":
                raise self._wrong(event, here, "no merge key. Use `base:`, or write the values out")
            if "." in name:
                raise self._wrong(event, here, "a name without dots. Nest the keys")
            if name in mapping:
                raise ConfigError(
                    f"{self._at(event)}: {dotted(here)}: given twice, first at "
                    f"{self._places[here]}. Keep one."
                )
            self._places[here] = self._at(event)
            mapping[name] = self._value(next(self._events), here)
        return mapping

    def _scalar(self, event: Event, key: Key) -> Any:  # noqa: ANN401
        text = self._text(event, key)
        if not event.implicit[0]:  # quoted, or a block
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _INT.match(text):
            if abs(number := int(text)) > _MAX_INT:
                raise self._wrong(event, key, f"at most {_MAX_INT}, got {text[:40]}. Lower it")
            return number
        if _NOT_FINITE.match(text) or (FLOAT.match(text) and math.isinf(float(text))):
            raise self._wrong(event, key, f"a finite number, got {text[:40]}. Give one")
        return float(text) if FLOAT.match(text) else text

    def _text(self, event: Event, key: Key) -> str:
        text: str = event.value
        if len(text) > MAX_TEXT:
            raise self._wrong(
                event, key, f"at most {MAX_TEXT} letters, got {len(text)}. Shorten it"
            )
        if found := _CONTROL.search(text):
            raise self._wrong(
                event, key, f"no control character, got {found[0]!r} in {text[:40]!r}. Remove it"
            )
        return text

    def _at(self, event: Event) -> str:
        return self._place(event.start_mark.line + 1)

    def _wrong(self, event: Event, key: Key, expected: str) -> ConfigError:
        return ConfigError(f"{self._at(event)}: {dotted(key)}: expected {expected}.")
