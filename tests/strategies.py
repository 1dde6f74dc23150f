"""Whatever a collection or a table can hold, for properties: BSON documents, and tables of text."""

from __future__ import annotations

import math
from datetime import UTC
from typing import Any

from bson import (
    Binary,
    Code,
    DatetimeMS,
    DBRef,
    Decimal128,
    Int64,
    MaxKey,
    MinKey,
    ObjectId,
    Regex,
    Timestamp,
)
from hypothesis import strategies as st

from motorctl.core.extjson import DBPointer, Symbol, Undefined

__all__ = ["deprecated_documents", "documents", "scalars", "tables", "texts"]

# What makes {"$…": …} a typed value, and what the driver makes a DBRef of: text can't hold documents that
# look like them.
_TYPES = frozenset(
    """$oid $date $numberInt $numberLong $numberDouble $numberDecimal $binary $uuid $timestamp
    $regularExpression $code $dbPointer $symbol $minKey $maxKey $undefined $ref $id $db""".split()
)
_ODD_NAMES = [
    "",
    ".",
    "a.b",
    "$",
    "$set",
    "a.$.b",
    " ",
    "_id",
    "0",
    "é",
    "日本",
    "\U0001f600",
    '"',
    "\\",
    "\n",
]

_ODD_CELLS = [
    *[
        "",
        " ",
        " x ",
        '"',
        '""',
        "'",
        "\\",
        "\n",
        "\r\n",
        "\r",
        "a\nb",
        "\ufeff",
        "=1+1",
        "true",
        "null",
        "NaN",
    ],
    *["0", "01", "+1", "-0", "0.1", "1.0", "1e5", "9" * 20, "2024-01-31"],
]
_IDS = st.binary(min_size=12, max_size=12).map(ObjectId)


def texts(max_size: int = 8) -> st.SearchStrategy[str]:
    """Text as BSON holds it: any Unicode, zero bytes too."""
    return st.text(st.characters(codec="utf-8"), max_size=max_size) | st.sampled_from(
        ["\0", "null", "NaN", "$1", '"$oid', "\\u0024", "\u2028", "a\0b", "x" * 13]
    )


def names(top: bool = False) -> st.SearchStrategy[str]:
    """Field names; those at the `top` begin with no dollar, as the server has it."""
    plain = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)
    name = st.sampled_from("a b c d".split()) | st.sampled_from(_ODD_NAMES) | plain
    return name.filter(lambda text: text not in _TYPES and not (top and text.startswith("$")))


def scalars() -> st.SearchStrategy[Any]:
    """One value of each type that the driver writes."""
    return st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**31), 2**31 - 1),
        st.integers(-(2**63), 2**63 - 1).map(Int64),
        # One NaN: JSON has no other.
        st.floats(allow_nan=False) | st.sampled_from([math.nan, -0.0, 5e-324, 1e300, 2.0**53, 1e16]),
        texts(),
        _IDS,
        st.integers(-(2**63), 2**63 - 1).map(DatetimeMS),
        st.datetimes(timezones=st.just(UTC)).map(
            lambda d: d.replace(microsecond=d.microsecond // 1000 * 1000)
        ),
        st.decimals(places=3, allow_nan=False, min_value=-(10**20), max_value=10**20).map(Decimal128),
        st.sampled_from(
            ["NaN", "Infinity", "-Infinity", "-0", "0E-6176", "0E+6111", "1E-6176", "9" * 34 + "E+6111"]
        ).map(Decimal128),
        st.binary(max_size=8),
        st.builds(Binary, st.binary(max_size=8), st.sampled_from([1, 2, 5, 6, 7, 8, 10, 127, 128, 255])),
        st.builds(Binary, st.binary(min_size=16, max_size=16), st.sampled_from([3, 4])),
        st.just(Binary(b"\x03\x00\x7f\x07", 9)),
        st.builds(Timestamp, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
        st.builds(
            Regex,
            st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=4),
            st.sets(st.sampled_from("ilmsux")).map("".join),
        ),
        texts(4).map(Code),
        st.builds(
            Code, texts(4), st.dictionaries(names(), st.integers(0, 9) | st.text(max_size=2), max_size=2)
        ),
        st.builds(DBRef, st.text("ab.", min_size=1), st.integers(0, 9) | _IDS),
        st.just(MinKey()),
        st.just(MaxKey()),
    )


def documents() -> st.SearchStrategy[dict[str, Any]]:
    """Any document of types that the driver writes: nested, and with the names that BSON allows."""
    return _documents(scalars())


def deprecated_documents() -> st.SearchStrategy[dict[str, Any]]:
    """Any document, also of types that only `extjson.encode` writes."""
    old = st.builds(Symbol, texts()) | st.just(Undefined()) | st.builds(DBPointer, texts(), _IDS)
    return _documents(scalars() | old | st.dictionaries(names(), old, max_size=2).map(lambda s: Code("f", s)))


def _documents(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    values = st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names(), inner, max_size=3),
        max_leaves=8,
    )
    return st.dictionaries(names(top=True), values, max_size=5)


def tables(delimiter: str = ",") -> st.SearchStrategy[list[list[str]]]:
    """A header of one to five columns with different names, and rows of as many cells, all of them text.

    No name is empty, has a dot or begins with a dollar. Cells hold what CSV must quote, and what looks like
    other types.
    """
    cell = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6) | st.sampled_from(
        [delimiter, f"a{delimiter}", *_ODD_CELLS]
    )
    name = st.text("abcdé _-", min_size=1, max_size=4).filter(lambda text: text == text.strip())

    def rows(header: list[str]) -> st.SearchStrategy[list[list[str]]]:
        row = st.lists(cell, min_size=len(header), max_size=len(header))
        return st.lists(row, max_size=6).map(lambda body: [header, *body])

    return st.lists(name, min_size=1, max_size=5, unique=True).flatmap(rows)
