"""What the user typed, read: a text from an argument, `@file` or stdin; JSON documents; sort orders.

Extended JSON is understood everywhere. An error names the argument and the place in it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motorctl.errors import UsageError

if TYPE_CHECKING:
    from motorctl.app import App


def text(app: App, value: str, name: str) -> str:
    """Return the text of an argument: itself, a file's after `@`, stdin's for `-`. `name` is for errors."""
    if value == "-":
        return _decoded(app.stdin.read(), f"{name}: stdin")
    if not value.startswith("@"):
        return value
    path = Path(value[1:]).expanduser()
    try:
        return _decoded(path.read_bytes(), f"{name}: {path}")
    except OSError as error:
        raise UsageError(f"{name}: cannot read {path}: {(error.strerror or str(error)).lower()}") from error


def value(app: App, argument: str, name: str) -> Any:
    """Return the Extended JSON value of an argument, `@file` or `-`."""
    from motorctl.core import extjson

    content = text(app, argument, name)
    try:
        return extjson.loads(content)
    except json.JSONDecodeError as error:
        raise UsageError(
            f"{_place(argument, name)}: not JSON: {error.msg.lower()} at line {error.lineno}, column {error.colno}",
            hint=None if argument.startswith(("@", "-")) else "quote it for the shell, in single quotes",
            line=error.lineno,
            column=error.colno,
        ) from error
    except ValueError as error:
        raise UsageError(f"{_place(argument, name)}: not Extended JSON: {error}") from error


def document(app: App, argument: str | None, name: str) -> dict[str, Any]:
    """Return the JSON object of an argument; None is an empty one."""
    if argument is None:
        return {}
    found = value(app, argument, name)
    if not isinstance(found, dict):
        raise UsageError(f"{name}: not a JSON object", hint='an object looks like {"field": "value"}')
    return found


def sort(argument: str | None) -> list[tuple[str, int]]:
    """Return the order that `name,-gpa` asks for: by name, then by gpa from the highest down."""
    if not argument:
        return []
    order = []
    for part in argument.split(","):
        word = part.strip()
        field = word.removeprefix("-").removeprefix("+")
        if not field or field.startswith("$"):
            raise UsageError(
                f"--sort: {part!r} is not a field", hint="--sort name,-gpa sorts by name, then highest gpa"
            )
        order.append(("_id" if field == "id" else field, -1 if word.startswith("-") else 1))
    return order


def fields(argument: str | None, name: str = "--fields") -> list[str]:
    """Return the names in a comma-separated list."""
    if not argument:
        return []
    names = [part.strip() for part in argument.split(",")]
    if not all(names):
        raise UsageError(f"{name}: an empty name in {argument!r}")
    return names


def _place(argument: str, name: str) -> str:
    """Return where a text came from, for errors."""
    if argument == "-":
        return f"{name}: stdin"
    return f"{name}: {argument[1:]}" if argument.startswith("@") else name


def _decoded(content: bytes, place: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{place}: not UTF-8 text (byte {error.start + 1})") from error
