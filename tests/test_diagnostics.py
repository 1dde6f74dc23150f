"""What is said on stderr: in text and in JSON, with no secret in it, and questions only to people."""

from __future__ import annotations

import io
import json
import re
import time
from typing import TYPE_CHECKING, Any

import pytest
from conftest import until
from hypothesis import given
from hypothesis import strategies as st

from motorctl.diagnostics import Diagnostics
from motorctl.errors import MotorctlError, NotFoundError, UsageError
from motorctl.progress import DRAWN_AFTER

if TYPE_CHECKING:
    from conftest import Runner

SECRET = 's3"cr\\et'
URI = f"mongodb://ada:{SECRET}@db.example.com/shop"
CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """Each line of a JSON log."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def talk(voice: Diagnostics, text: str) -> None:
    """Say a text in every way there is."""
    voice.note(text, detail=text)
    voice.info(text, nested={"list": [text], "error": ValueError(text)})
    voice.warning(text)
    voice.slow("find", text, 12.34)
    voice.error(MotorctlError(text, hint=text, place=text, deep=[{"a": text}]))
    voice.error(MotorctlError(text, hint=text, place=text), as_json=True)
    voice.traceback(ValueError(text))
    with voice.progress(text) as progress:
        progress.update(done=1, text=text)


def test_text_has_labels() -> None:
    stream = io.StringIO()
    voice = Diagnostics(stream, verbose=True)
    voice.note("looked around")
    voice.info("12 documents")
    voice.warning("careful")
    voice.slow("find", "shop.orders", 123.45)
    voice.error(NotFoundError("no such student", hint="`motorctl students list` shows them"))
    assert stream.getvalue().splitlines() == [
        "note: looked around",
        "12 documents",
        "warning: careful",
        "slow: find shop.orders took 123 ms",
        "error: no such student",
        "hint: `motorctl students list` shows them",
    ]


def test_notes_need_verbose_and_quiet_leaves_warnings() -> None:
    stream = io.StringIO()
    voice = Diagnostics(stream, quiet=True)
    voice.note("n")
    voice.info("i")
    voice.warning("w")
    assert stream.getvalue() == "warning: w\n"


def test_json_lines_have_time_and_level() -> None:
    stream = io.StringIO()
    voice = Diagnostics(stream, as_json=True, verbose=True)
    voice.info("12 documents", count=12)
    voice.slow("find", "shop.orders", 123.45)
    voice.error(NotFoundError("no such student", hint="look", id="x"))
    info, slow, error = lines(stream)
    assert all(
        re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]{8}\.\d{3}Z", line.pop("time")) for line in (info, slow, error)
    )
    assert info == {"level": "info", "message": "12 documents", "count": 12}
    assert slow == {
        "level": "slow",
        "message": "find shop.orders took 123 ms",
        "command": "find",
        "namespace": "shop.orders",
        "ms": 123.5,
    }
    assert error == {
        "level": "error",
        "error": {"code": "not_found", "exit": 5, "message": "no such student", "hint": "look", "id": "x"},
    }


def test_an_error_for_machines_is_one_line_without_a_stamp() -> None:
    stream = io.StringIO()
    Diagnostics(stream).error(UsageError("wrong", exit="not this one"), as_json=True)
    assert stream.getvalue() == '{"error": {"code": "usage", "exit": 2, "message": "wrong"}}\n'


def test_every_line_of_a_json_log_is_json() -> None:
    stream = io.StringIO()
    talk(Diagnostics(stream, as_json=True, verbose=True), "two\nlines")
    assert len(lines(stream)) == 7
    assert "ValueError" in lines(stream)[-1]["traceback"]


def test_colours_only_where_they_are_seen() -> None:
    for stream, color, colored in (
        (Terminal(), None, True),
        (Terminal(), False, False),
        (io.StringIO(), None, False),
        (io.StringIO(), True, True),
    ):
        Diagnostics(stream, color=color).warning("careful")
        assert stream.getvalue() == ("\x1b[33mwarning:\x1b[0m careful\n" if colored else "warning: careful\n")


def test_a_dumb_terminal_gets_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    stream = Terminal()
    Diagnostics(stream).warning("careful")
    assert stream.getvalue() == "warning: careful\n"


# Secrets and hostile text


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("text", [URI, f"the server refused {SECRET}", f"{SECRET!r}", f"at {URI}: {SECRET}"])
def test_no_secret_reaches_stderr(as_json: bool, terminal: bool, text: str) -> None:
    from motorctl.redaction import secrets_in

    stream = Terminal() if terminal else io.StringIO()
    talk(Diagnostics(stream, as_json=as_json, verbose=True, secrets=lambda: secrets_in(URI)), text)
    shown = stream.getvalue()
    assert "***" in shown
    for form in ('s3"cr', "cr\\et", 's3\\"cr', "cr\\\\et"):
        assert form not in shown


@given(st.text())
def test_hostile_text_is_shown_not_obeyed(text: str) -> None:
    for as_json in (False, True):
        stream = io.StringIO()
        voice = Diagnostics(stream, as_json=as_json, verbose=True)
        talk(voice, text)
        assert not CONTROLS.search(stream.getvalue())
        if as_json:
            assert len(lines(stream)) == 7


def test_hostile_text_in_a_question_and_a_bar() -> None:
    stream = Terminal()
    voice = Diagnostics(stream, answers=Terminal("n\n"), color=False)
    voice.confirm("Drop \x1b[2Jit?")
    with voice.progress("\x1b[2J[red]title[/red]", total=2) as bar:
        bar.update(done=1, text="\x1b[2J[red]text[/red]")
        until(lambda: "[red]text" in stream.getvalue(), "the bar is drawn")
    shown = stream.getvalue()
    assert "\x1b[2J" not in shown
    assert r"Drop \x1b[2Jit? [y/N] " in shown


# Questions


@pytest.mark.parametrize(
    ("answer", "agreed"), [("y\n", True), ("YES\n", True), ("n\n", False), ("\n", False), ("", False)]
)
def test_a_person_is_asked(answer: str, agreed: bool) -> None:
    stream = Terminal()
    assert Diagnostics(stream, answers=Terminal(answer)).confirm("Drop it?") is agreed
    assert stream.getvalue() == "Drop it? [y/N] "


def test_yes_answers_without_a_question() -> None:
    stream = io.StringIO()
    assert Diagnostics(stream, yes=True).confirm("Drop it?") is True
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("stream", "answers"),
    [
        (io.StringIO(), io.StringIO("y\n")),
        (Terminal(), io.StringIO("y\n")),
        (io.StringIO(), Terminal("y\n")),
        (Terminal(), None),
    ],
)
def test_nobody_can_be_asked(stream: io.StringIO, answers: io.StringIO | None) -> None:
    with pytest.raises(UsageError, match=r"^Drop it\? Nobody can be asked here$") as caught:
        Diagnostics(stream, answers=answers).confirm("Drop it?")
    assert caught.value.hint == "add --yes (-y) if you are sure; --dry-run shows what it would do"


def test_a_command_that_destroys_asks(cli: Runner, sync_db: Any) -> None:
    """On a terminal, a no keeps the data; a pipe is exit 2; --yes does it."""
    delete = ("students", "delete", "--filter", "{}")
    sync_db.students.insert_one({"name": "Ada", "email": "ada@example.com", "course": "maths", "gpa": 4.0})
    piped = cli(*delete, stdin="y\n")
    assert piped.code == 2
    assert "hint: add --yes (-y) " in piped.stderr
    asked = cli(*delete, stdin="n\n", tty=True)
    assert "[y/N]" in asked.stderr
    assert sync_db.students.count_documents({}) == 1
    assert cli(*delete, stdin="y\n", tty=True).code == 0
    assert sync_db.students.count_documents({}) == 0
    sync_db.students.insert_one({"name": "Ada", "email": "ada@example.com", "course": "maths", "gpa": 4.0})
    assert cli(*delete, "--yes").code == 0
    assert sync_db.students.count_documents({}) == 0


# Progress


def test_progress_is_silent_in_a_pipe() -> None:
    stream = io.StringIO()
    with Diagnostics(stream, verbose=True).progress("Importing", total=10) as progress:
        progress.advance(5)
        progress.update(done=10, text="done")
    assert stream.getvalue() == ""


@pytest.mark.parametrize(("verbose", "said"), [(True, "note: Importing: 50% orders.csv\n"), (False, "")])
def test_progress_in_a_pipe_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, verbose: bool, said: str
) -> None:
    monkeypatch.setattr("motorctl.progress.QUIET_INTERVAL", 0.0)
    stream = io.StringIO()
    with Diagnostics(stream, verbose=verbose).progress("Importing", total=10) as progress:
        progress.update(done=5, text="orders.csv")
    assert stream.getvalue() == said


def test_progress_without_a_total_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("motorctl.progress.QUIET_INTERVAL", 0.0)
    stream = io.StringIO()
    with Diagnostics(stream, verbose=True).progress("Exporting", unit="documents") as progress:
        progress.advance(7)
    assert stream.getvalue() == "note: Exporting: 7 documents\n"


@pytest.mark.parametrize(("total", "unit"), [(10.0, ""), (None, ""), (2048.0, "bytes")])
def test_progress_is_drawn_on_a_terminal_and_goes_away(total: float | None, unit: str) -> None:
    stream = Terminal()
    with Diagnostics(stream, color=False).progress("Importing", total=total, unit=unit) as progress:
        progress.advance(1)
        progress.update(text="orders.csv")
        until(lambda: "orders.csv" in stream.getvalue(), "the bar is drawn")
    shown = stream.getvalue()
    assert "Importing" in shown
    assert shown.endswith("\x1b[2K")  # the line is erased: what stays on the screen is the result
    assert "\x1b[?25h" in shown  # and the cursor is back


def test_what_is_over_at_once_draws_no_progress() -> None:
    stream = Terminal()
    voice = Diagnostics(stream, color=False)
    with voice.progress("Looking") as progress:
        progress.update(text="orders")
        voice.warning("seen")
    time.sleep(DRAWN_AFTER + 0.1)
    assert stream.getvalue() == "warning: seen\n"


@pytest.mark.parametrize(("quiet", "as_json"), [(True, False), (False, True)])
def test_progress_is_not_drawn_where_it_disturbs(quiet: bool, as_json: bool) -> None:
    stream = Terminal()
    with Diagnostics(stream, quiet=quiet, as_json=as_json).progress("Importing", total=2) as progress:
        progress.advance(1)
    assert stream.getvalue() == ""


# A stderr that fails


class Broken(io.StringIO):
    def write(self, _text: str, /) -> int:
        raise OSError(28, "No space left on device")


def test_a_stderr_that_fails_changes_nothing() -> None:
    talk(Diagnostics(Broken(), verbose=True), "text")


def test_a_log_in_json_through_the_program(cli: Runner) -> None:
    result = cli(
        "students", "get", "64b7f0c2a1b2c3d4e5f60718", "--log-format", "json", "-v", "--slow-ms", "0"
    )
    assert result.code == 5
    found = [json.loads(line) for line in result.stderr.splitlines()]
    assert {line["level"] for line in found} >= {"slow", "error"}
    assert found[-1]["error"]["exit"] == 5
