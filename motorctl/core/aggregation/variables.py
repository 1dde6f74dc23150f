"""Variables in a pipeline: `{"$var": "name"}` for a value anywhere, `$$name` in an expression. Pure.

A value is put in as a value, whatever it holds: a text that begins with a dollar is no field, a document no
operator. What a text on the command line becomes, `arguments` and `value_of` say.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import orjson
from bson import Regex

from motorctl.core import extjson
from motorctl.core.aggregation.stages import Path, Pipeline, PipelineError
from motorctl.core.ingest.decoding.types import converter
from motorctl.errors import UsageError
from motorctl.near import near

__all__ = ["Filled", "filled", "inlined", "value_of"]

# Values as they are: the server takes no expression there, or takes a text as a text.
_QUERIES = frozenset(
    {"$match", "$geoNear", "$search", "$searchMeta", "$vectorSearch", "restrictSearchWithMatch"}
)
_VARIABLE = re.compile(r"\$\$([a-z\u0080-\U0010ffff][\w\u0080-\U0010ffff]*)(.*)", re.DOTALL)
# Bound by an operator without being named in it: $reduce, $filter and $map, $merge.
_IMPLIED = frozenset({"this", "value", "new"})


@dataclass(frozen=True)
class Filled:
    """A pipeline with its placeholders filled in; `let` is what it still uses as `$$name`."""

    pipeline: Pipeline
    let: dict[str, Any] = field(default_factory=dict)


def value_of(name: str, kind: str | None, text: str) -> Any:
    """Return the value of a variable: of a type of `import --types`, else Extended JSON, else the text itself.

    Raises UsageError (2) for a text that isn't of its type, for an operator in it, and for a regular
    expression that nobody asked for: in a query it would match more than itself.
    """
    if kind is not None:
        try:
            value = converter(kind).cell(text)
        except ValueError as error:
            raise UsageError(f"--var {name}: {error}") from None
        except UsageError as error:
            raise UsageError(error.message.replace("--types", f"--var {name}", 1), hint=error.hint) from None
    else:
        try:
            value = extjson.loads(text, strict=True)
        except orjson.JSONDecodeError:
            value = text
        except ValueError as error:
            raise UsageError(f"--var {name}: {error}", hint=f"--var {name}:string=... is text") from None
    if operator := _operator_in(value):
        raise UsageError(
            f"--var {name}: {operator} is an operator, and a variable is a value",
            hint="operators stand in the pipeline, with the variable inside them",
        )
    if kind is None and _holds_regex(value):
        raise UsageError(
            f"--var {name}: a regular expression matches more than itself",
            hint=f"--var {name}:json=... if that is meant",
        )
    return value


def filled(pipeline: Pipeline, values: dict[str, Any], *, alone: bool = False) -> Filled:
    """Return the pipeline with each `{"$var": "name"}` replaced by its value, and what `$$name` needs.

    `alone`: see `writes`. Raises PipelineError (2) with the place of a name that has no value, and UsageError
    for a value that nothing uses.
    """
    walk = _Walk(values, inline=False)
    done = walk.stages(pipeline, alone=alone)
    unused = [name for name in values if name not in walk.used]
    if unused:
        name = unused[0]
        raise UsageError(
            f"--var {name}: the pipeline does not use it",
            hint=f'{{"$var": "{name}"}} stands for it, in an expression $${name} too',
            variable=name,
        )
    return Filled(done, {name: {"$literal": values[name]} for name in values if name in walk.let})


def inlined(pipeline: Pipeline, values: dict[str, Any]) -> Pipeline:
    """Return the pipeline with `$$name` replaced by the value, for a server whose aggregate has no `let`."""
    return _Walk(values, inline=True).stages(pipeline, alone=False)


@dataclass(frozen=True)
class _Spot:
    """Where a value stands: in a `query`, an `expression`, a `projection` or a `literal`; names bound there."""

    kind: str
    bound: frozenset[str] = _IMPLIED

    def of(self, kind: str) -> _Spot:
        return _Spot(kind, self.bound)

    def binding(self, names: frozenset[str]) -> _Spot:
        return _Spot(self.kind, self.bound | names)


class _Walk:
    def __init__(self, values: dict[str, Any], *, inline: bool) -> None:
        self._values = values
        self._inline = inline
        self.used: set[str] = set()
        self.let: set[str] = set()

    def stages(self, pipeline: Pipeline, *, alone: bool) -> Pipeline:
        start = _Spot("expression")
        return [self._walk(stage, () if alone else (n,), start) for n, stage in enumerate(pipeline)]

    def _walk(self, value: Any, path: Path, spot: _Spot) -> Any:
        if isinstance(value, dict):
            return (
                self._placeholder(value, path, spot) if "$var" in value else self._object(value, path, spot)
            )
        if isinstance(value, list):
            return [self._walk(item, (*path, n), spot) for n, item in enumerate(value)]
        if isinstance(value, str) and spot.kind in ("expression", "projection"):
            return self._text(value, path, spot)
        return value

    def _object(self, value: dict[str, Any], path: Path, spot: _Spot) -> dict[str, Any]:
        result = {}
        for key, inner in value.items():
            here = spot
            if key == "$literal":
                here = spot.of("literal")
            elif key == "$expr":
                here = spot.of("expression")
            elif spot.kind not in ("query", "literal"):
                if key in _QUERIES:
                    here = spot.of("query")
                elif key == "$project":
                    here = spot.of("projection")
                elif key.startswith("$"):
                    here = spot.of("expression")
                else:
                    here = spot.binding(_names_bound(key, value))
            result[key] = self._walk(inner, (*path, key), here)
        return result

    def _placeholder(self, value: dict[str, Any], path: Path, spot: _Spot) -> Any:
        name = value["$var"]
        if len(value) != 1 or not isinstance(name, str):
            raise PipelineError('a variable is written {"$var": "name"}', path)
        found = self._value(name, path, f'{{"$var": "{name}"}}')
        if spot.kind == "projection" or (spot.kind == "expression" and _means_something(found)):
            return {"$literal": found}
        return found

    def _text(self, text: str, path: Path, spot: _Spot) -> Any:
        match = _VARIABLE.fullmatch(text)
        if match is None or match[1] in spot.bound:
            return text
        name, rest = match[1], match[2]
        if self._inline and name not in self._values:
            return text
        found = self._value(name, path, f"$${name}")
        self.let.add(name)
        if not self._inline:
            return text
        literal = {"$literal": found}
        return {"$let": {"vars": {name: literal}, "in": text}} if rest else literal

    def _value(self, name: str, path: Path, shown: str) -> Any:
        if name not in self._values:
            hint = near(name, self._values) or f"--var {name}=VALUE gives it one"
            raise PipelineError(f"{shown} has no value", path, hint=hint, variable=name)
        self.used.add(name)
        return self._values[name]


def _names_bound(key: str, body: dict[str, Any]) -> frozenset[str]:
    """Return the names that an operator's body gives to what stands inside its `key`."""
    if key in ("pipeline", "whenMatched"):
        let = body.get("let")
        return frozenset(let) if isinstance(let, dict) else frozenset()
    if key not in ("in", "cond"):
        return frozenset()
    variables = body.get("vars")
    names = set(variables) if isinstance(variables, dict) else set()
    # `as`, and of a newer server's $map arrayIndexAs.
    names |= {inner for word, inner in body.items() if word.lower().endswith("as") and isinstance(inner, str)}
    return frozenset(names)


def _means_something(value: Any) -> bool:
    """Tell whether a value would be more than itself in an expression."""
    if isinstance(value, str):
        return value.startswith("$")
    if isinstance(value, dict):
        return any(
            not key or "." in key or "$" in key or _means_something(item) for key, item in value.items()
        )
    return isinstance(value, list) and any(map(_means_something, value))


def _operator_in(value: Any) -> str | None:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key.startswith("$"):
                return str(key)
            if found := _operator_in(inner):
                return found
    elif isinstance(value, list):
        return next(filter(None, map(_operator_in, value)), None)
    return None


def _holds_regex(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_regex, value.values()))
    return any(map(_holds_regex, value)) if isinstance(value, list) else isinstance(value, Regex)
