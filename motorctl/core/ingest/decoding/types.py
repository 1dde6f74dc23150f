"""What a cell of delimited text becomes: the types a user names, and the guess where none is named.

Pure functions of a text, or of a whole column of texts, which is many times as fast. A cell that isn't
of its type raises `ValueError` with the reason; what is to be done then, the type's grace says.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from functools import lru_cache, partial
from math import inf
from typing import TYPE_CHECKING, Any, Literal, NoReturn, cast, get_args

import orjson
from bson import Decimal128, Int64, ObjectId
from bson.binary import Binary

from motorctl.core import extjson
from motorctl.core.ingest.decoding import dates
from motorctl.errors import UsageError
from motorctl.near import near

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["TYPE_NAMES", "Converter", "Grace", "converter", "from_typed_header", "infer", "parse_types"]

Grace = Literal["reject", "null", "string", "skip-field"]

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_PLAIN_NUMBER = re.compile(r"([+-]?)([0-9]+)(?:\.([0-9]*))?")
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_NOT_FINITE = frozenset({"NaN", "Infinity", "-Infinity"})
_FIRST_OF_NUMBER = frozenset("-0123456789")
_OF_GUESSED_NUMBER = b"-.0123456789"
_OF_NUMBER = b"+-.0123456789eE\0"
_SPELLINGS = {
    True: ("true", "1", "yes", "y", "t", "True", "TRUE"),
    False: ("false", "0", "no", "n", "f", "False", "FALSE"),
}
_BOOLEANS = {text: value for value, texts in _SPELLINGS.items() for text in texts}
_HEX24 = re.compile(r"[0-9a-fA-F]{24}")
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_HEX = re.compile(r"(?:[0-9a-fA-F]{2})*")
_SPELLED_TYPE = re.compile(r"([a-zA-Z0-9_]+)(?:\((.*)\))?(?:\?([a-z-]*))?", re.DOTALL)
_SPELLED_FIELD = re.compile(rf"(.+):({_SPELLED_TYPE.pattern})", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Converter:
    """How the cells of a type are read.

    `cell` reads one, and raises `ValueError` with the reason. `column` reads many at once: the same
    values, or some `ValueError` when it can't; then ask `cell`. `grace`: what a cell that isn't of the
    type becomes.
    """

    cell: Callable[[str], Any]
    column: Callable[[list[str]], list[Any]]
    grace: Grace = "reject"


# -- how a user names a type ------------------------------------------------------------------------------


def parse_types(text: str) -> dict[str, str]:
    """Read `gpa:double?null,created_at:date(%d/%m/%Y)` into field -> type, in order.

    Commas and colons within parentheses belong to the type. Raises `UsageError` for an unknown type or
    a field named twice.
    """
    types: dict[str, str] = {}
    for part in re.split(r",(?![^(]*\))", text):
        match = _SPELLED_FIELD.fullmatch(part.strip())
        if not match:
            raise UsageError(f"--types: {part.strip()!r} isn't FIELD:TYPE", hint="for example gpa:double")
        name, kind = match[1], match[2]
        if name in types:
            raise UsageError(f"--types names {name!r} twice")
        converter(kind)
        types[name] = kind
    return types


def from_typed_header(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Turn column -> type as mongoimport's `--columnsHaveTypes` spells it into types of ours.

    Its `date` and `date_go` take a layout of Go, `date_ms` one of SQL Server, `date_oracle` one of
    Oracle. Raises `UsageError` naming the column for a type or a layout that has no like here.
    """
    return tuple((name, _of_header(name, kind)) for name, kind in pairs)


def _of_header(column: str, kind: str) -> str:
    name, _, argument = kind.removesuffix(")").partition("(")
    name = {"date_go": "date", "boolean": "bool"}.get(name, name)
    try:
        if translate := _LAYOUTS.get(name):
            layout = translate(argument)
            spelled = f"date({layout})" if layout else "date"
        else:
            spelled = f"{name}({argument})" if argument else name
        converter(spelled)
    except UsageError as error:
        raise UsageError(f"the header's type of {column!r}: {error.message}", hint=error.hint) from None
    except ValueError as error:
        raise UsageError(
            f"the header's type of {column!r}: {error}", hint="--types gives it a format of strptime"
        ) from None
    return spelled


