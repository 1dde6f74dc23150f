"""What the user typed, read: a text from an argument, `@file` or stdin; JSON documents; sort orders; pipelines.

Extended JSON and mongosh's notation are understood everywhere, in a pipeline YAML too. An error names the
argument and the place in it.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from motorctl.errors import ManifestError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from motorctl.app import App
    from motorctl.core.aggregation import PipelineError
    from motorctl.core.aggregation.literal import Literal
    from motorctl.manifest.document import Document

LARGEST = 64 * 1024 * 1024
"""Bytes that are read of an argument's file. A command has 16 MiB as BSON, some three times that as Extended JSON."""

_VARIABLE = re.compile(r"([a-z\u0080-\U0010ffff][\w\u0080-\U0010ffff]*)(?::([^=@]+))?([=@])(.*)", re.DOTALL)
# What begins so is JSON or was copied from mongosh; everything else is YAML.
_NOTATION = re.compile(r"\s*(?:[\[{;]|//|/\*|(?:db|var|let|const|use)\b)")


def text(app: App, value: str, name: str) -> str:
    """Return the text of an argument: itself, a file's after `@`, stdin's for `-`. `name` is for errors."""
    if value == "-":
        return _decoded(app.stdin.read(LARGEST + 1), f"{name}: stdin")
    if not value.startswith("@"):
        return value
    path = Path(value[1:]).expanduser()
    try:
        with path.open("rb") as file:
            return _decoded(file.read(LARGEST + 1), f"{name}: {path}")
    except OSError as error:
        raise UsageError(
            f"{name}: cannot read {path}: {(error.strerror or str(error)).lower()}",
            hint="a path begins in the directory that you are in",
        ) from error


def value(app: App, argument: str, name: str) -> Any:
    """Return the value of an argument, `@file` or `-`: Extended JSON, or as mongosh writes it."""
    from motorctl.core import extjson

    content = text(app, argument, name)
    if not content.strip():
        raise UsageError(
            f"{_place(argument, name)} is empty", hint='a document looks like {"field": "value"}'
        )
    try:
        try:
            return extjson.loads(content)
        except json.JSONDecodeError as error:
            return extjson.to_bson_values(_as_mongosh(content, error))
    except json.JSONDecodeError as error:
        raise UsageError(
            f"{_place(argument, name)}: not JSON: {error.msg.lower()} at line {error.lineno}, column {error.colno}",
            hint=None if argument.startswith(("@", "-")) else _quoting(content),
            line=error.lineno,
            column=error.colno,
        ) from error
    except ValueError as error:
        raise UsageError(f"{_place(argument, name)}: not Extended JSON: {error}") from error


def _as_mongosh(content: str, error: json.JSONDecodeError) -> Any:
    """Return the parsed Extended JSON of what is no JSON and may be mongosh's notation; else raise the error of JSON."""
    from motorctl.core.aggregation import literal

    try:
        return literal.read(content).value
    except literal.LiteralError:
        raise error from None


def _quoting(content: str) -> str:
    """Return the next step for text that was typed and is no JSON; where it has no quotes the shell may have had them."""
    if {'"', "'"} & set(content):
        return """names and texts stand in double quotes, all of it in single quotes: '{"name": "Ada"}'"""
    return 'quote it for the shell, in single quotes: \'{"name": "Ada"}\''


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


def hint(app: App, argument: str | None) -> str | dict[str, Any] | None:
    """Return an index's name, or its keys where they are given as JSON."""
    if argument is None or not argument.startswith(("{", "@", "[")):
        return argument
    return document(app, argument, "--hint")


def collation(app: App, argument: str | None) -> dict[str, Any] | None:
    """Return a collation: a JSON document of it, or the name of a locale alone."""
    if argument is None:
        return None
    is_document = argument == "-" or argument.lstrip().startswith(("{", "@"))
    return document(app, argument, "--collation") if is_document else {"locale": argument}


