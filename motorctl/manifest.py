"""A schema file -> desired collections, or an error that names file, line, column and key.

YAML 1.2 or JSON (its subset), with Extended JSON values and MongoDB's own option names. Owns the file's
form and the writing of one; what a schema means is `core.schema`'s. Never connects to anything.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from motorctl.core.extjson import ExtendedJSONError, to_bson_values
from motorctl.core.json_schema import problems
from motorctl.core.schema import Collection, Index, Validator
from motorctl.core.schema.model import (
    CREATION_OPTIONS,
    INDEX_KINDS,
    INDEX_OPTIONS,
    LEVELS,
    VALIDATION_ACTIONS,
)
from motorctl.errors import ManifestError, UsageError
from motorctl.near import near

if TYPE_CHECKING:
    from typing import BinaryIO

Path_ = tuple[str | int, ...]

_LARGEST = 16 * 1024 * 1024
_MOST_VALUES = 100_000
_COLLECTION_KEYS = {
    "validator": "document",
    "validationLevel": "string",
    "validationAction": "string",
    "indexes": "array",
    **CREATION_OPTIONS,
}
_INDEX_KEYS = {"keys": "document", "name": "string", **INDEX_OPTIONS}
_NAMES = {
    "document": "a document",
    "array": "a list",
    "string": "a string",
    "boolean": "true or false",
    "number": "a number",
}


def builtins() -> list[str]:
    """Name the manifests that ship with the tool."""
    folder = resources.files("motorctl") / "schemas"
    return sorted(
        entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")
    )


def builtin_text(name: str) -> str:
    """Read a shipped manifest as it is, comments too. Raises UsageError for an unknown name."""
    if name not in builtins():
        hint = near(name, builtins()) or f"there are: {', '.join(builtins())}"
        raise UsageError(f"no manifest named {name} ships with motorctl", hint=hint)
    return (resources.files("motorctl") / "schemas" / f"{name}.yaml").read_text(encoding="utf-8")


def builtin_document(name: str) -> dict[str, Any]:
    """Read a shipped manifest as the plain document that its text stands for."""
    document: dict[str, Any] = _Document(name, builtin_text(name)).value
    return document


def load_builtin(name: str) -> list[Collection]:
    """Read a shipped manifest."""
    return _collections(_Document(name, builtin_text(name)))


def load(source: str, stdin: BinaryIO | None = None) -> list[Collection]:
    """Read a manifest file (`-` is stdin). Raises ManifestError with its place."""
    return _collections(_read(source, stdin))


def load_validator(source: str, stdin: BinaryIO | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a file that holds one validator (`-` is stdin): alone, or as `validators show` prints it.

    Returns the expression, and the `level` and `action` that stand beside it. Raises ManifestError
    with its place.
    """
    document = _read(source, stdin)
    value = document.value
    words = {"level": "validationLevel", "action": "validationAction"}
    if (
        not isinstance(value, dict)
        or "validator" not in value
        or set(value) - {"collection", "validator", *words.values()}
    ):
        return _validator(document, value, ()), {}
    given = {word: value[name] for word, name in words.items() if value.get(name)}
    return _validator(document, value["validator"] or {}, ("validator",)), given


def dump_yaml(document: Mapping[str, Any]) -> str:
    """Write a manifest's document (plain values) as YAML that `load` reads back to the same."""
    yaml = YAML()
    yaml.width = 10_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    buffer = io.StringIO()
    yaml.dump(_commented(document), buffer)
    return buffer.getvalue()


def _commented(value: Any, key: str | None = None) -> Any:
    if isinstance(value, Mapping):
        result = CommentedMap((_commented(name), _commented(item, name)) for name, item in value.items())
        if key == "keys":
            result.fa.set_flow_style()
        return result
    if isinstance(value, list):
        return [_commented(item) for item in value]
    # Line separators of Unicode are folded into spaces in any other style.
    return DoubleQuotedScalarString(value) if isinstance(value, str) and not value.isprintable() else value


def _read(source: str, stdin: BinaryIO | None) -> _Document:
    name = "standard input" if source == "-" else source
    try:
        if source == "-":
            if stdin is None:
                raise UsageError("there is no standard input to read a manifest from")
            data = stdin.read(_LARGEST + 1)
        else:
            with Path(source).open("rb") as file:
                data = file.read(_LARGEST + 1)
    except IsADirectoryError:
        raise ManifestError(f"{name} is a directory", hint="name one file", file=name) from None
    except FileNotFoundError:
        raise ManifestError(
            f"{name} doesn't exist", hint="motorctl schema init prints one to start from", file=name
        ) from None
    except OSError as error:
        raise ManifestError(f"{name} can't be read: {error.strerror}", file=name) from None
    if len(data) > _LARGEST:
        raise ManifestError(f"{name} is larger than 16 MiB: that is no schema", file=name)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ManifestError(
            f"{name} is no text: byte {error.start + 1} is not UTF-8", file=name, line=line
        ) from None
    return _Document(name, text)


