"""What a transfer is asked to be, before any server is: its key, its accounts, its amount, its note.

The rules that a typed text has to keep; whether money may move, `plan` decides.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bson import ObjectId

from motorctl.core.transfers.ledger import REVERSAL
from motorctl.errors import UsageError

if TYPE_CHECKING:
    from decimal import Decimal

LONGEST_KEY = 255
"""Bytes of a key, in UTF-8."""
LONGEST_NOTE = 1000
"""Characters of a note: it is read in lists and statements."""


@dataclass(frozen=True)
class Request:
    """Move `amount` from the account `source` to `target`, once under this `key`."""

    key: str
    source: Any
    """An account's id as it is typed: a text, or what that is the text of (see `ledger.candidates`)."""
    target: Any
    amount: Decimal
    note: str | None = None
    reverses: str | None = None
    """The key of the transfer that this one takes back."""
    fresh: bool = field(default=False, compare=False)
    """Whether `key` was made for this request just now, so that no record can have it."""


def new_key() -> str:
    """Return a key that nobody else makes: the digits of an ObjectId."""
    return str(ObjectId())


def checked_key(key: str) -> str:
    """Return a key as it was given. Raises UsageError (2) for one that couldn't be typed again safely."""
    problem = None
    if not key:
        problem = "is empty"
    elif not key.isprintable() or key != key.strip():
        problem = "has blanks around it, or characters that can't be seen"
    elif len(key.encode()) > LONGEST_KEY:
        problem = f"is longer than {LONGEST_KEY} bytes"
    elif key.startswith("-"):
        problem = "begins with -, as an option does"
    elif key.endswith(REVERSAL):
        problem = f"ends in {REVERSAL}, as the keys that `transfer reverse` makes"
    if problem:
        raise UsageError(
            f"the key {key[:60]!r} {problem}", hint="a key names one payment: rent-2026-11, invoice/1017"
        )
    return key


def known_key(key: str) -> str:
    """Return a key that is looked up: whatever another program made, but a text. Raises UsageError (2)."""
    if not key:
        raise UsageError("the key is empty")
    if _broken(key):
        raise UsageError("the key is not UTF-8")
    return key


def checked_note(note: str | None) -> str | None:
    """Return a note; an empty one is none. Raises UsageError (2)."""
    if note and len(note) > LONGEST_NOTE:
        raise UsageError(f"a note has at most {LONGEST_NOTE} characters, and this one {len(note)}")
    if note and _broken(note):
        raise UsageError("the note is not UTF-8")
    return note or None


def checked_accounts(source: str, target: str) -> None:
    """Check what can be without a server. Raises UsageError (2): an id is empty, or both are the same."""
    if not source or not target:
        raise UsageError("an account's id is empty")
    if _broken(source) or _broken(target):
        raise UsageError("an account's id is not UTF-8")
    if source == target or (ObjectId.is_valid(source) and source.lower() == target.lower()):
        raise UsageError(f"a transfer needs two accounts, and both are {source}", account=source)


def _broken(text: str) -> bool:
    """Tell whether a text has bytes that were no UTF-8: Python keeps each as a surrogate."""
    return any("\ud800" <= character <= "\udfff" for character in text)
