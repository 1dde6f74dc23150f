"""Asks the server whether it can read what a change says in its language: a validator, a filter, a pipeline.

Only the server knows which operators it has. It is asked to explain a query, which it parses and plans;
no document is read. What a query may hold and a validator may not is listed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pymongo.errors import OperationFailure

from motorctl.core.schema.applying.catalog import NAMESPACE_NOT_FOUND
from motorctl.core.schema.blockers.asking import Unanswerable
from motorctl.core.schema.change import Blocker
from motorctl.core.schema.compare import expand_collation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from motorctl.core.schema.blockers.asking import Asking, Step
    from motorctl.core.schema.change import Change

REASON = "expression"

# BadValue, FailedToParse, TypeMismatch, InvalidNamespace, OptionNotSupportedOnView, InvalidPipelineOperator
_UNREADABLE = frozenset({2, 9, 14, 73, 167, 168})
_FIRST_OF_PARSERS = 14_000
"""Beyond this, codes without a name are those of places in the source: of parsers, when nothing is run."""

_ONLY_IN_QUERIES = frozenset({40218})
"""Codes of what a query lacks, not its words: metadata that no stage before it gives."""

_ONLY_OPTIMIZED = "Failed to optimize"
"""How it begins when the words are fine and a constant in them can't be computed: no validator looks."""

_NEVER_IN_VALIDATORS = frozenset({"$text", "$sampleRate"})
_NEVER_IN_EXPRESSIONS = frozenset({"$function", "$accumulator", "$rand"})
"""What a query takes, and neither a validator nor a partial filter (each was tried on MongoDB 4.4, 5.0 and 6.0)."""

_SIMPLE = {"locale": "simple"}


def is_said(change: Change) -> bool:
    """Tell whether a change says something that is parsed."""
    return change.kind in ("collection", "validator", "index") and any(_parts(change))


async def unreadable(asking: Asking, step: Step) -> Blocker | None:
    """Look for what the server can't parse, or doesn't allow where it stands."""
    change = step.change
    after = change.after or {}
    for what, pipeline in _parts(change):
        if what == "pipeline":
            if (other := _other_collation(asking, after)) is not None:
                return other
            asked = {"aggregate": after["viewOn"], "collation": after.get("collation", _SIMPLE)}
        else:
            forbidden = next(_forbidden(pipeline[0]["$match"]), None)
            if forbidden is not None:
                message = f"{forbidden} can't be in a {what}"
                return Blocker(REASON, message, "leave it out: no server takes it there")
            asked = {"aggregate": step.collection or change.collection}
        why = await _refusal(asking, {**asked, "pipeline": pipeline, "cursor": {}})
        if why is not None:
            return Blocker(REASON, f"the server can't read the {what}: {why}", "correct it in the manifest")
    return None


def _parts(change: Change) -> Iterator[tuple[str, list[Any]]]:
    """Yield what is parsed, each as a pipeline; `partial filter` and `validator` have one `$match`."""
    after = change.after or {}
    if change.action == "drop":
        return
    if after.get("validator"):
        yield "validator", [{"$match": after["validator"]}]
    if after.get("partialFilterExpression") and change.action != "modify":
        yield "partial filter", [{"$match": after["partialFilterExpression"]}]
    if change.kind == "collection" and "viewOn" in after:
        yield "pipeline", list(after.get("pipeline", ()))


async def _refusal(asking: Asking, query: Mapping[str, Any]) -> str | None:
    """Ask; return why the words are wrong, None where they aren't. Raises what else the server says."""
    try:
        await asking.command({"explain": query, "verbosity": "queryPlanner"})
    except OperationFailure as error:
        code, why = error.code or 0, str((error.details or {}).get("errmsg", error))
        if code == NAMESPACE_NOT_FOUND:
            return None
        if code in _ONLY_IN_QUERIES or _ONLY_OPTIMIZED in why:
            raise Unanswerable(why) from None
        if code in _UNREADABLE or code >= _FIRST_OF_PARSERS:
            return why
        raise
    return None


def _forbidden(query: Any) -> Iterator[str]:
    """Find what stands in a query and may not stand in a validator."""
    for word, value in query.items() if isinstance(query, Mapping) else ():
        if word in _NEVER_IN_VALIDATORS:
            yield word
        elif word == "$expr":
            yield from _forbidden_in_expression(value)
        elif word in ("$and", "$or", "$nor") and isinstance(value, list):
            for clause in value:
                yield from _forbidden(clause)


def _forbidden_in_expression(expression: Any) -> Iterator[str]:
    if isinstance(expression, list):
        for one in expression:
            yield from _forbidden_in_expression(one)
    for word, value in expression.items() if isinstance(expression, Mapping) else ():
        if word in _NEVER_IN_EXPRESSIONS:
            yield word
        elif word != "$literal":
            yield from _forbidden_in_expression(value)


def _other_collation(asking: Asking, after: Mapping[str, Any]) -> Blocker | None:
    """Hold a view against the view or time series that it is on: both have one collation."""
    name = after["viewOn"]
    source = asking.present(name)
    if not source.keys() & {"viewOn", "timeseries"}:
        return None
    if expand_collation(source.get("collation")) == expand_collation(after.get("collation")):
        return None
    kind = "view" if "viewOn" in source else "time series"
    return Blocker(
        "impossible",
        f"it has another collation than {name}, and a view on a {kind} has the same",
        f"write the collation of {name}, or none where it has none",
    )
