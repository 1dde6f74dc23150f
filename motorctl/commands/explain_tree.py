"""How a plan looks to people: a head, the tree of its stages with their figures, the advice.

Owns the layout, as lines of text with a style each. The tree has the last stage on top; a chain of
stages goes straight down, and only branches are indented, so that a long pipeline fits 80 columns.
On a terminal lines are cut and folded to its width; in a pipe nothing is cut, and the tree is ASCII.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from motorctl.commands import explain_words as words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from motorctl.core.explain.advice import Sentence
    from motorctl.core.explain.plan import Plan, Stage

ALIKE = 4
"""More inputs than that which differ in nothing but figures are shown as one: a $geoNear has dozens."""

GAP = 2
ROOM = 15
"""So wide is a stage's name, at least."""

HEADINGS = ("in", "out", "keys", "docs", "own ms")


class Line(NamedTuple):
    """One line of text; `style` is "" for plain, or bold, dim, bad."""

    text: str
    style: str = ""


class Glyphs(NamedTuple):
    """What the tree is drawn with."""

    fork: str
    last: str
    down: str
    worst: str
    cut: str


DRAWN = Glyphs("├─ ", "└─ ", "│  ", "◀ worst", "…")
ASCII = Glyphs("|- ", "`- ", "|  ", "<- worst", "...")
NOTHING = "   "


@dataclass
class _Row:
    """A stage: what leads to it, its name, its figures, the lines below it."""

    lead: str
    below: str
    label: str
    figures: tuple[str, ...]
    notes: list[str] = field(default_factory=list)
    worst: bool = False


def lines(plan: Plan, advice: Sequence[Sentence] = (), *, width: int | None = None) -> list[Line]:
    """Return a plan as lines for people; `width` is a terminal's, None a pipe."""
    from motorctl.core.explain.summary import worst
    from motorctl.text import printable

    shown = replace(plan, root=_together(plan.root))
    glyphs = DRAWN if width is not None else ASCII
    rows = list(_rows(shown.root, worst(shown), glyphs))
    found = [
        *(Line(text, "bold" if number == 0 else "") for number, text in enumerate(words.head(plan))),
        Line(""),
        *_tree(rows, glyphs, width, figures=plan.executed),
        *_advice(advice),
    ]
    safe = [Line(printable(line.text), line.style) for line in found]
    return [folded for line in safe for folded in _folded(line, width)]


def _together(stage: Stage) -> Stage:
    """Return a tree in which many inputs that look alike are one, with a count."""
    below = [_together(one) for one in stage.inputs]
    kinds: dict[Any, list[Stage]] = {}
    for one in below:
        kinds.setdefault(_look(one), []).append(one)
    if len(below) > ALIKE and len(kinds) < len(below):
        below = [_sum(alike) if len(alike) > ALIKE else one for alike in kinds.values() for one in alike[:1]]
    return replace(stage, inputs=below)


def _look(stage: Stage) -> Any:
    return (stage.kind, stage.index, stage.shard, stage.branch, tuple(_look(one) for one in stage.inputs))


def _sum(alike: Sequence[Stage]) -> Stage:
    """Add stages up that look alike, and what is below them."""
    first = alike[0]
    figures: dict[str, Any] = {}
    for name in ("output", "keys", "docs", "ms", "cursor_ms"):
        known = [value for one in alike if (value := getattr(one, name)) is not None]
        figures[name] = sum(known) if known else None
    inputs = [_sum(below) for below in zip(*(one.inputs for one in alike), strict=True)]
    details = {**first.details, words.TIMES: len(alike)}
    return replace(first, inputs=inputs, bounds=None, details=details, **figures)


