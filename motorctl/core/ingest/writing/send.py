"""Write commands made of ready BSON, and the server's answer for each document in them.

The one place that sends. It knows no modes and no files: positions and bytes go in, and what became of
each position comes out, whatever the server or the network does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument
from pymongo.errors import AutoReconnect, OperationFailure, ServerSelectionTimeoutError

from motorctl.core import refusals
from motorctl.core.driver import RETRYABLE_CODES
from motorctl.core.ingest.model import Failure
from motorctl.errors import MotorctlError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from motorctl.client import Collection
    from motorctl.core.driver import Attempt

__all__ = [
    "DUPLICATE_KEY",
    "NO_ANSWER",
    "VALIDATION",
    "Answer",
    "Documents",
    "Sender",
    "about_documents",
    "code_of",
    "failure",
    "sentence",
]

DUPLICATE_KEY = 11000
VALIDATION = 121
NO_ANSWER = "no answer from the server: it may be written or not"
# Overflow, InvalidBSON, BSONObjectTooLarge: one document that the server can't take apart costs the whole
# command.
_SPOILS_A_COMMAND = frozenset({15, 22, 10334})
# The server was interrupted, and nothing is wrong with the documents (mongodb/specifications,
# LockTimeout, MaxTimeMSExpired, ExceededTimeLimit, CursorKilled, ClientDisconnect, Interrupted: a command that
# ends so may have done some of its work.
INTERRUPTED = frozenset({24, 50, 262, 237, 279, 290, 11601})
_SHOWN = 200
# What a refusal quotes may be a date beyond Python's years, or half a character of a text that was cut.
_REPLY: CodecOptions[dict[str, Any]] = CodecOptions(
    tz_aware=True,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
    unicode_decode_error_handler="replace",
)
_FIELDS = {"insert": "documents", "update": "updates", "delete": "deletes"}

Command = Literal["insert", "update", "delete"]


class Documents(RawBSONDocument):
    """Many BSON documents, one after the other, which the driver sends as if they were one.

    PyMongo writes the items of an insert's `documents`, an update's `updates` and a delete's `deletes` one
    after the other into a message's document sequence (OP_MSG, kind 1), and the `raw` of a RawBSONDocument
    as it is, unread. So one item whose `raw` holds all of them makes the same message as a list of them,
    at a third of the time. Nothing else may be done with it: it can't be read as a document.
    """

    __slots__ = ("raw",)

    def __init__(self, raw: bytes) -> None:
        self.raw = raw  # type: ignore[misc]  # a property there, a place here

    def __repr__(self) -> str:
        return f"Documents({len(self.raw)} bytes)"


@dataclass(slots=True)
class Answer:
    """What became of the documents of some commands, by their positions.

    `errors` are the server's entries for those that it refused. `found` and `modified` count as the
    replies to an update or a delete do, `upserted` are the positions that it inserted. `again`: something
    was sent more than once, so the counts leave out what a lost answer stood for. With `error`, `unknown`
    may be written or not, and `unsent` are not.
    """

    errors: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    upserted: set[int] = field(default_factory=set)
    found: int = 0
    modified: int = 0
    again: bool = False
    unknown: list[int] = field(default_factory=list)
    unsent: list[int] = field(default_factory=list)
    error: Exception | None = None
    unconfirmed: Exception | None = None

    @property
    def failed(self) -> int:
        return len(self.errors) + len(self.unknown) + len(self.unsent)

    def fates(self) -> list[Failure]:
        """Give the failures of those that were refused, and of those that nobody knows of or were not sent."""
        failures = [failure(entry, position) for position, entry in self.errors.items()]
        if self.error is not None:
            code, unsent = code_of(self.error), f"not written: {sentence(self.error)}"
            failures += [Failure(position, "server", None, NO_ANSWER, code) for position in self.unknown]
            failures += [Failure(position, "server", None, unsent, code) for position in self.unsent]
        return failures


class Sender:
    """Sends commands to one collection.

    `attempt` awaits a sending, and may await it again where no answer came: what is sent must be such
    that this does no harm. The driver doesn't try again by itself here.
    """

    def __init__(
        self, collection: Collection, *, ordered: bool, attempt: Attempt, bypass_validation: bool
    ) -> None:
        self._database = collection.database
        self._name = collection.name
        self._ordered = ordered
        self._attempt = attempt
        concern = collection.write_concern.document
        self._options: dict[str, Any] = {"writeConcern": concern} if concern else {}
        self._bypass = {"bypassDocumentValidation": True} if bypass_validation else {}

    async def send(
        self,
        command: Command,
        positions: Sequence[int],
        build: Callable[[Sequence[int]], bytes],
        *,
        free: Callable[[], bool] | None = None,
    ) -> Answer:
        """Send the statement of each position; `build` makes the BSON of those of some positions in a row.

        Never raises for what the server or the network does. A document that spoils a whole command is
        found by halves. Where the order is kept, the server ends a command at its first refusal, and what
        comes after it is sent in pieces of about the length that went well before: one long rest after the
        other would cost the square of the batch. `free` is asked once then whether order has no bearing on
        the documents, so that the rest may go at once.
        """
        answer = Answer()
        ordered, piece = self._ordered, len(positions)
        ranges = [(0, len(positions))] if positions else []
        while ranges:
            begin, end = ranges.pop()
            if ordered and end - begin > piece:
                ranges.append((begin + piece, end))
                end = begin + piece
            part = positions[begin:end]
            try:
                reply = await self._once(command, build(part), answer, ordered=ordered)
            except Exception as error:  # noqa: BLE001 - the import ends with it, and with its books in order
                if not about_documents(error):
                    answer.error = error
                    (answer.unknown if _may_be_written(error, answer) else answer.unsent).extend(part)
                    for unsent in reversed(ranges):
                        answer.unsent.extend(positions[slice(*unsent)])
                    break
                if len(part) == 1:
                    answer.errors[part[0]] = {"code": code_of(error), "errmsg": sentence(error)}
                else:
                    middle = (begin + end) // 2
                    ranges += [(middle, end), (begin, middle)]
                continue
            refused = _read(reply, part, answer)
            if ordered and refused is not None:
                piece = 2 * (refused + 1)
                ordered, free = free is None or not free(), None
                if begin + refused + 1 < end:
                    ranges.append((begin + refused + 1, end))
            elif ordered:
                piece *= 4
            if not ordered and len(ranges) > 1:
                # What was cut for the order's sake goes as one again.
                ranges = [(min(start for start, _ in ranges), max(stop for _, stop in ranges))]
        return answer

    async def _once(
        self, command: Command, blob: bytes, answer: Answer, *, ordered: bool
    ) -> Mapping[str, Any]:
        """Send one command until it is answered, as often as the policy allows."""
        sent = 0
        options = self._options if command == "delete" else {**self._options, **self._bypass}

        async def send() -> Mapping[str, Any]:
            nonlocal sent
            sent += 1
            answer.again |= sent > 1
            reply: Mapping[str, Any] = await self._database.command(
                command,
                self._name,
                ordered=ordered,
                codec_options=_REPLY,
                **{_FIELDS[command]: [Documents(blob)]},
                **options,
            )
            _check_interrupted(reply)
            return reply

        return await self._attempt(send)  # type: ignore[no-any-return]  # what is attempted is given by who makes the writer


def failure(entry: Mapping[str, Any], position: int) -> Failure:
    """Turn an entry of a reply's `writeErrors` into the failure of the document at `position`."""
    code = entry.get("code")
    message = str(entry.get("errmsg", "refused"))
    if code == DUPLICATE_KEY:
        duplicate = refusals.duplicate(entry)
        return Failure(position, "duplicate", ",".join(duplicate.fields) or None, duplicate.sentence, code)
    if code == VALIDATION:
        broken = refusals.violations(entry)
        name = (broken[0].field if broken else "") or None
        return Failure(position, "validator", name, "; ".join(v.sentence for v in broken) or message, code)
    return Failure(position, "server", None, message, code)


