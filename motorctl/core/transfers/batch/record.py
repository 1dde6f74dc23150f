"""The text of a record -> the texts of a transfer's fields, exactly as they are written.

No number is ever a float: the digits of an amount in JSON are taken from its text. Pure.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from motorctl.core.ingest.model import RecordError
from motorctl.core.ingest.reading import delimited
from motorctl.errors import UsageError
from motorctl.near import near

if TYPE_CHECKING:
    from collections.abc import Sequence

FIELDS = ("from", "to", "amount", "key", "note")
NEEDED = FIELDS[:3]

# The forms of Extended JSON whose inside is a text that says it all: what `export` writes can be sent.
_TYPED = frozenset({"$numberDecimal", "$numberInt", "$numberLong", "$oid"})


class _Digits(str):
    """A number of a JSON text, as it is written."""

    __slots__ = ()


@dataclass(frozen=True)
class Naming:
    """What columns or fields of the input stand for: (theirs, ours) pairs, and names that are left out."""

    rename: tuple[tuple[str, str], ...] = ()
    omit: tuple[str, ...] = ()

    def field(self, name: str) -> str | None:
        """Return the field that a name stands for; None for one that is left out. Raises KeyError."""
        if name in self.omit:
            return None
        ours = next((ours for theirs, ours in self.rename if theirs == name), name)
        if ours in FIELDS:
            return ours
        raise KeyError(name)


@lru_cache(maxsize=8)
def columns(header: tuple[str, ...], naming: Naming) -> tuple[str | None, ...]:
    """Return the field of each column; None for one that is left out.

    Raises UsageError (2): a column that is none of a transfer's, one that is missing or there twice.
    """
    fields: list[str | None] = []
    for name in header:
        try:
            field = naming.field(name)
        except KeyError:
            raise UsageError(
                f"the column {name!r} is none of a transfer's: {', '.join(FIELDS)}",
                hint=_meant(name, (*FIELDS, *(theirs for theirs, _ in naming.rename))),
            ) from None
        if field is not None and field in fields:
            raise UsageError(f"two columns stand for {field!r}", hint=f"leave one out: --omit {name}")
        fields.append(field)
    if missing := [name for name in NEEDED if name not in fields]:
        raise UsageError(
            f"no column is {' or '.join(map(repr, missing))}",
            hint=f"columns are {', '.join(header)}; --rename theirs=ours gives one another name",
        )
    return tuple(fields)


def from_table(text: bytes, fields: Sequence[str | None], delimiter: str, quote: str) -> dict[str, str]:
    """Read a row of delimited text; an empty cell is no value. Raises RecordError."""
    cells = delimited.cells(_decoded(text), delimiter, quote)
    if len(cells) != len(fields):
        there = "1 cell" if len(cells) == 1 else f"{len(cells)} cells"
        raise RecordError("parse", None, f"{there} where the header has {len(fields)}")
    return {name: cell for name, cell in zip(fields, cells, strict=True) if name is not None and cell}


def from_json(text: bytes, naming: Naming) -> dict[str, str]:
    """Read a JSON object; null and an empty text are no value. Raises RecordError."""
    try:
        found = _DECODER.decode(_decoded(text))
    except json.JSONDecodeError as error:
        reason = error.msg[:1].lower() + error.msg[1:]
        raise RecordError("parse", None, f"not JSON: {reason} at character {error.pos + 1}") from None
    except RecursionError:
        raise RecordError("parse", None, "not a transfer: too many levels") from None
    if not isinstance(found, dict):
        raise RecordError("parse", None, "not an object")
    texts: dict[str, str] = {}
    for name, value in found.items():
        try:
            field = naming.field(name)
        except KeyError:
            meant = near(name, FIELDS)
            reason = f"{name} is none of a transfer's fields" + (f": {meant}" if meant else "")
            raise RecordError("parse", name, reason) from None
        if field is None:
            continue
        if field in texts:
            raise RecordError("parse", field, f"two names stand for {field}")
        said = _said(field, value)
        if said:
            texts[field] = said
    return texts


def _said(field: str, value: Any) -> str:
    if isinstance(value, dict) and len(value) == 1 and value.keys() <= _TYPED:
        (value,) = value.values()
    if value is None:
        return ""
    if not isinstance(value, str):
        kind = {bool: "a boolean", list: "an array", dict: "an object"}[type(value)]
        raise RecordError("type", field, f"{field} is {kind}")
    return str(value)


def _decoded(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise RecordError("parse", None, f"not UTF-8 at byte {error.start + 1} of the record") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        # Which of two amounts is meant, nobody knows.
        raise RecordError("parse", twice, f"{twice} is there twice")
    return made


def _no_number(text: str) -> Any:
    raise RecordError("parse", None, f"not JSON: {text}")


def _meant(name: str, names: Sequence[str]) -> str:
    meant = near(name, names)
    return f"{meant} --omit {name} leaves it out" if meant else f"--omit {name} leaves it out"


_DECODER = json.JSONDecoder(
    parse_float=_Digits, parse_int=_Digits, parse_constant=_no_number, object_pairs_hook=_object
)