def _rows(
    stage: Stage, worst: Stage | None, glyphs: Glyphs, lead: str = "", below: str = "", parent: Any = None
) -> Iterator[_Row]:
    """Walk down: one input stands right below a stage, several are branches."""
    branching = len(stage.inputs) > 1 or any(one.branch is not None for one in stage.inputs)
    notes_lead = below + (glyphs.down if branching else NOTHING)
    yield _Row(
        lead, notes_lead, words.label(stage, parent), words.figures(stage), words.notes(stage), stage is worst
    )
    if not branching:
        for one in stage.inputs:
            yield from _rows(one, worst, glyphs, below, below, stage)
        return
    for number, one in enumerate(stage.inputs):
        last = number == len(stage.inputs) - 1
        fork, under = (glyphs.last, NOTHING) if last else (glyphs.fork, glyphs.down)
        yield from _rows(one, worst, glyphs, below + fork, below + under, stage)


def _tree(rows: Sequence[_Row], glyphs: Glyphs, width: int | None, *, figures: bool) -> Iterator[Line]:
    from rich.cells import cell_len

    shown = [
        number
        for number, name in enumerate(HEADINGS)
        if figures and any(row.figures[number] for row in rows) and name
    ]
    sizes = {n: max(len(HEADINGS[n]), *(len(row.figures[n]) for row in rows)) for n in shown}
    figured = sum(GAP + size for size in sizes.values())
    mark = glyphs.worst
    if width is not None and ROOM + figured + 1 + len(mark) > width:
        mark = mark.partition(" ")[0]
    taken = figured + (1 + len(mark) if any(row.worst for row in rows) else 0)
    longest = max((cell_len(row.lead + row.label) for row in rows), default=0)
    room = max(longest, len("stage"))
    if width is not None:
        room = min(room, max(width - taken, ROOM))
    if shown:
        yield Line(_columns("stage", room, ((HEADINGS[n], sizes[n]) for n in shown)), "bold")
    for row in rows:
        first, *rest = _fitted(row, room, width, glyphs)
        text = _columns(first, room, ((row.figures[n], sizes[n]) for n in shown))
        yield Line(f"{text} {mark}" if row.worst else text.rstrip(), "bad" if row.worst else "")
        for note in (*rest, *(row.below + note for note in row.notes)):
            yield Line(_cut(note, width, glyphs), "dim")


def _fitted(row: _Row, room: int, width: int | None, glyphs: Glyphs) -> list[str]:
    """Return a stage's label, over two lines where its name is too long for the column."""
    from rich.cells import cell_len

    whole = row.lead + row.label
    if width is None or cell_len(whole) <= room:
        return [whole]
    kind, _, name = row.label.rpartition(" ")
    if not kind:
        return [_cut(whole, room, glyphs)]
    return [_cut(row.lead + kind, room, glyphs), row.below + name]


def _columns(label: str, room: int, cells: Iterator[tuple[str, int]]) -> str:
    from rich.cells import cell_len

    padded = label + " " * (room - cell_len(label))
    return padded + "".join(" " * GAP + cell.rjust(size) for cell, size in cells)


def _cut(text: str, width: int | None, glyphs: Glyphs) -> str:
    from rich.cells import cell_len, set_cell_size

    if width is None or cell_len(text) <= width:
        return text
    return set_cell_size(text, width - len(glyphs.cut)) + glyphs.cut


def _advice(advice: Sequence[Sentence]) -> Iterator[Line]:
    for number, sentence in enumerate(advice):
        if number == 0:
            yield Line("")
        yield Line(f"- {sentence.text}")
        if sentence.command:
            yield Line(f"  {sentence.command}", "bold")


def _folded(line: Line, width: int | None) -> list[Line]:
    """Break a line between words where a terminal would break it anywhere."""
    from rich.cells import cell_len

    if width is None or cell_len(line.text) <= width:
        return [line]
    indent = " " * (len(line.text) - len(line.text.lstrip(" -")))
    # Not textwrap, which counts characters: wide ones take two cells. A word too long for a line stays whole.
    broken = [line.text[: len(indent)]]
    for word in line.text[len(indent) :].split(" "):
        if broken[-1].strip(" -") and cell_len(broken[-1]) + 1 + cell_len(word) > width:
            broken.append(indent + word)
        else:
            broken[-1] += f" {word}" if broken[-1].strip(" -") else word
    return [Line(text.rstrip(), line.style) for text in broken]
