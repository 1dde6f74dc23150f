"""Parsed JSON into BSON values, many documents of one making at once.

Documents of one file look alike. Where typed objects stand in some of them is learned, and then only those
places are looked at, one column after the other. Owns no rule of what a typed object is: what isn't plain
here is left to `read`.
"""

from __future__ import annotations

from binascii import unhexlify
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bson import Int64, ObjectId

from motorctl.core.extjson.read import DEPTH_LIMIT, INT64_MAX, INT64_MIN, TYPES, ExtendedJSONError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Layout", "convert_many"]

# Field names from the document down; None stands for each element of an array.
_Path = tuple[str | None, ...]
# Where typed objects stand in the documents seen so far, in the order of finding: paths and `$` names.
Layout = dict[tuple[_Path, str], None]

_SAMPLE = 4
_DIGITS = bytes.maketrans(b"123456789", b"0" * 9)
_INTEGER_MARKS = b"0123456789-,"
_FLOAT_MARKS = b"0123456789.+-eE,"
# Of $code the one with a $scope, and what the driver has no type for: they need the long way.
_RARE = frozenset({"$code", "$symbol", "$undefined", "$dbPointer"})


class _NotPlainError(Exception):
    """Something that only the walk through a whole document can convert, or refuse."""


def convert_many(documents: list[Any], marks: int, layout: Layout | None = None) -> bool:
    r"""Turn parsed documents into BSON values in place, as `to_bson_values` does, only much faster.

    `marks` is how often `"$` stands in the JSON text of just these documents. The text must have no
    `\u0024`, a dollar that counting doesn't see. `layout`, at first an empty dict, keeps what was learned for
    the next documents of the same chunk.

    True: all are objects, and are converted. False: one of them is malformed, isn't an object, or holds what
    is too rare to be quick about. Then some values are converted and the others untouched: `to_bson_values`
    of each document *as it is now* gives what it would have given at first, its errors too, so nobody need
    parse again.

    Two things are left to the caller. Integers beyond 64 bits stay: `bson.encode` raises OverflowError for
    them. Levels aren't counted: a document has more than `DEPTH_LIMIT` only if its JSON has 362 bytes or its
    BSON 1,265. Legacy forms aren't known here.

    Give it about a hundred documents at a time: while all of them fit into a processor's cache, parsing,
    converting and encoding take half the time.
    """
    layout = {} if layout is None else layout
    if not {dict}.issuperset(map(type, documents)):
        return False
    if not marks or not documents:
        return True
    # Documents whose every typed object stands at another path: columns wouldn't pay.
    bound = 16 + 2 * marks // len(documents)
    try:
        if not layout:
            layout |= _find(documents[:_SAMPLE])
        if len(layout) > bound:
            return False
        if _convert(documents, layout) == marks:
            return True
        # A field that some documents lack, or text that begins with a dollar. What a search of all of them
        # finds no more isn't there.
        others = _find(documents)
        layout |= others
        if len(layout) > bound:
            return False
        _convert(documents, others)
    except (_NotPlainError, ExtendedJSONError):
        return False
    return True


def _find(documents: Iterable[Any]) -> Layout:
    """Find the columns: paths and types of all typed objects."""
    found: Layout = {}
    for document in documents:
        _search(document, (), found)
    return found


def _search(value: dict[str, Any] | list[Any], path: _Path, found: Layout) -> None:
    if len(path) > DEPTH_LIMIT:
        raise _NotPlainError
    if type(value) is list:
        inner = (*path, None)
        for item in value:
            if type(item) is dict or type(item) is list:
                _search(item, inner, found)
        return
    for key, item in value.items():  # type: ignore[union-attr]  # a document here: looked at above
        if key in TYPES:
            if len(value) != 1 or key in _RARE or not path:
                raise _NotPlainError
            found[path, key] = None
        elif type(item) is dict or type(item) is list:
            _search(item, (*path, key), found)


def _convert(documents: list[Any], columns: Layout) -> int:
    """Convert what stands in these columns; return how many marks it had."""
    marks = 0
    reached: dict[_Path, list[Any]] = {(): documents}
    for path, name in columns:
        owners = _reach(path[:-1], reached)
        key = path[-1]
        if key is None:
            marks += _convert_elements(owners, name)
            continue
        owners = [
            owner
            for owner in owners
            if type(owner) is dict
            and type(item := owner.get(key)) is dict
            and name in item
            and len(item) == 1
        ]
        inner = [owner[key][name] for owner in owners]
        for owner, value in zip(owners, _values(name, inner), strict=True):
            owner[key] = value
        marks += _marks(name, inner)
    return marks


def _convert_elements(arrays: list[Any], name: str) -> int:
    places = [
        (array, index)
        for array in arrays
        if type(array) is list
        for index, item in enumerate(array)
        if type(item) is dict and name in item and len(item) == 1
    ]
    inner = [array[index][name] for array, index in places]
    for (array, index), value in zip(places, _values(name, inner), strict=True):
        array[index] = value
    return _marks(name, inner)


def _reach(path: _Path, reached: dict[_Path, list[Any]]) -> list[Any]:
    """Give the objects and arrays at a path in all documents."""
    if path not in reached:
        key = path[-1]
        outer = _reach(path[:-1], reached)
        if key is None:
            reached[path] = [item for array in outer if type(array) is list for item in array]
        else:
            reached[path] = [owner[key] for owner in outer if type(owner) is dict and key in owner]
    return reached[path]


def _marks(name: str, inner: list[Any]) -> int:
    # {"$date": {"$numberLong": …}} is the one whose inside has a mark too.
    return len(inner) + (sum(type(value) is dict for value in inner) if name == "$date" else 0)


def _values(name: str, inner: list[Any]) -> list[Any]:
    try:
        if quick := _QUICK.get(name):
            return quick(inner)
    except (TypeError, ValueError):
        # One of them is malformed, or of a rarer form: each on its own, by the rules.
        pass
    return list(map(TYPES[name], inner))


def _oids(texts: list[str]) -> list[Any]:
    # unhexlify takes hexadecimal digits and nothing else, and ObjectId 12 bytes.
    return [ObjectId(unhexlify(text)) for text in texts]


def _dates(texts: list[str]) -> list[Any]:
    text = "\n".join(texts)
    if f"{text}\n".encode().translate(_DIGITS) != b"0000-00-00T00:00:00.000Z\n" * len(texts) or "T24" in text:
        raise ValueError
    return list(map(datetime.fromisoformat, texts))


def _integers(texts: list[str], low: int = -(2**31), high: int = 2**31 - 1) -> list[Any]:
    # int() would take spaces, underscores and foreign digits.
    if ",".join(texts).encode().translate(None, _INTEGER_MARKS):
        raise ValueError
    numbers = list(map(int, texts))
    if numbers and (min(numbers) < low or max(numbers) > high):
        raise ValueError
    return numbers


def _longs(texts: list[str]) -> list[Any]:
    return list(map(Int64, _integers(texts, INT64_MIN, INT64_MAX)))


def _doubles(texts: list[str]) -> list[Any]:
    if ",".join(texts).encode().translate(None, _FLOAT_MARKS):
        raise ValueError
    return list(map(float, texts))


_QUICK: dict[str, Callable[[list[Any]], list[Any]]] = {
    "$oid": _oids,
    "$date": _dates,
    "$numberInt": _integers,
    "$numberLong": _longs,
    "$numberDouble": _doubles,
}
