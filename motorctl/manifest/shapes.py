"""What a value of a manifest looks like, and how one is held against it.

A shape is both what is checked and what the published JSON Schema is made of, so that they can't
disagree. What keys mean together is `collections`' and `indexes`'.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from bson.decimal128 import Decimal128

from motorctl.near import near

if TYPE_CHECKING:
    from collections.abc import Mapping

    from motorctl.manifest.document import Document, Path_

Kind = Literal["document", "list", "string", "boolean", "number", "number or word"]

_NAMES: dict[Kind, str] = {
    "document": "a document",
    "list": "a list",
    "string": "a string",
    "boolean": "true or false",
    "number": "a number",
    "number or word": "a number or a word",
}


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What one value must be.

    A document with `names` has those keys and no others; with `values`, any keys whose values are so;
    with neither it is anything, Extended JSON too. `apart` are keys that a server knows and a manifest
    leaves alone on purpose, each with its reason. `nullable`: nothing at all stands for an empty document.
    `words` may stand in a number's place.
    """

    kind: Kind
    means: str = ""
    called: str = ""
    allowed: tuple[str | int, ...] = ()
    least: int | None = None
    most: int | None = None
    names: Mapping[str, Shape] | None = None
    needed: tuple[str, ...] = ()
    apart: Mapping[str, str] = field(default_factory=dict)
    values: Shape | None = None
    nullable: bool = False
    words: tuple[str, ...] = ()


def read(document: Document, value: Any, shape: Shape, path: Path_) -> Any:
    """Hold a plain value against its shape. Returns it as BSON values; raises ManifestError."""
    if value is None and shape.nullable:
        return {}
    match shape.kind:
        case "document":
            return _document(document, value, shape, path)
        case "list":
            if not isinstance(value, list):
                _wrong(document, value, shape, path)
            if shape.values is None:
                return document.bson(value, path)
            return [read(document, item, shape.values, (*path, n)) for n, item in enumerate(value)]
        case "string":
            if not isinstance(value, str):
                _wrong(document, value, shape, path)
            if shape.allowed:
                _one_of(document, value, shape, path)
            return value
        case "boolean":
            if not isinstance(value, bool):
                _wrong(document, value, shape, path)
            return value
        case "number or word" if isinstance(value, str):
            _one_of(document, value, shape, path)
            return value
        case "number" if value in shape.words:
            return value
        case "number" | "number or word":
            return _number(document, value, shape, path)


def shown(document: Document, value: Any, path: Path_) -> str:
    """Say what stands at a path: never what a variable made of it."""
    if (variable := document.variable(path)) is not None:
        return f"what {variable} stands for"
    match value:
        case None:
            return "nothing"
        case dict():
            return "a document"
        case list():
            return "a list"
        case str() | bool() | int() | float():
            text = json.dumps(value, ensure_ascii=False)
            return text if len(text) <= 40 else text[:37] + "..."
        case _:
            return f"a value of type {type(value).__name__}"


def _document(document: Document, value: Any, shape: Shape, path: Path_) -> Any:
    if not isinstance(value, dict):
        _wrong(document, value, shape, path)
    if shape.names is None and shape.values is None:
        converted = document.bson(value, path)
        if not isinstance(converted, dict):
            document.fail(
                path, f"{_subject(path)} is a document, not a value of type {type(converted).__name__}"
            )
        return converted
    if shape.values is not None:
        return {key: read(document, item, shape.values, (*path, key)) for key, item in value.items()}
    names = shape.names or {}
    called = shape.called or _subject(path)
    for key in value:
        if key in names:
            continue
        if key in shape.apart:
            document.fail((*path, key), f"{key}: {shape.apart[key]}", hint="leave it out", at_key=True)
        hint = near(key, sorted(names)) or f"known: {', '.join(sorted(names))}"
        document.fail((*path, key), f"unknown key {key} in {called}", hint=hint, at_key=True)
    for key in shape.needed:
        if key not in value:
            document.fail(path, f"{called} needs {key}", hint=names[key].means or None)
    return {key: read(document, item, names[key], (*path, key)) for key, item in value.items()}


def _number(document: Document, value: Any, shape: Shape, path: Path_) -> int | float:
    number = document.bson(value, path)
    if isinstance(number, Decimal128):
        exact = number.to_decimal()
        # Beyond 64 bits there is no whole number in BSON.
        whole = exact.is_finite() and abs(exact) < 2**63 and exact == exact.to_integral_value()
        number = math.nan if exact.is_nan() else int(exact) if whole else float(exact)
    is_number = isinstance(number, int | float) and not isinstance(number, bool)
    if not is_number or math.isnan(number):
        _wrong(document, value, shape, path)
    least, most = shape.least, shape.most
    if (least is not None and number < least) or (most is not None and number > most):
        limits = f"from {least} to {most}" if least is not None and most is not None else f"{most} at most"
        document.fail(path, f"{_subject(path)} is {limits}, not {shown(document, value, path)}")
    if shape.allowed and shape.kind == "number" and number not in shape.allowed:
        known = ", ".join(str(one) for one in shape.allowed)
        document.fail(path, f"{_subject(path)} is one of {known}, not {shown(document, value, path)}")
    return int(number) if isinstance(number, int) else number


def _one_of(document: Document, value: str, shape: Shape, path: Path_) -> None:
    if value in shape.allowed:
        return
    if value in shape.apart:
        document.fail(path, f"{value}: {shape.apart[value]}")
    also = ("1", "-1") if shape.kind == "number or word" else ()
    words = [str(one) for one in shape.allowed]
    what = document.variable(path) or value
    hint = near(value, words) if document.variable(path) is None else None
    hint = "--env puts variables in" if "${" in value and document.about.variables else hint
    document.fail(path, f"{what} is none of {', '.join([*also, *words])}", hint=hint)


def _subject(path: Path_) -> str:
    return next((str(step) for step in reversed(path) if isinstance(step, str)), "a manifest")


def _wrong(document: Document, value: Any, shape: Shape, path: Path_) -> NoReturn:
    wanted = _NAMES[shape.kind]
    if shape.kind == "number or word":
        wanted = f"1, -1 or one of {', '.join(str(one) for one in shape.allowed)}"
    subject = shape.called if not path else _subject(path)
    unset = isinstance(value, str) and "${" in value and document.about.variables
    hint = "--env puts variables in" if unset else None
    document.fail(path, f"{subject} is {wanted}, not {shown(document, value, path)}", hint=hint)
