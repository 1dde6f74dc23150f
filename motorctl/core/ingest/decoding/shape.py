"""A document's shape: fields renamed, kept and left out, and the model that it must fit.

Dotted names are paths into inner documents: a field whose own name holds a dot is beyond them. Pure
functions of a document and a plan; what isn't touched stays as it was, in its order.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from bson import DatetimeMS
from bson.errors import InvalidBSON

from motorctl.core.ingest.model import RecordError
from motorctl.errors import UsageError
from motorctl.near import near

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import BaseModel

    from motorctl.core.ingest.model import Plan

__all__ = ["MODELS", "check", "parse_renames", "shape", "shapes"]

MODELS = ("students", "users", "orders")

# The names of a path tree: what is below them, or None where a path ends.
_Tree = dict[str, Any]
_ABSENT: Any = object()


def parse_renames(text: str) -> tuple[tuple[str, str], ...]:
    """Read `old=new,a.b=c` into pairs. Raises `UsageError` for anything else, and for a name used twice."""
    pairs = []
    for part in text.split(","):
        old, sign, new = part.strip().partition("=")
        if not sign or any(not name or "" in name.split(".") for name in (old, new)):
            raise UsageError(f"--rename: {part.strip()!r} isn't OLD=NEW", hint="for example mail=email")
        pairs.append((old, new))
    for names in zip(*pairs, strict=True):
        for number, name in enumerate(names):
            if name in names[:number]:
                raise UsageError(f"--rename names {name!r} twice")
    return tuple(pairs)


_OF_A_REFERENCE = ("$id", "$ref", "$db")


def check(plan: Plan) -> None:
    """Raise `UsageError` for a plan that no record can follow."""
    if plan.model is not None and plan.model not in MODELS:
        hint = near(plan.model, MODELS) or f"models are {', '.join(MODELS)}"
        raise UsageError(f"--model: no model {plan.model!r}", hint=hint)
    moved = {old for old, _ in plan.rename}
    for old, new in plan.rename:
        if old.startswith(f"{new}.") and new not in moved:
            raise UsageError(f"--rename: {old!r} can't become {new!r}, which it is within")
    for name in plan.key:
        first, *inner = name.split(".")
        # In a query it would be an operator, and the records its operands: `$expr` and `$comment` find everything.
        if first.startswith("$") or any(
            part.startswith("$") and part not in _OF_A_REFERENCE for part in inner
        ):
            raise UsageError(
                f"--key: {name} would be an operator and not a field", hint="another name by --rename '$a=a'"
            )


def check_names(header: Sequence[str], plan: Plan) -> None:
    """Raise `UsageError` for a field that is renamed, kept, omitted or a key, and that no column makes."""
    made = {name[:at] for name in header for at, mark in enumerate(f"{name}.") if mark == "."}
    _check_made("--rename", [old for old, _ in plan.rename], made)
    renamed = {new[:at] for _, new in plan.rename for at, mark in enumerate(f"{new}.") if mark == "."}
    for option, wanted in (("--only", plan.only), ("--omit", plan.omit), ("--key", plan.key)):
        _check_made(option, wanted, made | renamed)


def _check_made(option: str, names: Sequence[str], made: set[str]) -> None:
    for name in names:
        if name not in made and not any(name.startswith(f"{one}.") for one in made):
            hint = near(name, made) or f"fields are {', '.join(sorted(made)[:20])}"
            raise UsageError(f"{option} names {name!r}, which no column has", hint=hint)


def shapes(plan: Plan) -> bool:
    """Whether `shape` has anything to do."""
    return bool(plan.rename or plan.only or plan.omit or plan.model)


def shape(document: dict[str, Any], plan: Plan) -> dict[str, Any]:
    """Rename fields, keep `only` some, `omit` others, and check what is left by the model.

    The document may be changed in place. All renames happen at once, so that two names can be swapped; a
    field that isn't there is none to rename. A field that keeps its parent keeps its place, another one
    comes last in its new parent, which is made if it is missing. A target that is there already, or whose
    parent is no document, is a `RecordError`. `only` keeps nothing else, `_id` neither; `only` and `omit`
    go into the documents of an array, `rename` doesn't.

    The model is that of the tool's own `create`, and `_id` is no part of it. A document that fits is
    stored as it stood: no default is added and no type changed, so a date must be a date and not a text
    that reads like one. Fields that the model doesn't know are its error. The `RecordError` has the
    first error's field and the reasons of all.
    """
    if plan.rename:
        document = _renamed(document, plan.rename)
    if plan.only:
        document = _kept(document, _tree(plan.only))
    if plan.omit:
        document = _left(document, _tree(plan.omit))
    if plan.model:
        _validate(document, plan.model)
    return document


# -- rename -----------------------------------------------------------------------------------------------


def _renamed(document: dict[str, Any], renames: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    beside, away = _by_parent(renames)
    moved = [(old, new, _taken(document, old.split("."))) for old, new in away]
    for parent, names in beside:
        inner = _inner(document, parent)
        if inner is not None and not names.keys().isdisjoint(inner):
            found = list(inner.items())
            inner.clear()
            for name, value in found:
                target = names.get(name, name)
                if target in inner:
                    path = ".".join((*parent, target))
                    raise RecordError("type", path, f"--rename gives a second {path}")
                inner[target] = value
    for old, new, value in moved:
        if value is not _ABSENT:
            _put(document, old, new, value)
    return document


@lru_cache(maxsize=8)
def _by_parent(
    renames: tuple[tuple[str, str], ...],
) -> tuple[list[tuple[tuple[str, ...], dict[str, str]]], list[tuple[str, str]]]:
    """Sort the renames: those that keep their parent, by that, and those that don't."""
    beside: dict[tuple[str, ...], dict[str, str]] = {}
    away: list[tuple[str, str]] = []
    for old, new in renames:
        (*parent, name), (*other, target) = old.split("."), new.split(".")
        if parent == other:
            beside.setdefault(tuple(parent), {})[name] = target
        else:
            away.append((old, new))
    # An inner parent is found by its old name: before those around it are renamed.
    return sorted(beside.items(), key=lambda item: -len(item[0])), away