class _Document:
    """A file's plain value, and the place of every key and value in it."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self._places: dict[Path_, tuple[int, int]] = {}
        self._keys: dict[Path_, tuple[int, int]] = {}
        self._values = 0
        yaml = YAML(typ="safe", pure=True)
        try:
            root = yaml.compose(io.StringIO(text))
            if root is None:
                raise ManifestError(
                    f"{name} is empty",
                    hint="motorctl schema init prints one to start from",
                    file=name,
                    line=1,
                )
            self._constructor = yaml.constructor
            self.value = self._plain(root, (), ())
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            problem = (error.problem or error.context or "is no YAML").strip()
            self._raise(place, problem)
        except (YAMLError, ValueError) as error:
            self._raise((1, 1), " ".join(str(error).split()))

    def fail(self, path: Path_, message: str, *, hint: str | None = None, at_key: bool = False) -> NoReturn:
        """Raise the error of a value, or with `at_key` of its key."""
        found = self._keys if at_key else self._places
        place = next((found[path[:n]] for n in range(len(path), -1, -1) if path[:n] in found), (1, 1))
        key = next((str(step) for step in reversed(path) if isinstance(step, str)), None)
        self._raise(place, message, hint=hint, key=key, path=".".join(str(step) for step in path))

    def _raise(
        self, place: tuple[int, int], message: str, hint: str | None = None, **details: Any
    ) -> NoReturn:
        line, column = place
        raise ManifestError(
            f"{self.name}:{line}:{column}: {message}",
            hint=hint,
            file=self.name,
            line=line,
            column=column,
            **details,
        ) from None

    def _plain(self, node: Node, path: Path_, above: tuple[Node, ...]) -> Any:
        self._places[path] = (node.start_mark.line + 1, node.start_mark.column + 1)
        self._values += 1
        if self._values > _MOST_VALUES:
            # A few aliases of aliases stand for more values than any memory holds.
            self.fail(
                path,
                f"more than {_MOST_VALUES:,} values, those of an alias counted wherever it stands: that is no schema",
            )
        if any(node is one for one in above):
            self.fail(path, "this alias holds itself", at_key=True)
        match node:
            case MappingNode():
                return self._mapping(node, path, (*above, node))
            case SequenceNode():
                return [self._plain(item, (*path, n), (*above, node)) for n, item in enumerate(node.value)]
            case ScalarNode():
                # A timestamp stays text: dates are written {$date: ...}, as in all of Extended JSON.
                if node.tag == "tag:yaml.org,2002:timestamp":
                    return node.value
                value = self._constructor.construct_object(node)
                if not isinstance(value, bool | int | float | str | None):
                    self.fail(path, f"{node.tag} has no meaning in a manifest")
                return value
        raise AssertionError

    def _mapping(self, node: MappingNode, path: Path_, above: tuple[Node, ...]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            place = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            if not isinstance(key_node, ScalarNode):
                self._raise(place, "a key is plain text", key=None)
            key = str(key_node.value)
            if key in result:
                first = self._keys[*path, key][0]
                self._raise(place, f"the key {key} stands twice (first in line {first})", key=key)
            self._keys[*path, key] = place
            result[key] = self._plain(value_node, (*path, key), above)
        return result

    def bson(self, value: Any, path: Path_) -> Any:
        """Turn a plain value that may hold Extended JSON into BSON values, in place."""
        try:
            return to_bson_values(value)
        except ExtendedJSONError as error:
            for step in error.path:
                path = (*path, int(step)) if (*path, step) not in self._places else (*path, step)
            self.fail(path, error.reason)


def _collections(document: _Document) -> list[Collection]:
    top = _expect(document, document.value, (), "document")
    _known_keys(document, (), top, {"collections"}, "a manifest")
    if "collections" not in top:
        document.fail((), "a manifest has the key collections")
    named = top["collections"]
    collections = _expect(document, {} if named is None else named, ("collections",), "document")
    return [_collection(document, name, body) for name, body in collections.items()]


def _collection(document: _Document, name: str, body: Any) -> Collection:
    path: Path_ = ("collections", name)
    if not name or name.startswith("system.") or "$" in name or "\0" in name:
        document.fail(path, f"{name!r} can't be the name of a collection of yours", at_key=True)
    options = _expect(document, {} if body is None else body, path, "document")
    _known_keys(document, path, options, _COLLECTION_KEYS, "a collection")
    for key, value in options.items():
        _expect(document, value, (*path, key), _COLLECTION_KEYS[key])
    for key, allowed in (("validationLevel", LEVELS), ("validationAction", VALIDATION_ACTIONS)):
        if key in options:
            if "validator" not in options:
                document.fail((*path, key), f"{key} without a validator", at_key=True)
            _one_of(document, (*path, key), options[key], allowed)
    if "viewOn" in options and {"validator", "indexes"} & options.keys():
        wrong = "validator" if "validator" in options else "indexes"
        document.fail((*path, wrong), f"a view has no {wrong}", at_key=True)
    if "pipeline" in options and "viewOn" not in options:
        document.fail((*path, "pipeline"), "pipeline without viewOn", at_key=True)
    if options.get("capped") and "size" not in options:
        document.fail((*path, "capped"), "a capped collection needs a size in bytes", at_key=True)
    creation = {
        key: document.bson(value, (*path, key)) for key, value in options.items() if key in CREATION_OPTIONS
    }
    validator = None
    if "validator" in options:
        expression = _validator(document, options["validator"], (*path, "validator"))
        validator = Validator(
            expression, options.get("validationLevel", "strict"), options.get("validationAction", "error")
        )
    # `validator: {}` is how MongoDB says "none".
    validator = validator if validator and validator.expression else None
    indexes = tuple(
        _index(document, index, (*path, "indexes", n)) for n, index in enumerate(options.get("indexes", []))
    )
    collection = Collection(name, creation, validator, indexes)
    if (conflict := collection.conflict()) is not None:
        position, message, hint = conflict
        document.fail((*path, "indexes", position), message, hint=hint)
    return collection


def _validator(document: _Document, value: Any, path: Path_) -> dict[str, Any]:
    plain = _expect(document, value, path, "document")
    converted: dict[str, Any] = document.bson(plain, path)
    for problem in problems(converted):
        document.fail((*path, *problem.path), problem.message, hint=problem.hint, at_key=problem.at_key)
    return converted


def _index(document: _Document, value: Any, path: Path_) -> Index:
    body = _expect(document, value, path, "document")
    _known_keys(document, path, body, _INDEX_KEYS, "an index")
    if "keys" not in body:
        document.fail(path, "an index needs keys", hint="for example keys: {email: 1}")
    for key, item in body.items():
        _expect(document, item, (*path, key), _INDEX_KEYS[key])
    keys = body["keys"]
    if not keys:
        document.fail((*path, "keys"), "an index needs at least one key")
    for field, kind in keys.items():
        _key(document, (*path, "keys", field), field, kind)
    name = body.get("name")
    if name is not None and (not name or name in ("_id_", "*")):
        document.fail((*path, "name"), f"{name!r} can't be the name of an index of yours")
    if keys == {"_id": 1}:
        document.fail((*path, "keys"), "every collection has the index on _id", hint="leave it out")
    seconds = body.get("expireAfterSeconds")
    if seconds is not None and not 0 <= seconds <= 2**31 - 1:
        document.fail((*path, "expireAfterSeconds"), "expireAfterSeconds is from 0 to 2147483647")
    if seconds is not None and len(keys) > 1:
        document.fail(
            (*path, "expireAfterSeconds"), "an index that expires documents has one key", at_key=True
        )
    if body.get("sparse") and "partialFilterExpression" in body:
        document.fail((*path, "sparse"), "sparse and partialFilterExpression exclude each other", at_key=True)
    for key in ("weights", "default_language", "language_override"):
        if key in body and "text" not in keys.values():
            document.fail((*path, key), f"{key} is for text indexes", at_key=True)
    if "collation" in body and "locale" not in body["collation"]:
        document.fail((*path, "collation"), "a collation needs a locale")
    options = {key: document.bson(item, (*path, key)) for key, item in body.items() if key in INDEX_OPTIONS}
    return Index(dict(keys), name, options)


def _key(document: _Document, path: Path_, field: str, kind: Any) -> None:
    if not field:
        document.fail(path, "a key without a name", at_key=True)
    if isinstance(kind, str):
        _one_of(document, path, kind, INDEX_KINDS, also="1, -1")
    elif isinstance(kind, bool) or not isinstance(kind, int | float) or kind == 0 or math.isnan(kind):
        document.fail(path, f"a key of an index is 1, -1 or one of {', '.join(INDEX_KINDS)}")


def _expect(document: _Document, value: Any, path: Path_, kind: str) -> Any:
    fits = {
        "document": isinstance(value, dict),
        "array": isinstance(value, list),
        "string": isinstance(value, str),
        "boolean": isinstance(value, bool),
        "number": isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value),
    }[kind]
    if not fits:
        subject = next((str(step) for step in reversed(path) if isinstance(step, str)), "a manifest")
        document.fail(path, f"{subject} is {_NAMES[kind]}, not {_shown(value)}")
    return value


def _shown(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case dict():
            return "a document"
        case list():
            return "a list"
        case _:
            text = json.dumps(value, ensure_ascii=False)
            return text if len(text) <= 40 else text[:37] + "..."


def _known_keys(
    document: _Document, path: Path_, body: Mapping[str, Any], known: Iterable[str], what: str
) -> None:
    for key in body:
        if key not in known:
            hint = near(key, sorted(known)) or f"known: {', '.join(sorted(known))}"
            document.fail((*path, key), f"unknown key {key} in {what}", hint=hint, at_key=True)


def _one_of(document: _Document, path: Path_, value: Any, allowed: tuple[str, ...], also: str = "") -> None:
    if value in allowed:
        return
    known = ", ".join(filter(None, (also, *allowed)))
    document.fail(path, f"{value} is none of {known}", hint=near(str(value), allowed))
