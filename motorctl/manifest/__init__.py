"""Schema files -> desired collections, or an error that names file, line, column and key.

YAML 1.2 or JSON (its subset), with Extended JSON values and MongoDB's own option names. Owns the files'
form and the writing of one; what a schema means is `core.schema`'s. Never connects to anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from motorctl.manifest.builtin import builtin_text, builtins
from motorctl.manifest.collections import collections, validator
from motorctl.manifest.document import VALIDATOR, Document
from motorctl.manifest.json_schema import json_schema
from motorctl.manifest.shapes import Shape, read
from motorctl.manifest.sources import document, documents
from motorctl.manifest.writing import dump_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import BinaryIO

    from motorctl.core.schema import Collection

__all__ = [
    "builtin_document",
    "builtin_text",
    "builtins",
    "dump_yaml",
    "json_schema",
    "load",
    "load_builtin",
    "load_validator",
]


def builtin_document(name: str) -> dict[str, Any]:
    """Read a shipped manifest as the plain document that its text stands for."""
    value: dict[str, Any] = Document(name, builtin_text(name)).value
    return value


def load_builtin(name: str) -> list[Collection]:
    """Read a shipped manifest."""
    return collections([Document(name, builtin_text(name))])


def load(
    sources: str | Sequence[str],
    stdin: BinaryIO | None = None,
    *,
    environment: Mapping[str, str] | None = None,
) -> list[Collection]:
    """Read manifests: files, directories of files, and `-`, which is stdin.

    `${VAR}` is put in only where an `environment` is given. Raises ManifestError with its place.
    """
    named = [sources] if isinstance(sources, str) else sources
    return collections(documents(named, stdin, environment))


def load_validator(
    source: str, stdin: BinaryIO | None = None, *, collection: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a file that holds one validator (`-` is stdin): alone, as `validators show` prints it, or in a manifest.

    Of a manifest it is that of the `collection`. Returns the expression, and the `level` and `action` that
    stand beside it. Raises ManifestError with its place.
    """
    found = document(source, stdin, about=VALIDATOR)
    value = found.value
    if isinstance(value, dict) and isinstance(value.get("collections"), dict):
        return _of_collection(found, collection)
    words = {"level": "validationLevel", "action": "validationAction"}
    expected = Shape(kind="document", called="a validator")
    if (
        not isinstance(value, dict)
        or "validator" not in value
        or set(value) - {"collection", "validator", *words.values()}
    ):
        return validator(found, read(found, value, expected, ()), ()), {}
    given = {word: value[name] for word, name in words.items() if value.get(name)}
    expression = read(found, value["validator"] or {}, expected, ("validator",))
    return validator(found, expression, ("validator",)), given


def _of_collection(found: Document, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    wished = next((one.validator for one in collections([found]) if one.name == name), None)
    if wished is None:
        found.fail(("collections",), f"this manifest has no validator of {name}", at_key=True)
    return dict(wished.expression), {"level": wished.level, "action": wished.action}