@lru_cache(maxsize=256)
def converter(spelled: str, *, legacy: bool = False, strict: bool = False) -> Converter:
    """Find out how a type is read: `TYPE`, `TYPE(ARGUMENT)`, each also with `?GRACE`.

    `date` takes what `dates.from_format` does, `binary` one of base64 (if none is named), base32 and
    hex. GRACE is one of reject (the default), null, string and skip-field. `legacy` and `strict` are
    those of `extjson.loads`, for `json`. Raises `UsageError` for anything else.
    """
    match = _SPELLED_TYPE.fullmatch(spelled)
    if not match:
        raise _unknown(spelled)
    name, argument, grace = match[1], match[2], match[3]
    if grace is not None and grace not in get_args(Grace):
        raise UsageError(
            f"--types: {spelled!r}: no grace {grace!r}",
            hint=near(grace, get_args(Grace))
            or f"a cell that isn't of its type: {', '.join(get_args(Grace))}",
        )
    if argument is not None and name == "date":
        cell = _wrapped(dates.from_format(argument))
        found = Converter(cell, _each(cell))
    elif argument is not None and name == "binary" and argument in _BINARIES:
        found = Converter(_BINARIES[argument], _each(_BINARIES[argument]))
    elif argument is None and name == "json" and (legacy or strict):
        cell = _wrapped_json(partial(extjson.loads, legacy=legacy, strict=strict))
        found = Converter(cell, _each(cell))
    elif argument is None and name in _CONVERTERS:
        found = _CONVERTERS[name]
    else:
        raise _unknown(spelled if argument else name)
    return Converter(found.cell, found.column, cast("Grace", grace or "reject"))


def _unknown(spelled: str) -> UsageError:
    known = f"types are {', '.join(TYPE_NAMES)}, date(FORMAT) and binary(base64|base32|hex)"
    return UsageError(f"--types: no type {spelled!r}", hint=near(spelled, TYPE_NAMES) or known)


# -- cells ------------------------------------------------------------------------------------------------


def infer(text: str) -> Any:
    """Guess a cell's value: a number if writing it back gives the same text, else the text itself.

    So `007`, `+1`, `1.50`, `1e5`, `NaN` and more digits than a double holds stay strings.
    """
    if text[:1] not in _FIRST_OF_NUMBER or not text:
        return text
    try:
        if "." not in text:
            number = int(text)
            return number if str(number) == text and _fits(number, number) else text
        real = float(text)
    except ValueError:
        return text
    # repr writes very large and very small ones with an exponent: such a text is rather a code.
    return real if repr(real) == text and "e" not in text else text


def _bad(text: str, what: str) -> NoReturn:
    if not text:
        raise ValueError(f"an empty cell isn't {what} (--ignore-blanks leaves it out)")
    raise ValueError(f"{text if len(text) <= 60 else text[:57] + '...'!r} isn't {what}")


