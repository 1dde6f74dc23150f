"""Values of a sentence in words. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from motorctl.core.extjson import to_json_value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LONGEST = 120


def shown(document: Mapping[str, Any]) -> str:
    """Write a document in relaxed Extended JSON; a long one is cut."""
    text = orjson.dumps(to_json_value(dict(document))).decode()
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def keys(pattern: Mapping[str, Any]) -> str:
    """Write an index's keys as mongosh does: `{status: 1, created_at: -1}`."""
    return "{" + ", ".join(f"{name}: {kind}" for name, kind in pattern.items()) + "}"


def order(pairs: Sequence[tuple[str, Any]]) -> str:
    """Write a sort's pairs of field and direction as an index's keys."""
    return keys(dict(pairs))


def collation(one: Mapping[str, Any] | None) -> str:
    """Name a collation by what tells it apart."""
    if one is None:
        return "their bytes"
    strength = "" if one.get("strength", 3) == 3 else f" with strength {one['strength']}"
    return f"the collation {one.get('locale')}{strength}"


def listed(names: Sequence[str]) -> str:
    """Write names as a sentence has them: `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def counted(number: int, word: str) -> str:
    """Write a number with its noun: `1 key`, `1,000 keys`."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"
