"""A manifest's document -> YAML that reads back to the same. Never judges what it writes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from motorctl.manifest.document import Document, Path_


def dump_yaml(document: Mapping[str, Any], comments: Mapping[Path_, str] | None = None) -> str:
    """Write a manifest's document (plain values) as YAML that `load` reads back to the same.

    A comment stands on lines of its own above the value at its path (keys and positions from the top).
    """
    yaml = YAML()
    yaml.width = 10_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    buffer = io.StringIO()
    yaml.dump(_styled(document), buffer)
    text = buffer.getvalue()
    return _with_comments(text, comments) if comments else text


def _with_comments(text: str, comments: Mapping[Path_, str]) -> str:
    places = Document("", text)
    lines = text.split("\n")
    above: dict[int, list[str]] = {}
    for path, comment in comments.items():
        number = places.place(path)[0] - 1
        indent = " " * (len(lines[number]) - len(lines[number].lstrip(" ")))
        above.setdefault(number, []).extend(
            f"{indent}# {printable}".rstrip() for printable in map(_printable, comment.splitlines())
        )
    return "\n".join(
        written for number, line in enumerate(lines) for written in (*above.get(number, ()), line)
    )


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _styled(value: Any, key: str | None = None) -> Any:
    if isinstance(value, Mapping):
        result = CommentedMap((_styled(name), _styled(item, name)) for name, item in value.items())
        if key == "keys":
            result.fa.set_flow_style()
        return result
    if isinstance(value, list):
        return [_styled(item) for item in value]
    # Line separators of Unicode are folded into spaces in any other style.
    return DoubleQuotedScalarString(value) if isinstance(value, str) and not value.isprintable() else value