class Pipeline:
    """A pipeline as it was typed, in BSON values, and the place of each of them in its text.

    JSON and Extended JSON, also as mongosh writes them, or YAML: by the ending of a file's name, else by how
    the text begins. Raises UsageError with line and column of what is wrong.
    """

    def __init__(self, name: str, content: str, *, yaml: bool | None = None, typed: bool = False) -> None:
        """`typed`: it comes from the command line, where a shell may have changed it."""
        self.name = name
        self._content = content
        self._typed = typed
        self._yaml = not _NOTATION.match(content) if yaml is None else yaml
        self._read: Document | Literal | None = None
        self.value = self._value()

    def place(self, path: tuple[str | int, ...], *, at_key: bool = True) -> tuple[int, int]:
        """Return line and column, from 1, of a key (`at_key`) or value, or of the nearest thing around it."""
        from motorctl.core.aggregation.literal import Literal

        found = self._places()
        for length in range(len(path), -1, -1):
            part = path[:length]
            if isinstance(found, Literal):
                offset = found.keys.get(part) if at_key else None
                if offset is not None or (offset := found.values.get(part)) is not None:
                    return self._line(offset)
            else:
                with suppress(KeyError):
                    return found.place(part)
        return 1, 1

    def fail(
        self,
        message: str,
        path: tuple[str | int, ...],
        *,
        hint: str | None = None,
        at_key: bool = False,
        **details: Any,
    ) -> NoReturn:
        """Raise the error of a value, or with `at_key` of its key."""
        self._raise(message, self.place(path, at_key=at_key), hint, **details)

    def located(self, error: PipelineError) -> NoReturn:
        """Raise an error that knows its path with its line and column."""
        self.fail(error.message, error.path, hint=error.hint, at_key=error.at_key, **error.details)

    def _value(self) -> Any:
        """Read the values: the quick way where there is nothing to say about the text."""
        from motorctl.core import extjson

        if not self._yaml:
            try:
                return extjson.loads(self._content, strict=True)
            except ValueError:
                pass  # mongosh's notation, or wrong: the reader that knows places tells
        value = self._places().value
        try:
            return extjson.to_bson_values(value)
        except extjson.ExtendedJSONError as error:
            self.fail(error.reason, self._path(error.path))

    def _path(self, steps: list[str]) -> tuple[str | int, ...]:
        """Return the path of steps in which positions are text, too."""
        at: Any = self._places().value
        path: tuple[str | int, ...] = ()
        for step in steps:
            key: str | int = int(step) if isinstance(at, list) else step
            path, at = (*path, key), at[key]
        return path

    def _places(self) -> Document | Literal:
        if self._read is None:
            self._read = self._as_yaml() if self._yaml else self._as_notation()
        return self._read

    def _as_yaml(self) -> Document:
        from motorctl.manifest.document import About, Document

        try:
            return Document(
                self.name,
                self._content,
                about=About("pipeline", "a pipeline", "a pipeline looks like [{$match: {...}}]"),
            )
        except ManifestError as error:
            raise UsageError(error.message, hint=error.hint or self._quoting(), **error.details) from None

    def _as_notation(self) -> Literal:
        from motorctl.core.aggregation.literal import LiteralError, read

        try:
            return read(self._content)
        except LiteralError as error:
            self._raise(error.reason, self._line(error.position), error.hint or self._quoting())

    def _line(self, offset: int) -> tuple[int, int]:
        before = self._content[:offset]
        return before.count("\n") + 1, offset - before.rfind("\n")

    def _quoting(self) -> str | None:
        """Return the next step where a shell seems to have taken the quotes."""
        bare = self._typed and not {'"', "'"} & set(self._content)
        return "quote it for the shell, in single quotes" if bare else None

    def _raise(self, message: str, place: tuple[int, int], hint: str | None, **details: Any) -> NoReturn:
        line, column = place
        raise UsageError(
            f"{self.name}:{line}:{column}: {message}",
            hint=hint,
            **{**details, "line": line, "column": column},
        ) from None


def pipeline(app: App, argument: str, name: str = "pipeline") -> Pipeline:
    """Read the pipeline of an argument, `@file` or `-`."""
    content = text(app, argument, name)
    if argument == "-":
        return Pipeline("stdin", content)
    if not argument.startswith("@"):
        return Pipeline(name, content, typed=True)
    ending = Path(argument[1:]).suffix.lower()
    yaml = True if ending in (".yaml", ".yml") else False if ending in (".json", ".js", ".mongodb") else None
    return Pipeline(argument[1:], content, yaml=yaml)


def stdin_once(*given: str | None, variables: Iterable[str] = ()) -> None:
    """Raise UsageError when more than one of some arguments, `NAME@-` among the variables, takes stdin."""
    files = [match[4] for one in variables if (match := _VARIABLE.fullmatch(one)) and match[3] == "@"]
    if [*given, *files].count("-") > 1:
        raise UsageError("stdin can be read once: the pipeline or one --var")


def variables(app: App, given: Iterable[str]) -> dict[str, Any]:
    """Read `NAME=VALUE`, `NAME:TYPE=VALUE` and `NAME@FILE`: the value of each name."""
    from motorctl.core.aggregation import value_of

    values: dict[str, Any] = {}
    for one in given:
        match = _VARIABLE.fullmatch(one)
        if match is None:
            shown = re.split("[=@]", one)[0]
            raise UsageError(
                f"--var: {shown!r} is not NAME=VALUE, NAME:TYPE=VALUE or NAME@FILE",
                hint="a name begins with a small letter: --var since:date=2026-01-31",
            )
        name, kind, sign, content = match.groups()
        if name in values:
            raise UsageError(f"--var {name} is given twice")
        if sign == "@":
            content = text(app, content if content == "-" else f"@{content}", f"--var {name}").rstrip("\r\n")
        values[name] = value_of(name, kind, content)
    return values


def _place(argument: str, name: str) -> str:
    """Return where a text came from, for errors."""
    if argument == "-":
        return f"{name}: stdin"
    return f"{name}: {argument[1:]}" if argument.startswith("@") else name


def _decoded(content: bytes, place: str) -> str:
    if len(content) > LARGEST:
        raise UsageError(
            f"{place} is larger than {LARGEST >> 20} MiB: the server takes no command of that size"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{place}: not UTF-8 text (byte {error.start + 1})") from error
