"""`motorctl explain read`: a plan from a file. Connects to nothing."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from motorctl.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from motorctl.app import App

_BINARY = re.compile(
    r"\bBinary(?:\.createFromBase64\(\s*(?:'[^']*'|\"[^\"]*\")|\(\s*Buffer\.from\([^()]*\))\s*(?:,\s*\d+\s*)?\)"
)
"""How mongosh prints the signature beside an answer, 2 and 1: no part of the plan."""

_CUT = re.compile(r"\[(?:Object|Array|Circular[^\]]*)\]|\.\.\. \d+ more items?\b")
"""What a shell writes in place of what it leaves out."""

_SAVE = "save the whole answer as JSON: EJSON.stringify(db.orders.find().explain('executionStats')), or motorctl's --raw"


def show(app: App, file: str, fail_on: str | None) -> ExitCode | None:
    """Show the plan in a file, and hold it against gates."""
    from motorctl.commands import explain_run
    from motorctl.core.explain import gates
    from motorctl.core.explain.read import read

    wanted = gates.parse(fail_on) if fail_on is not None else []
    plan = read(_document(app, file))
    if not plan.executed:
        gates.refuse_unrun(wanted, f"{file} has no figures: ")
    failures = gates.broken(plan, wanted)
    explain_run.show(app, plan, (), [one.document() for one in failures] if wanted else None)
    for failure in failures:
        app.diagnostics.warning(f"{failure.gate}: {failure.text}", gate=failure.gate)
    return ExitCode.DIFFERENCE if failures else None


def _document(app: App, file: str) -> dict[str, Any]:
    from motorctl import arguments

    name = "stdin" if file == "-" else file
    content = arguments.text(app, file if file == "-" else f"@{file}", "FILE")
    value = _value(name, content)
    if isinstance(value, list):
        value = value[0] if value else None
    if not isinstance(value, dict):
        raise UsageError(f"{name}: not an explain document", hint=_SAVE)
    return value


def _value(name: str, content: str) -> Any:
    """Read JSON, else what mongosh prints.

    Not as strict as elsewhere: a driver's own JSON has types (`$timestamp` as a text) that Extended JSON has
    not, in fields that no plan is read from.
    """
    from motorctl import arguments
    from motorctl.core import extjson

    try:
        return extjson.loads(content)
    except ValueError:
        pass
    try:
        return json.loads(content)
    except json.JSONDecodeError:
        pass
    try:
        return arguments.Pipeline(name, _BINARY.sub("null", content), yaml=False).value
    except UsageError as error:
        if cut := _CUT.search(content):
            raise UsageError(f"{name}: the shell has left out a part of it, {cut[0]}", hint=_SAVE) from error
        raise UsageError(error.message, hint=_SAVE) from error