def _inner(document: dict[str, Any], path: tuple[str, ...] | list[str]) -> dict[str, Any] | None:
    inner: Any = document
    for part in path:
        inner = inner.get(part) if type(inner) is dict else None
    return inner if type(inner) is dict else None


def _taken(document: dict[str, Any], path: list[str]) -> Any:
    inner = _inner(document, path[:-1])
    return _ABSENT if inner is None else inner.pop(path[-1], _ABSENT)


def _put(document: dict[str, Any], old: str, new: str, value: Any) -> None:
    *path, last = new.split(".")
    inner = document
    for depth, part in enumerate(path, 1):
        inner = inner.setdefault(part, {})
        if type(inner) is not dict:
            parent = ".".join(path[:depth])
            raise RecordError("type", parent, f"--rename {old}={new}: {parent} isn't a document")
    if last in inner:
        raise RecordError("type", new, f"--rename gives a second {new}")
    inner[last] = value


# -- only and omit ----------------------------------------------------------------------------------------


@lru_cache(maxsize=8)
def _tree(paths: tuple[str, ...]) -> _Tree:
    """Put paths together: {"a": None, "b": {"c": None}}. A path ends at its shortest."""
    tree: _Tree = {}
    for path in sorted(paths, key=len):
        *parents, last = path.split(".")
        inner: Any = tree
        for part in parents:
            # None: all of the parent is meant already, by a shorter path.
            inner = inner.setdefault(part, {}) if inner is not None else None
        if inner is not None:
            inner[last] = None
    return tree


def _kept(value: Any, tree: _Tree) -> Any:
    if type(value) is list:
        return [_kept(item, tree) for item in value if type(item) in {dict, list}]
    return {
        name: inner if tree[name] is None else _kept(inner, tree[name])
        for name, inner in value.items()
        if name in tree and (tree[name] is None or type(inner) in {dict, list})
    }


def _left(value: Any, tree: _Tree) -> Any:
    if type(value) is list:
        return [_left(item, tree) for item in value]
    if type(value) is not dict:
        return value
    return {
        name: _left(inner, tree[name]) if name in tree else inner
        for name, inner in value.items()
        if name not in tree or tree[name] is not None
    }


# -- model ------------------------------------------------------------------------------------------------


@lru_cache(maxsize=len(MODELS))
def _model(name: str) -> type[BaseModel]:
    # pydantic takes a tenth of a second to import, and most imports name no model.
    if name == "students":
        from motorctl.core.students import Student

        return Student
    if name == "users":
        from motorctl.core.users import User

        return User
    from motorctl.core.orders import Order

    return Order


def _validate(document: Mapping[str, Any], name: str) -> None:
    from pydantic import ValidationError

    from motorctl.core.fields import problem

    fields = {field: _as_python(value) for field, value in document.items() if field != "_id"}
    try:
        _model(name).model_validate(fields, strict=True)
    except ValidationError as error:
        found = error.errors(include_url=False)
        problems = [problem(one) for one in found]
        reason = problems[0]["reason"]
        if len(problems) > 1:
            reason = "; ".join(f"{problem['field']}: {problem['reason']}" for problem in problems)
        # No field: it is the document as a whole that doesn't fit.
        field = problems[0]["field"] if found[0]["loc"] else None
        raise RecordError("model", field, reason) from None


def _as_python(value: Any) -> Any:
    """A date of BSON is a date to a model."""
    if isinstance(value, DatetimeMS):
        try:
            return value.as_datetime()
        except InvalidBSON:
            return value
    return value
