"""The error tree, and the exit code of each error.

    MotorctlError              1  the operation failed
    ├── UsageError             2  wrong usage; nothing was done
    │   ├── ConfigurationError 2  a setting, a profile or a URI
    │   └── ManifestError      2  a schema file: file, line, column, key
    ├── UnreachableError       3  no server, or timed out: worth retrying
    ├── AuthenticationError    4  not authenticated
    ├── AuthorizationError     4  not authorised
    ├── NotFoundError          5
    ├── RefusedError           6  the data said no
    │   ├── DuplicateKeyError  6  which field, which value
    │   └── ValidationRefusedError 6  which field, which rule
    ├── DifferenceError        8  a check found a difference
    └── OutcomeUnknownError    9  a commit's answer was lost

Standard library only: everyone imports this module, `--help` too. It prints nothing and decides
nothing; `cli.py` turns an error into two lines and an exit code.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, ClassVar


class ExitCode(IntEnum):
    """What a process ends with. Scripts rely on these numbers."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    UNAUTHORIZED = 4
    NOT_FOUND = 5
    REFUSED = 6
    REJECTS = 7
    DIFFERENCE = 8
    OUTCOME_UNKNOWN = 9
    INTERRUPTED = 130
    TERMINATED = 143


class MotorctlError(Exception):
    """An operation failed: one sentence, the next step, and facts for machines.

    `message` is one clear line without a full stop; `hint` is what to do next; `details` are JSON
    values that `-o json` shows beside them (`collection`, `field`, `line`, ...).
    """

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED
    code: ClassVar[str] = "failed"

    def __init__(self, message: str, *, hint: str | None = None, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details


class UsageError(MotorctlError):
    exit_code = ExitCode.USAGE
    code = "usage"


class ConfigurationError(UsageError):
    code = "configuration"


class ManifestError(UsageError):
    """A schema file is wrong. `file`, `line`, `column` (both from 1) and `key` are details."""

    code = "manifest"


class UnreachableError(MotorctlError):
    exit_code = ExitCode.UNREACHABLE
    code = "unreachable"


class AuthenticationError(MotorctlError):
    exit_code = ExitCode.UNAUTHORIZED
    code = "not_authenticated"


class AuthorizationError(MotorctlError):
    exit_code = ExitCode.UNAUTHORIZED
    code = "not_authorized"


class NotFoundError(MotorctlError):
    exit_code = ExitCode.NOT_FOUND
    code = "not_found"


def no_collection(name: str, database: str) -> NotFoundError:
    """Return the error of a command for a collection that isn't there: the same words in each."""
    return NotFoundError(
        f"no collection {name!r} in the database {database!r}",
        hint="`motorctl indexes list` shows the collections",
        collection=name,
    )


class RefusedError(MotorctlError):
    """The data said no: not enough money or stock, a key used with other arguments."""

    exit_code = ExitCode.REFUSED
    code = "refused"


class DuplicateKeyError(RefusedError):
    code = "duplicate_key"


class ValidationRefusedError(RefusedError):
    code = "validation"


class DifferenceError(MotorctlError):
    exit_code = ExitCode.DIFFERENCE
    code = "difference"


class OutcomeUnknownError(MotorctlError):
    exit_code = ExitCode.OUTCOME_UNKNOWN
    code = "outcome_unknown"
