"""What `motorctl doctor` shows: a line a step for people, nothing told by colour alone; a document for a ticket."""

from __future__ import annotations

import itertools
import textwrap
from typing import TYPE_CHECKING, Any

from motorctl.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from motorctl.app import App
    from motorctl.commands.doctor_walk import Walk
    from motorctl.road.step import Step

COLUMNS = ("step", "host", "status", "ms", "message", "hint")
STYLES = {"ok": "", "warning": "bad", "failed": "bad", "skipped": "dim"}
NARROWEST = 30
"""Characters that what was found has at least: a terminal that has no room for them folds by itself."""


def show(app: App, found: Walk, moment: datetime, seconds: float) -> None:
    """Write a walk that began at a moment (UTC) and took so many seconds, without any secret."""
    import shutil

    from motorctl.output import Column

    end = found.end
    document: dict[str, Any] = {
        "ok": end is None,
        "exit": int(end.error.exit_code if end is not None and end.error else ExitCode.OK),
        "ended_at": end.name if end else None,
        "source": found.steps[0].facts.get("source"),
        "checked_at": moment.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "seconds": round(seconds, 3),
        "versions": _versions(),
        "steps": [_row(step) for step in found.steps],
    }
    document = _clean(document, app.settings.secrets())
    match app.output.format:
        case "json":
            app.output.emit(document)
        case "ndjson":
            app.output.emit(document["steps"])
        case "csv" | "markdown":
            app.output.emit(document["steps"], [Column(name, right=name == "ms") for name in COLUMNS])
        case _:
            width = shutil.get_terminal_size().columns if app.output.terminal else None
            app.output.styled(lines(document["steps"], width, hosts=len(found.lanes) > 1))


def lines(steps: Sequence[dict[str, Any]], width: int | None, *, hosts: bool) -> Iterator[tuple[str, str]]:
    """Yield (line, style) for each step; `width` is a terminal's, None a pipe: nothing is folded there.

    `hosts` says whether there are several, so that each line must name its own.
    """
    from motorctl.road.step import NOT_REACHED, NOT_SRV

    untaken = [str(step["step"]) for step in steps if step["message"] == NOT_REACHED]
    steps = [step for step in steps if step["message"] not in (NOT_REACHED, NOT_SRV)]
    names = max(len(str(step["step"])) for step in steps)
    times = max(4, *(len(_ms(step)) for step in steps))
    indent = names + 2 + 7 + 2 + times + 2
    yield f"{'step':{names}}  {'status':7}  {'ms':>{times}}  found", "bold"
    told: set[str] = set()
    for step in _gathered(steps):
        head = f"{step['step']:{names}}  {step['status']:7}  {_ms(step):>{times}}  "
        at = f"{step['host']}  " if hosts and step["host"] else ""
        style = STYLES[step["status"]]
        yield from _folded(head, indent, f"{at}{step['message']}", width, style)
        if step["hint"] and step["hint"] not in told:
            told.add(step["hint"])
            yield from _folded(" " * indent, indent, f"hint: {step['hint']}", width, "")
    if untaken:
        yield from _folded("", 0, f"not reached: {', '.join(untaken)}", width, "dim")


def _gathered(steps: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the steps, but one line where a step went well at every host, in the same words; its time is the longest."""
    count = len({step["host"] for step in steps if step["host"] and step["step"] in ("dns", "tcp")})
    for _, group in itertools.groupby(steps, key=lambda step: str(step["step"])):
        same = list(group)
        words = {(step["status"], step["message"], step["hint"]) for step in same}
        if count > 1 and len(same) == count and len(words) == 1 and same[0]["status"] == "ok":
            longest = max(same, key=lambda step: step["ms"] or 0)
            yield {**longest, "host": f"{count} hosts"}
        else:
            yield from same


def _ms(step: dict[str, Any]) -> str:
    return "" if step["ms"] is None else f"{step['ms']:.1f}"


def _folded(head: str, indent: int, text: str, width: int | None, style: str) -> Iterator[tuple[str, str]]:
    """Yield a text behind its head, folded to the width below itself."""
    if width is None:
        yield (head + text).rstrip(), style
        return
    room = max(width - indent, NARROWEST)
    for number, line in enumerate(textwrap.wrap(text, room, break_on_hyphens=False) or [""]):
        yield ((head if number == 0 else " " * indent) + line).rstrip(), style


def _row(step: Step) -> dict[str, Any]:
    """Return a step as JSON has it: what each has first, then its own facts."""
    return {
        "step": step.name,
        "host": step.host,
        "status": str(step.status),
        "ms": step.ms,
        "message": step.message,
        "hint": step.hint,
        **({"exit": int(step.error.exit_code)} if step.error is not None and step.status == "failed" else {}),
        **{key: value for key, value in step.facts.items() if key not in COLUMNS},
    }


def _clean(value: Any, secrets: tuple[str, ...]) -> Any:
    """Cut secrets out of a document: servers and the driver repeat what they were given."""
    from motorctl.redaction import redact

    if isinstance(value, str):
        return redact(value, secrets)
    if isinstance(value, dict):
        return {key: _clean(inner, secrets) for key, inner in value.items()}
    return [_clean(inner, secrets) for inner in value] if isinstance(value, list) else value


def _versions() -> dict[str, str]:
    """Return the versions that a ticket is asked for."""
    import platform
    import ssl
    from importlib.metadata import version

    from motorctl import __version__

    return {
        "motorctl": __version__,
        **{name: version(name) for name in ("motor", "pymongo", "dnspython")},
        "python": platform.python_version(),
        "tls": ssl.OPENSSL_VERSION,
        "system": platform.system(),
    }