def _wrapped(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """Let a reader that raises what it looked for say what it found as well."""

    def cell(text: str) -> Any:
        try:
            return read(text)
        except ValueError as error:
            _bad(text, str(error))

    return cell


def _fits(least: int, most: int, bits: int = 64) -> bool:
    limit: int = 1 << bits - 1
    return -limit <= least and most < limit


def _whole(text: str, bits: int) -> int:
    if not _INTEGER.fullmatch(text) or not _fits(number := int(text), number, bits):
        _bad(text, f"an integer of {bits} bits")
    return number


def _double(text: str) -> float:
    if text in _NOT_FINITE:
        return float(text)
    if not _NUMBER.fullmatch(text):
        _bad(text, "a number")
    if abs(number := float(text)) == inf:
        _bad(text, "a number that a double holds")
    return number


def _decimal(text: str) -> Decimal128:
    match = _PLAIN_NUMBER.fullmatch(text)
    if match and len(text) <= 34:
        # What Decimal128(text) does for any number, in a third of the time for these.
        sign, whole, fraction = match.groups("")
        bits = int(whole + fraction) | (6176 - len(fraction)) << 113 | (sign == "-") << 127
        return Decimal128.from_bid(bits.to_bytes(16, "little"))
    if not _NUMBER.fullmatch(text) and text not in _NOT_FINITE:
        _bad(text, "a decimal number")
    try:
        return Decimal128(text)
    except ArithmeticError:
        _bad(text, "a decimal number of at most 34 digits")


def _boolean(text: str) -> bool:
    try:
        return _BOOLEANS[text.lower()]
    except KeyError:
        _bad(text, "true or false")


def _object_id(text: str) -> ObjectId:
    if not _HEX24.fullmatch(text):
        _bad(text, "24 hexadecimal digits")
    return ObjectId(text)


def _uuid(text: str) -> Binary:
    try:
        return Binary(extjson.loads(orjson.dumps({"$uuid": text})), 4)
    except extjson.ExtendedJSONError:
        _bad(text, "a UUID")


def _wrapped_json(read: Callable[[str], Any]) -> Callable[[str], Any]:
    def cell(text: str) -> Any:
        try:
            return read(text)
        except extjson.ExtendedJSONError:
            raise
        except ValueError:
            _bad(text, "JSON")

    return cell


def _base64(text: str) -> bytes:
    if not _BASE64.fullmatch(text):
        raise ValueError("base64")
    try:
        return base64.b64decode(text)
    except ValueError:
        raise ValueError("base64") from None


def _base32(text: str) -> bytes:
    try:
        return base64.b32decode(text)
    except ValueError:
        raise ValueError("base32") from None


def _hex(text: str) -> bytes:
    if not _HEX.fullmatch(text):
        raise ValueError("pairs of hexadecimal digits")
    return bytes.fromhex(text)


# -- columns ----------------------------------------------------------------------------------------------


def _each(cell: Callable[[str], Any]) -> Callable[[list[str]], list[Any]]:
    return lambda cells: list(map(cell, cells))


def _infer_column(cells: list[str]) -> list[Any]:
    """Guess each cell on its own, as `infer` does, in a few steps for all of them."""
    # An empty text and whatever may begin a number sort before a colon.
    if not cells or min(cells) >= ":":
        return cells
    try:
        numbers = list(map(int, cells))
        if _fits(min(numbers), max(numbers)):
            texts = list(map(str, numbers))
            if texts == cells:
                return numbers
            return [
                number if same == text else infer(text)
                for number, same, text in zip(numbers, texts, cells, strict=True)
            ]
    except ValueError:
        pass
    # What is left of a cell without the characters of numbers: nothing, if it may be one.
    rests = "\0".join(cells).encode(errors="surrogatepass").translate(None, _OF_GUESSED_NUMBER).split(b"\0")
    if len(rests) != len(cells):
        return list(map(infer, cells))
    if b"" not in rests:
        return cells
    if not any(rests):
        try:
            reals = list(map(float, cells))
        except ValueError:
            pass
        else:
            texts = list(map(repr, reals))
            return [
                real if same == text else infer(text)
                for real, same, text in zip(reals, texts, cells, strict=True)
            ]
    return [text if rest else infer(text) for text, rest in zip(cells, rests, strict=True)]


def _whole_column(cells: list[str], bits: int) -> list[Any]:
    numbers = list(map(int, cells))
    # int() takes spaces, underscores and digits of other scripts: the text must be what str() writes.
    if not _fits(min(numbers), max(numbers), bits) or list(map(str, numbers)) != cells:
        raise ValueError
    return numbers if bits == 32 else list(map(Int64, numbers))


def _double_column(cells: list[str]) -> list[Any]:
    # float() takes spaces, underscores and words: without other characters it takes what _NUMBER does.
    if "\0".join(cells).encode().translate(None, _OF_NUMBER):
        raise ValueError
    numbers = list(map(float, cells))
    if max(numbers) == inf or min(numbers) == -inf:
        raise ValueError
    return numbers


def _boolean_column(cells: list[str]) -> list[Any]:
    try:
        return list(map(_BOOLEANS.__getitem__, cells))
    except KeyError:
        raise ValueError from None


def _object_id_column(cells: list[str]) -> list[Any]:
    # fromhex() passes over spaces: 24 characters with one among them make fewer than 12 bytes.
    raw = list(map(bytes.fromhex, cells))
    if set(map(len, cells)) != {24} or set(map(len, raw)) != {12}:
        raise ValueError
    return list(map(ObjectId, raw))


def _json_column(cells: list[str]) -> list[Any]:
    return list(map(extjson.to_bson_values, map(orjson.loads, cells)))


_LAYOUTS = {"date": dates.from_go, "date_ms": dates.from_ms, "date_oracle": dates.from_oracle}
_BINARIES = {"base64": _wrapped(_base64), "base32": _wrapped(_base32), "hex": _wrapped(_hex)}
_CONVERTERS: dict[str, Converter] = {
    "auto": Converter(infer, _infer_column),
    "string": Converter(str, list),
    "int32": Converter(lambda text: _whole(text, 32), lambda cells: _whole_column(cells, 32)),
    "int64": Converter(lambda text: Int64(_whole(text, 64)), lambda cells: _whole_column(cells, 64)),
    "double": Converter(_double, _double_column),
    "decimal": Converter(_decimal, _each(_decimal)),
    "bool": Converter(_boolean, _boolean_column),
    "boolean": Converter(_boolean, _boolean_column),
    "date": Converter(_wrapped(dates.from_iso(None)), dates.iso_column),
    "objectid": Converter(_object_id, _object_id_column),
    "uuid": Converter(_uuid, _each(_uuid)),
    "binary": Converter(_BINARIES["base64"], _each(_BINARIES["base64"])),
    "json": Converter(_wrapped_json(extjson.loads), _json_column),
}
TYPE_NAMES = tuple(name for name in _CONVERTERS if name != "boolean")