def code_of(error: Exception) -> int | None:
    """Get the server's number for an error; None: the driver's own, or none was given."""
    return getattr(error, "code", None)


def sentence(error: Exception) -> str:
    """Give an error without the reply that the driver adds, and what repeats the document."""
    text = str(error).partition(", full error:")[0]
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def _read(reply: Mapping[str, Any], part: Sequence[int], answer: Answer) -> int | None:
    """Book a reply; return the place of the last refusal in the part."""
    refused = None
    for entry in reply.get("writeErrors", ()):
        refused = int(entry["index"])
        answer.errors[part[refused]] = entry
    answer.upserted.update(part[entry["index"]] for entry in reply.get("upserted", ()))
    answer.found += reply.get("n", 0)
    answer.modified += reply.get("nModified", 0)
    if problem := reply.get("writeConcernError"):
        answer.unconfirmed = MotorctlError(
            f"written, but the write concern was not met: {problem.get('errmsg', problem)}",
            hint="the documents are on the primary and may be lost if it fails now",
            code=problem.get("code"),
        )
    return refused


def _check_interrupted(reply: Mapping[str, Any]) -> None:
    """Raise for an answer that speaks of the server and not of documents: sending again may help."""
    for entry in (*reply.get("writeErrors", ()), reply.get("writeConcernError", {})):
        if entry.get("code") in RETRYABLE_CODES:
            raise OperationFailure(str(entry.get("errmsg", "interrupted")), entry["code"], dict(entry))


def about_documents(error: Exception) -> bool:
    """Whether it is a document that made the whole command fail, and not the connection or a right."""
    if isinstance(error, OperationFailure):
        return error.code in _SPOILS_A_COMMAND
    return isinstance(error, BSONError | OverflowError)


def _may_be_written(error: Exception, answer: Answer) -> bool:
    """Whether a sending that ended so may have reached the server, or one before it."""
    if answer.again:
        return True
    if isinstance(error, ServerSelectionTimeoutError):
        return False
    return isinstance(error, AutoReconnect) or code_of(error) in RETRYABLE_CODES | INTERRUPTED
