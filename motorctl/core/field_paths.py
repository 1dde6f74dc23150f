"""The name of a field that somebody typed, as the server's expressions have it. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from motorctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

_GETS_FIELDS = (5, 0)
"""Servers before that have no `$getField`."""


def path(name: str) -> Any:
    r"""Return the expression of a field: `a.b` goes inside; `a\.b` and `$a` are names, by `$getField` (from 5.0).

    Raises UsageError (2) for a path with an empty part.
    """
    names = _names(name)
    if not any("." in one or one.startswith("$") for one in names):
        return f"${'.'.join(names)}"
    found: Any = None
    for one in names:
        getting: dict[str, Any] = {
            "field": {"$literal": one} if one.startswith("$") else one,
            "input": found or "$$CURRENT",
        }
        found = {"$getField": getting}
    return found


def plain(name: str) -> bool:
    """Tell whether a field is a path that every server and every index understands."""
    return bool(path(name) == f"${name}")


def check(names: Iterable[str | None], version: tuple[int, int]) -> None:
    """Raise UsageError (2) for a name that this server has no expression for."""
    for name in names:
        if name is not None and version < _GETS_FIELDS and not plain(name):
            raise UsageError(
                f"{name}: a field with such a name needs MongoDB 5.0; this is {version[0]}.{version[1]}",
                hint="a view that renames the field can be read on any server",
            )


def _names(name: str) -> list[str]:
    names = [""]
    for character in re.findall(r"\\[.\\]|.", name, re.DOTALL):
        if character == ".":
            names.append("")
        else:
            names[-1] += character[-1]
    if not all(names) or "\0" in name:
        raise UsageError(
            f"{name!r} is no field: a part of it is empty, or holds what no name can",
            hint=r"inside of a document is a.b, a dot in a name is a\.b",
        )
    return names
