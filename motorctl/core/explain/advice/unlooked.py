"""Why a condition can't be looked up in any index, in words. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from motorctl.core.explain.advice.model import Sentence

if TYPE_CHECKING:
    from motorctl.core.explain.advice.conditions import Condition


def of_condition(condition: Condition, index: str | None = None) -> Sentence | None:
    """Say why an index can't look up what a condition asks; None where that isn't known."""
    path = condition.path
    match condition.why:
        case "regex":
            text = (
                f"the regular expression for {path} doesn't begin with ^ and plain text: every key has to be "
                "tested; anchor it, or search words with a text index"
            )
        case "regex_option":
            text = (
                f"the regular expression for {path} has an option beside m, s and x: with it the server tests every "
                "key; leave it out (re.compile of Python adds u: use bson.Regex)"
            )
        case "regex_case":
            text = (
                f"the regular expression for {path} ignores case: every key has to be tested; for equality, use an "
                "index with a collation of strength 2 and ask with that collation"
            )
        case "regex_collation":
            text = (
                f"a regular expression (on {path}) is looked up in an index without a collation alone: ask without "
                "one, or every key is tested"
            )
        case "negation":
            text = (
                f"{condition.operator} on {path} asks for everything but some values: an index hardly narrows that; "
                "name the values that are wanted ($in)"
            )
        case "exists":
            text = (
                f"that {path} is there narrows nothing in an index that holds all documents: a sparse or a partial "
                "one holds those alone"
            )
        case "expr_version":
            text = (
                f"before MongoDB 5.0 an index serves $expr for equality alone, and the query has "
                f"{condition.operator} on {path} in it: write the condition without $expr"
            )
        case "expr_array":
            text = f"no index serves $expr for {path}, which holds arrays: write the condition without $expr"
        case "operator" if condition.operator in ("$mod", "$size", "$type") or condition.operator.startswith(
            "$bits"
        ):
            text = (
                f"{condition.operator} on {path} can't be looked up: every key or document has to be tested"
            )
        case _:
            return None
    kind = {
        "regex_case": "case",
        "regex_option": "regex",
        "regex_collation": "regex",
        "expr_version": "expr",
        "expr_array": "expr",
    }.get(condition.why, condition.why)
    return Sentence(kind, text, index)
