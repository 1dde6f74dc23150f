"""The exit codes are a contract: scripts rely on each number."""

from __future__ import annotations

import ast
from pathlib import Path

import imported  # noqa: F401 - all of the program, with each error that it defines
import pytest

import motorctl.app  # noqa: F401 - it has an error of its own
from motorctl import errors
from motorctl.errors import ExitCode, MotorctlError

MEANINGS = {
    "OK": 0,
    "FAILED": 1,
    "USAGE": 2,
    "UNREACHABLE": 3,
    "UNAUTHORIZED": 4,
    "NOT_FOUND": 5,
    "REFUSED": 6,
    "REJECTS": 7,
    "DIFFERENCE": 8,
    "OUTCOME_UNKNOWN": 9,
    "INTERRUPTED": 130,
    "TERMINATED": 143,
}

ERRORS = {
    "MotorctlError": ("failed", 1),
    "OutputError": ("output", 1),
    "UsageError": ("usage", 2),
    "ConfigurationError": ("configuration", 2),
    "ManifestError": ("manifest", 2),
    "UnreachableError": ("unreachable", 3),
    "AuthenticationError": ("not_authenticated", 4),
    "AuthorizationError": ("not_authorized", 4),
    "NotFoundError": ("not_found", 5),
    "RefusedError": ("refused", 6),
    "DuplicateKeyError": ("duplicate_key", 6),
    "ValidationRefusedError": ("validation", 6),
    "DifferenceError": ("difference", 8),
    "OutcomeUnknownError": ("outcome_unknown", 9),
    "InterruptedByUserError": ("interrupted", 130),
    "TerminatedError": ("terminated", 143),
    "DefectError": ("defect", 1),
    "WorkerError": ("worker", 1),
    "PortTakenError": ("port_taken", 1),
    "NoProfilerError": ("no_profiler", 1),
    "UnjudgedError": ("unjudged", 1),
    "PipelineError": ("pipeline", 2),
    "NotExplainError": ("not_explain", 2),
}
"""All of the program's errors: their codes are the interface."""


def tree(top: type[MotorctlError] = MotorctlError) -> list[type[MotorctlError]]:
    """The error and everything below it."""
    return [top, *(error for below in top.__subclasses__() for error in tree(below))]


def test_the_exit_codes_are_the_contract() -> None:
    assert {code.name: int(code) for code in ExitCode} == MEANINGS


def test_no_error_has_a_code_that_stands_nowhere() -> None:
    assert {error.__name__ for error in tree() if error.__module__.startswith("motorctl")} == set(ERRORS)


@pytest.mark.parametrize("name", ERRORS)
def test_each_error_has_its_code_and_number(name: str) -> None:
    found = {error.__name__: error for error in tree()}
    assert (found[name].code, int(found[name].exit_code)) == ERRORS[name]


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    """Each line of the drawing names a class of the module and its number, indented under its parent."""
    drawn: dict[str, tuple[str | None, int]] = {}
    stack: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        words = line.replace("│", " ").replace("├──", "   ").replace("└──", "   ")
        if not words.strip().split() or not words.split()[0].endswith("Error"):
            continue
        depth, name, number = len(words) - len(words.lstrip()), words.split()[0], int(words.split()[1])
        while stack and stack[-1][0] >= depth:
            stack.pop()
        drawn[name] = (stack[-1][1] if stack else None, number)
        stack.append((depth, name))
    real = {
        error.__name__: (None if error is MotorctlError else error.__mro__[1].__name__, int(error.exit_code))
        for error in tree()
        if error.__module__ == errors.__name__
    }
    assert drawn == real


def test_machine_codes_differ() -> None:
    codes = [error.code for error in tree() if error.__module__.startswith("motorctl")]
    assert len(codes) == len(set(codes))


def test_an_error_carries_its_sentence_hint_and_facts() -> None:
    error = errors.DuplicateKeyError("email is taken", hint="choose another", field="email")
    assert (str(error), error.message, error.hint) == ("email is taken", "email is taken", "choose another")
    assert error.details == {"field": "email"}


def test_errors_import_the_standard_library_only() -> None:
    source = ast.parse(Path(errors.__file__).read_text(encoding="utf-8"))
    modules = {node.module for node in ast.walk(source) if isinstance(node, ast.ImportFrom)}
    modules |= {
        alias.name for node in ast.walk(source) if isinstance(node, ast.Import) for alias in node.names
    }
    assert modules == {"__future__", "enum", "typing"}
