"""The key of a row that names none: batch, place and content, `payroll-2026-11/17/5f0c9d3b1e7a`.

An interface: the keys stand in ledgers, and the same row of the same batch has the same one in every version.
The place keeps two equal rows apart; the content tells a file that was changed between two runs. Pure.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING

from motorctl.core.transfers.request import checked_key
from motorctl.errors import UsageError

if TYPE_CHECKING:
    from decimal import Decimal

DIGITS = 12
"""Hexadecimal digits of the content that a key keeps: place and batch stand beside them, so 48 bits are many."""
LONGEST_NAME = 200
"""Bytes: a key has at most 255, and place and content stand behind the name."""

# Also with what a reversal's key has behind it.
_MADE = re.compile(rf"([^/]+/[1-9][0-9]*/)[0-9a-f]{{{DIGITS}}}(?![^/])")


def made(batch: str, number: int, content: str) -> str:
    """Return the key of a row: the batch's name, the row's number from 1, what `content` or `unread` gives."""
    return f"{batch}/{number}/{content}"


def place(key: str) -> str | None:
    """Return what the keys of all rows that could stand at a made key's place begin with; None for another key."""
    match = _MADE.match(key)
    return None if match is None else match[1]


def content(source: str, target: str, amount: Decimal, note: str | None) -> str:
    """Return 12 hexadecimal digits for what a row says, however its file spells it.

    SHA-256 of the JSON array [from, to, amount, note] in UTF-8, without blanks: the amount a string without
    zeros that say nothing (12.50 is "12.5"), a row without a note with null.
    """
    plain = f"{amount:f}"
    if "." in plain:
        plain = plain.rstrip("0").rstrip(".")
    said = json.dumps([source, target, plain, note], ensure_ascii=False, separators=(",", ":"))
    return unread(said.encode(errors="surrogatepass"))


def unread(text: bytes) -> str:
    """Return 12 hexadecimal digits for the text of a row that can't be read."""
    return hashlib.sha256(text).hexdigest()[:DIGITS]


def check_name(batch: str) -> str:
    """Return the name of a batch. Raises UsageError (2) for one that can't begin a key."""
    # A server looks for what begins with a text in the index, but not where the text holds a |.
    unfit = next((character for character in "/|" if character in batch), None)
    if unfit or len(batch.encode(errors="replace")) > LONGEST_NAME:
        problem = f"holds a {unfit}" if unfit else f"is longer than {LONGEST_NAME} bytes"
        raise UsageError(
            f"the batch's name {batch[:40]!r} {problem}", hint="--batch payroll-2026-11, for example"
        )
    return checked_key(batch)
