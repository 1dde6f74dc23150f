"""How records lie in an input, told from its first bytes, and what the header of delimited text names.

Pure functions of bytes: nothing here reads, and nothing is known of the records behind the first ones.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import orjson
from bson import ObjectId

from motorctl.core.ingest.model import Record
from motorctl.core.ingest.reading import delimited, structure
from motorctl.errors import UsageError

if TYPE_CHECKING:
    from motorctl.core.ingest.model import Layout, Reading

__all__ = ["check_reading", "entry", "header", "tell_layout"]

_SPACE = b" \t\r\n"
# What only the lines of a rejects file have all of.
_ENTRY = {"file", "line", "byte_offset", "record", "stage", "field", "reason"}
_LOOKED_AT = 16
_COMPRESSED = re.compile(r"\.(?:gz|bz2|zst)$")
# As mongoimport's --columnsHaveTypes spells them.
_TYPED = re.compile(r"(.*)\.(\w+)\((.*)\)", re.DOTALL)
_KINDS = (
    "auto",
    "binary",
    "boolean",
    "date",
    "date_go",
    "date_ms",
    "date_oracle",
    "decimal",
    "double",
    "int32",
    "int64",
    "string",
)


def check_reading(reading: Reading) -> None:
    """Raise `UsageError` for a delimiter and a quote that can't be told from each other or from a line's end."""
    if reading.delimiter is not None and (len(reading.delimiter) != 1 or reading.delimiter in "\r\n"):
        raise UsageError(f"a delimiter is one character, and not {reading.delimiter!r}")
    if len(reading.quote) > 1 or reading.quote in {"\r", "\n"}:
        raise UsageError(f"a quote is one character or none, and not {reading.quote!r}")
    if reading.delimiter is not None and reading.delimiter == reading.quote:
        raise UsageError(f"{reading.quote!r} can't be both the delimiter and the quote")


def tell_layout(head: bytes, name: str, reading: Reading) -> tuple[Layout, str]:
    """Tell how records lie in an input from its first bytes, which aren't blank: (layout, delimiter).

    The bytes decide before the name does: a pretty-printed `.json` isn't one object a line. Raises
    `UsageError` when they can't.
    """
    wanted = reading.format
    text = head.lstrip(_SPACE)
    if wanted == "ndjson":
        return "lines", ""
    if wanted == "json":
        # Asked for by name, objects may be laid out in any way: that costs a little, and is never wrong.
        return ("array" if text[:1] == b"[" else "objects"), ""
    if wanted == "auto" and not (reading.delimiter or reading.header or reading.typed_header):
        json = _json_layout(text)
        if json is not None:
            return json, ""
    if b"\0" in head:
        hint = "UTF-16 without a byte order mark? Name its --encoding: utf-16-le or utf-16-be"
        raise UsageError(f"{name} is binary: neither JSON nor delimited text", hint=hint, file=name)
    if reading.delimiter is not None:
        return "delimited", reading.delimiter
    if wanted != "auto":
        return "delimited", "," if wanted == "csv" else "\t"
    bare = _COMPRESSED.sub("", name.lower())
    first = head.partition(b"\n")[0]
    if bare.endswith((".json", ".ndjson", ".jsonl")):
        return "lines", ""
    if bare.endswith(".tsv") or (b"\t" in first and b"," not in first):
        return "delimited", "\t"
    if (
        b"," not in first
        and (rarer := max(";|", key=lambda mark: first.count(mark.encode()))).encode() in first
    ):
        return "delimited", rarer
    if b"," in first or bare.endswith(".csv") or reading.header or reading.typed_header:
        return "delimited", ","
    if _is_json(first):
        # Values that are no objects, a line each: all of them rejects, and said to be.
        return "lines", ""
    raise UsageError(
        f"can't tell the format of {name}", hint="name it: --format json|ndjson|csv|tsv", file=name
    )


def _json_layout(text: bytes) -> Layout | None:
    """Tell whether text is an array, objects over many lines or one value a line; None for anything else.

    A broken line among the first ones says nothing.
    """
    if text[:1] == b"[":
        return "array"
    objects = position = 0
    for looked_at in range(_LOOKED_AT):
        stop = text.find(b"\n", position)
        line = text[position : stop if stop >= 0 else len(text)]
        if _is_object(line):
            objects += 1
        elif line[:1] == b"{" and _spans_lines(text[position:]):
            return "objects"
        elif looked_at == 0 and stop < 0:
            break
        if stop < 0:
            break
        position = stop + 1
    if objects:
        return "rejects" if _is_entry(text.partition(b"\n")[0]) else "lines"
    return "objects" if text[:1] == b"{" else None


def entry(text: bytes, line: int, offset: int) -> Record:
    """Take the record out of a line of a rejects file."""
    if not _is_entry(text):
        return Record(text, line, offset, "not an entry of a rejects file")
    found = orjson.loads(text)
    columns = found.get("columns")
    header = tuple(map(str, columns)) if isinstance(columns, list) else None
    made = found.get("_id")
    made_id = made.get("$oid") if isinstance(made, dict) else None
    how = (header, str(found.get("delimiter") or ","), made_id if ObjectId.is_valid(made_id) else None)
    return Record(found["record"].encode(), line, offset, "", *how)


def _is_entry(line: bytes) -> bool:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return isinstance(found, dict) and found.keys() >= _ENTRY and isinstance(found["record"], str)


def _is_object(line: bytes) -> bool:
    # What is indented is part of an object that was pretty-printed.
    return line[:1] == b"{" and _is_json(line)


def _spans_lines(text: bytes) -> bool:
    """Whether a whole object stands at the beginning of text that isn't alone on its line."""
    start, end = next(structure.pieces(text, commas=False))
    return _is_json(text[start:end])


