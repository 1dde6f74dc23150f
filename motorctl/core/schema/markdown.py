"""A plan as the comment of a pull request, in Markdown as GitHub and GitLab read it. Pure.

Whatever a name, a value or a document holds is text there: it closes no cell and no fence, makes no
markup and calls nobody by `@`.
"""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from typing import TYPE_CHECKING

from motorctl.core.extjson import to_json_value
from motorctl.core.schema.words import obstacles, row, subject

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from motorctl.core.schema.change import Change

LONGEST = 60_000
"""Characters of a comment at most: GitHub takes 65,536."""

_WORDS = {
    "planned": "to change",
    "blocked": "blocked",
    "applied": "applied",
    "failed": "failed",
    "skipped": "skipped",
    "in_sync": "as they should be",
    "unmanaged": "not in the manifest",
}


def comment(changes: Sequence[Change], title: str, name: str) -> str:
    """Write a plan: a heading, the counts, a table of changes, what blocks them, and each in full, folded away.

    `title` is plain text ("Schema plan for the database"), `name` follows it as code. What doesn't fit
    into `LONGEST` characters is counted, not shown.
    """
    count: Counter[str] = Counter(change.status for change in changes)
    counts = ", ".join(f"{count[status]} {words}" for status, words in _WORDS.items() if count[status])
    differing = [change for change in changes if change.action != "keep"]
    heading = f"### {title} {code(name)}\n"
    if not differing:
        sentence = f"**In sync**: {counts}." if counts else "**In sync**: there is nothing to compare."
        return f"{heading}\n{sentence}\n"
    parts = [heading, f"**{counts}**\n", *_table(differing, LONGEST // 3)]
    if lines := obstacles(changes):
        parts += ["#### Look at these first\n", fenced(_cut(lines, LONGEST // 3), "text")]
    room = LONGEST - sum(len(part) + 1 for part in parts) - 200
    parts += [
        "<details>",
        "<summary>Each change in full</summary>\n",
        *_details(differing, room),
        "</details>\n",
    ]
    return "\n".join(parts)


def code(text: str) -> str:
    """Write any text as code on one line, in a cell of a table too."""
    text = _visible(text)
    if text and text == text.strip() and not re.search(r"[`|\\]", text):
        return f"`{text}`"
    # A character reference is never structure: it can't end a cell, a span or a tag.
    return "<code>" + re.sub(r"[^\w ,.:{}()/-]|_", lambda found: f"&#{ord(found[0])};", text) + "</code>"


def fenced(text: str, language: str) -> str:
    """Write lines as they are; the fence is longer than any in them."""
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall(r"`+", text) or [""]))
    return f"{fence}{language}\n{_visible(text, lines=True)}\n{fence}\n"


def _table(changes: Sequence[Change], room: int) -> Iterator[str]:
    yield "| change | object | detail |"
    yield "|---|---|---|"
    for n, change in enumerate(changes):
        cells = row(change)
        detail = code(cells["detail"]) if cells["detail"] else ""
        line = f"| {code(cells['change'])} | {code(cells['object'])} | {detail} |"
        room -= len(line) + 1
        if room < 0:
            yield f"| … | {len(changes) - n} more | |"
            break
        yield line
    yield ""


def _details(changes: Sequence[Change], room: int) -> Iterator[str]:
    for n, change in enumerate(changes):
        block = f"{code(subject(change))}\n\n{fenced(_compared(change), 'diff')}"
        room -= len(block) + 1
        if room < 0:
            yield f"{len(changes) - n} more don't fit into a comment.\n"
            return
        yield block


def _compared(change: Change) -> str:
    before, after = _lines(change.before), _lines(change.after)
    everything = len(before) + len(after)
    # Without the three lines that name files and places.
    compared = list(difflib.unified_diff(before, after, n=everything, lineterm=""))[3:]
    return "\n".join(compared or [f" {line}" for line in before])


def _lines(document: Mapping[str, Any] | None) -> list[str]:
    if document is None:
        return []
    return json.dumps(to_json_value(document), ensure_ascii=False, indent=2).splitlines()


def _cut(lines: Sequence[str], room: int) -> str:
    kept: list[str] = []
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            return "\n".join([*kept, f"… {len(lines) - len(kept)} more lines"])
        kept.append(line)
    return "\n".join(kept)


def _visible(text: str, *, lines: bool = False) -> str:
    """Show what can't be seen, as marks that turn text around, by its escape."""
    return "".join(
        one if one.isprintable() or (lines and one == "\n") else one.encode("unicode_escape").decode()
        for one in text
    )