def _is_json(text: bytes) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def header(
    cells: tuple[str, ...], file: str, *, typed: bool
) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Give the names of a header's cells and, of a `typed` one, the types: (name, "kind(argument)") each.

    Raises `UsageError` for a name that is empty, stands there twice or makes another one's value a document,
    and for what spells no type.
    """
    types = tuple(_typed(cell, file) for cell in cells) if typed else ()
    names = tuple(name for name, _ in types) if typed else cells
    known = set()
    for position, name in enumerate(names, 1):
        if not name or "" in name.split("."):
            raise UsageError(f"the header of {file}: name {position} is empty ({name!r})", file=file)
        if name in known:
            raise UsageError(f"the header of {file} names {name!r} twice", file=file)
        known.add(name)
    for name in names:
        for match in re.finditer(r"\.", name):
            if (outer := name[: match.start()]) in known:
                raise UsageError(
                    f"the header of {file} has both {outer!r} and {name!r}: a field can't be a value and "
                    "a document",
                    file=file,
                )
    return names, types


def _typed(cell: str, file: str) -> tuple[str, str]:
    match = _TYPED.fullmatch(cell)
    if match is None or match[2] not in _KINDS:
        raise UsageError(
            f"the header of {file}: {cell!r} doesn't spell a name and a type",
            hint=f"as in age.int32(), created.date(2006-01-02), photo.binary(base64); types are {', '.join(_KINDS)}",
            file=file,
        )
    name, kind, argument = match.groups()
    return name, f"{kind}({argument})" if argument else kind


def header_cells(text: bytes, broken: str, file: str, delimiter: str, quote: str) -> tuple[str, ...]:
    """Split a header line, without its end, into its cells. Raises `UsageError` when it can't be read."""
    if broken:
        raise UsageError(f"the header of {file}: {broken}", file=file)
    try:
        return tuple(delimited.cells(text.decode(), delimiter, quote))
    except UnicodeDecodeError as error:
        raise UsageError(
            f"the header of {file} isn't UTF-8", hint="name its --encoding, latin-1 for example", file=file
        ) from error
