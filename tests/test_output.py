"""What the five formats look like, byte for byte, and that no text from a database drives a terminal.

The expected outputs are the files in `tests/golden/`. After a change that is meant, write them anew with
`MOTORCTL_REWRITE_GOLDEN=1 pytest tests/test_output.py --no-cov`, and read the difference. In the one file
with colours the escape character is written as `␛`.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import re
import subprocess
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from bson import Binary, Int64, ObjectId, json_util
from bson.decimal128 import Decimal128
from conftest import command
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from motorctl import output
from motorctl.global_options import FORMATS
from motorctl.output import Column, Output, OutputError
from motorctl.tables import fitted, folded
from motorctl.text import printable, printable_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from conftest import Runner

GOLDEN = Path(__file__).parent / "golden"
REWRITE = bool(os.environ.get("MOTORCTL_REWRITE_GOLDEN"))

COLUMNS = [
    Column("id"),
    Column("name", "Name"),
    Column("count", "Count", right=True),
    Column("gpa", "GPA", right=True),
    Column("balance", "Balance", right=True),
    Column("active", "Active"),
    Column("created_at", "Created"),
    Column("tags", "Tags"),
]
ROWS: list[dict[str, Any]] = [
    {
        "id": ObjectId("64b7f0c2a1b2c3d4e5f60718"),
        "name": "Ada Lovelace",
        "count": 1,
        "gpa": 3.9,
        "balance": Decimal("1234567.80"),
        "active": True,
        "created_at": datetime(2025, 1, 31, 12, 0, tzinfo=UTC),
        "tags": ["maths", {"since": datetime(1833, 6, 5, tzinfo=UTC), "fee": Decimal128("0.10")}],
    },
    {
        "id": ObjectId("64b7f0c2a1b2c3d4e5f60719"),
        "name": "山田 太郎 👩‍🔬 and a name that is far too long for any one column of a table",
        "count": 1_000_000,
        "gpa": None,
        "balance": Decimal128("-0.05"),
        "active": False,
        "created_at": datetime(2025, 1, 31, 12, 0, 0, 250_000, tzinfo=UTC),
        "tags": [],
    },
    {
        "id": "plain, text",
        "name": 'a "quoted" | piped [red]name[/red]',
        "count": Int64(2**53 + 1),
        "gpa": 4.0,
        "more": "no column",
    },
]
DOCUMENT: dict[str, Any] = {
    "id": ObjectId("64b7f0c2a1b2c3d4e5f60718"),
    "ok": True,
    "latency_ms": {"min": 0.25, "median": 0.5, "max": 12.0},
    "total": Decimal128("1999.90"),
    "at": datetime(2025, 1, 31, 12, 0, tzinfo=UTC),
    "note": None,
}
FREE: list[dict[str, Any]] = [
    {
        "_id": ObjectId("64b7f0c2a1b2c3d4e5f60718"),
        "n": 1,
        "long": Int64(1),
        "price": Decimal128("1.50"),
        "at": datetime(2025, 1, 31, 12, 0, tzinfo=UTC),
        "raw": Binary(b"\x00\xff"),
        "nan": float("nan"),
    }
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def rendered(
    data: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    format: str,
    columns: Sequence[Column] | None = None,
    *,
    tty: bool = False,
    color: bool | None = None,
    **options: Any,
) -> str:
    stream = Terminal() if tty else io.StringIO()
    Output(stream, format, color=color).emit(data, columns, **options)
    return stream.getvalue()


def streamed(
    rows: Sequence[Mapping[str, Any]], format: str, columns: Sequence[Column] | None, *, tty: bool = False
) -> str:
    async def source() -> AsyncIterator[Mapping[str, Any]]:
        for row in rows:
            yield row

    stream = Terminal() if tty else io.StringIO()
    count = asyncio.run(Output(stream, format, color=False).stream(source(), columns))
    assert count == len(rows)
    return stream.getvalue()


def check_golden(name: str, text: str) -> None:
    path = GOLDEN / name
    text = text.replace("\x1b", "␛")
    if REWRITE:
        path.write_text(text, encoding="utf-8", newline="\n")
    assert text == path.read_text(encoding="utf-8")


# Golden files


@pytest.mark.parametrize("width", [80, 200])
def test_a_table_on_a_terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    shown = rendered(ROWS, "table", COLUMNS, tty=True, color=False)
    check_golden(f"rows-terminal-{width}.txt", shown)
    assert "\x1b" not in shown


def test_a_table_in_colour_has_the_same_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    shown = rendered(ROWS, "table", COLUMNS, tty=True)
    check_golden("rows-terminal-200-colour.txt", shown)
    plain = [re.sub(r"\x1b\[[\d;]*m", "", line).rstrip() for line in shown.splitlines()]
    assert plain == rendered(ROWS, "table", COLUMNS, tty=True, color=False).splitlines()


@pytest.mark.parametrize("format", FORMATS)
def test_rows_in_a_pipe(format: str) -> None:
    check_golden(f"rows-pipe.{ENDINGS[format]}", rendered(ROWS, format, COLUMNS))


@pytest.mark.parametrize("format", FORMATS)
def test_a_document_in_a_pipe(format: str) -> None:
    check_golden(f"document-pipe.{ENDINGS[format]}", rendered(DOCUMENT, format))


def test_a_document_on_a_terminal() -> None:
    check_golden("document-terminal-80.txt", rendered(DOCUMENT, "table", tty=True, color=False))


@pytest.mark.parametrize("canonical", [False, True])
def test_free_documents_are_extended_json(canonical: bool) -> None:
    shown = rendered(FREE, "json", free=True, canonical=canonical)
    check_golden("free-canonical.json" if canonical else "free-relaxed.json", shown)
    assert json_util.loads(shown, json_options=json_util.JSONOptions(tz_aware=True))[0]["raw"] == b"\x00\xff"


ENDINGS = {"table": "txt", "json": "json", "ndjson": "ndjson", "csv": "csv", "markdown": "md"}


def test_styled_lines_are_plain_text_where_there_is_no_colour() -> None:
    lines = [("a head", "bold"), ("plain \x1b[31m text", ""), ("the worst", "bad")]

    def written(stream: io.StringIO, color: bool | None) -> str:
        Output(stream, "table", color=color).styled(lines)
        return stream.getvalue()

    assert written(io.StringIO(), None) == "a head\nplain \x1b[31m text\nthe worst\n"
    assert written(Terminal(), False) == "a head\nplain \\x1b[31m text\nthe worst\n"
    coloured = written(Terminal(), None)
    assert coloured == "\x1b[1ma head\x1b[0m\nplain \\x1b[31m text\n\x1b[33mthe worst\x1b[0m\n"


def test_no_golden_file_is_left_over() -> None:
    pipes = {f"{kind}-pipe.{ending}" for kind in ("rows", "document") for ending in ENDINGS.values()}
    others = {
        "rows-terminal-80.txt",
        "rows-terminal-200.txt",
        "rows-terminal-200-colour.txt",
        "document-terminal-80.txt",
    }
    assert {path.name for path in GOLDEN.iterdir()} == pipes | others | {
        "free-relaxed.json",
        "free-canonical.json",
        # tests/test_schema_markdown.py
        "schema-plan.md",
        # tests/test_looks.py
        *(f"looks-{width}.txt" for width in ("60", "80", "120", "200", "pipe")),
        # of tests/test_imports.py
        "imports.txt",
        # tests/test_error_texts.py
        "errors.txt",
    }


# What holds in every format


@pytest.mark.parametrize("tty", [False, True])
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("columns", [COLUMNS, None])
def test_streaming_writes_the_same(
    monkeypatch: pytest.MonkeyPatch, format: str, tty: bool, columns: list[Column] | None
) -> None:
    monkeypatch.setattr(output, "CHUNK", 2)
    for rows in ([], ROWS[:1], ROWS[:2], ROWS):
        assert streamed(rows, format, columns, tty=tty) == rendered(
            rows, format, columns, tty=tty, color=False
        )


@pytest.mark.parametrize(
    ("format", "tty", "shown"),
    [
        ("table", False, "a  B\n"),
        ("table", True, "(0 rows)\n"),
        ("json", False, "[]\n"),
        ("ndjson", False, ""),
        ("csv", False, "a,B\n"),
        ("markdown", False, "| a | B |\n|---|---:|\n"),
    ],
)
def test_no_rows(format: str, tty: bool, shown: str) -> None:
    columns = [Column("a"), Column("b", "B", right=True)]
    assert rendered([], format, columns, tty=tty, color=False) == shown


def test_a_count_stands_below_a_table_on_a_terminal() -> None:
    assert rendered([{"a": 1}], "table", tty=True, color=False).endswith("\n(1 row)\n")
    assert rendered([{"a": 1}] * 2, "table", tty=True, color=False).endswith("\n(2 rows)\n")


def test_json_holds_what_columns_leave_out() -> None:
    assert json.loads(rendered(ROWS, "json", COLUMNS))[2]["more"] == "no column"


def test_columns_are_found_in_all_rows() -> None:
    assert rendered([{"a": 1}, {"b": "x", "a": None}], "csv") == "a,b\n1,\n,x\n"


def test_a_pipe_cuts_nothing() -> None:
    long = "x" * 1000
    assert long in rendered([{"a": long}], "table")


@pytest.mark.parametrize("columns", [1, 4, 8, 30])
@pytest.mark.parametrize("value", [1234567890123, "山田太郎山田太郎", "a-long-word-of-27-characters"])
def test_a_narrow_terminal_cuts_nothing(monkeypatch: pytest.MonkeyPatch, columns: int, value: Any) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    row = {f"c{i}": value for i in range(columns)}
    shown = rendered([row], "table", tty=True, color=False)
    found = "".join(shown.removesuffix("(1 row)\n").split())
    expected = "".join([*row, "─" * 40, *([str(value)] * columns)])
    assert sorted(found.replace("─", "")) == sorted(expected.replace("─", ""))
    assert max(map(cell_len, shown.splitlines())) <= 40


def test_values_as_json_has_them() -> None:
    row = {
        "date": date(2025, 1, 31),
        "naive": datetime(2025, 1, 31),  # noqa: DTZ001 - as a driver without tz_aware gives it
        "big": Decimal("1E+3"),
        "infinite": Decimal128("Infinity"),
        "bytes": b"\x00\xff",
        "other": ObjectId("64b7f0c2a1b2c3d4e5f60718"),
    }
    assert json.loads(rendered(row, "json")) == {
        "date": "2025-01-31",
        "naive": "2025-01-31T00:00:00Z",
        "big": "1000",
        "infinite": "Infinity",
        "bytes": "00ff",
        "other": "64b7f0c2a1b2c3d4e5f60718",
    }


def test_money_has_the_same_digits_in_each_format() -> None:
    row = [{"total": Decimal128("1999.90")}]
    assert all("1999.90" in rendered(row, name) for name in FORMATS)


# Bars

BARS = [Column("period"), Column("revenue", right=True), Column("chart", bar_of="revenue")]


def earned(*amounts: Any) -> list[dict[str, Any]]:
    return [{"period": f"2026-{i:02d}", "revenue": amount} for i, amount in enumerate(amounts, 1)]


def bars_of(shown: str) -> list[str]:
    start = shown.splitlines()[0].index("chart")
    lines = [line for line in shown.splitlines()[1:] if line.startswith("2026")]
    return [line[start:] for line in lines]


def test_bars_in_a_pipe_are_24_cells_to_an_eighth_of_one() -> None:
    amounts = [Decimal("96.00"), 48, 1.0, Decimal("0.01"), 0, None, Decimal("NaN"), "x"]
    assert bars_of(rendered(earned(*amounts), "table", BARS)) == [
        "█" * 24,
        "█" * 12,
        "▎",
        "▏",
        "",
        "",
        "",
        "",
    ]


def test_bars_below_zero_grow_to_the_left_of_an_axis() -> None:
    shown = bars_of(rendered(earned(Decimal(15), Decimal(-5), Decimal(0), Decimal("-0.01")), "table", BARS))
    assert shown == [" " * 6 + "│" + "█" * 17, "▐█████│", " " * 6 + "│", "     ▐│"]


def test_bars_that_are_all_below_zero() -> None:
    assert bars_of(rendered(earned(-4, -1), "table", BARS)) == ["█" * 23 + "│", " " * 17 + "██████│"]


def test_bars_in_markdown_have_their_sign_and_no_blanks() -> None:
    lines = rendered(earned(23, -23, 0), "markdown", BARS).splitlines()[2:]
    assert [line.split("|")[3] for line in lines] == [f" {'█' * 23} ", f" −{'█' * 23} ", "  "]


@pytest.mark.parametrize("format", ["csv", "json", "ndjson"])
def test_bars_are_not_in_what_machines_read(format: str) -> None:
    shown = rendered(earned(1, 2), format, BARS)
    assert shown == rendered(earned(1, 2), format, BARS[:2])
    assert "chart" not in shown


@pytest.mark.parametrize(("width", "longest"), [(200, 40), (80, 40), (50, 32), (36, 18), (26, 8)])
def test_bars_have_the_width_that_is_left(monkeypatch: pytest.MonkeyPatch, width: int, longest: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    shown = rendered(earned(Decimal("1000.00"), 500), "table", BARS, tty=True, color=False)
    assert shown.count("█") == longest + longest // 2
    assert max(map(cell_len, shown.splitlines())) <= width


def test_bars_beside_long_names_fit_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    rows = [{"id": "64b7f0c2a1b2c3d4e5f60718", "name": "Grace Brewster Murray Hopper " * 2, "total": 10}]
    columns = [Column("id"), Column("name"), Column("total", right=True), Column("chart", bar_of="total")]
    shown = rendered(rows, "table", columns, tty=True, color=False)
    assert max(map(cell_len, shown.splitlines())) <= 80
    assert "█" * 8 in shown


def test_bars_have_one_scale_however_many_pieces_a_table_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "CHUNK", 2)
    for tty in (False, True):
        shown = rendered(earned(1, 1, 1, 4), "table", BARS, tty=tty, color=False)
        lengths = [line.count("█") for line in shown.splitlines() if "█" in line]
        assert [4 * length for length in lengths[:3]] == [lengths[3]] * 3


def test_bars_of_different_currencies_have_scales_of_their_own() -> None:
    rows = [
        {"period": "2026-01", "revenue": 10, "currency": "EUR"},
        {"period": "2026-01", "revenue": 9000, "currency": "JPY"},
    ]
    column = Column("chart", bar_of="revenue", bar_by="currency")
    assert bars_of(rendered(rows, "table", [*BARS[:2], column])) == ["█" * 24] * 2


@pytest.mark.parametrize(("rest", "bar"), [(5, "█" * 12), (11, "")])
def test_the_row_of_all_others_sets_no_scale(rest: int, bar: str) -> None:
    rows = [{"period": "2026", "revenue": 10, "n": 1}, {"period": "2026 others", "revenue": rest, "n": 7}]
    column = Column("chart", bar_of="revenue", bar_rest="n")
    assert bars_of(rendered(rows, "table", [*BARS[:2], column])) == ["█" * 24, bar]


@given(st.lists(st.decimals() | st.integers() | st.floats() | st.none(), max_size=6))
def test_bars_of_any_numbers_fit(amounts: list[Any]) -> None:
    for bar in bars_of(rendered(earned(*amounts), "table", BARS) if amounts else "chart"):
        assert len(bar) <= 24
        assert set(bar) <= set(" │▐█▏▎▍▌▋▊▉")


# Hostile text

HOSTILE = [
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x9b31mC1",
    "over\rwritten",
    "two\nlines\tand a tab",
    "[red]markup[/red] [link=http://evil]x[/link]",
    "user\u202egnp.exe",
    "\u2066isolated\u2069 \u200bzero\ufeff",
    "bell\x07 back\x08space del\x7f nul\x00",
    "line\u2028separator next\x85line",
    "<script>alert(1)</script> | `code` \\",
    '"quoted", comma',
]
CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.mark.parametrize("tty", [False, True])
@pytest.mark.parametrize("format", [f for f in FORMATS if f != "csv"])
@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_shown_not_obeyed(format: str, text: str, tty: bool) -> None:
    """As a value, nested, and as the name of a field; as a document and in rows."""
    row = {"a": text, "b": {"c": [text]}, text: 1}
    for data in (row, [row]):
        shown = rendered(data, format, tty=tty, color=False)
        assert not CONTROLS.search(shown)
        if format in ("json", "ndjson"):
            assert json.loads(shown) in (row, [row])


def test_markup_stays_text_in_a_table() -> None:
    for tty in (False, True):
        assert "[red]markup[/red]" in rendered([{"a": "[red]markup[/red]"}], "table", tty=tty, color=False)


def test_markdown_cells_are_no_markup() -> None:
    assert (
        rendered([{"a": "<b>x</b>|y\\\nz"}], "markdown") == "| a |\n|---|\n| &lt;b>x&lt;/b>\\|y\\\\\\\\nz |\n"
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_in_csv(text: str) -> None:
    """A pipe gets the value as it is, quoted so that it is read back; a terminal gets nothing to obey."""
    row = {"a": text, text: "x"}
    piped = rendered([row], "csv")
    assert list(csv.reader(io.StringIO(piped, newline=""))) == [["a", text], [text, "x"]]
    assert not CONTROLS.search(rendered([row], "csv", tty=True))


@given(
    st.lists(
        st.dictionaries(ANY_TEXT, ANY_TEXT | st.integers(-(2**63), 2**63 - 1) | st.none(), min_size=1),
        max_size=4,
    )
)
def test_json_means_the_same_and_controls_nothing(rows: list[dict[str, Any]]) -> None:
    for free in (False, True):
        text = rendered(rows, "json", free=free)
        lines = rendered(rows, "ndjson", free=free)
        assert not CONTROLS.search(text + lines)
        if not any(key.startswith("$") for row in rows for key in row):
            assert json.loads(text) == [json.loads(line) for line in lines.splitlines()] == rows


@given(st.lists(st.tuples(ANY_TEXT, ANY_TEXT), max_size=4))
def test_csv_is_read_back(cells: list[tuple[str, str]]) -> None:
    text = rendered([{"a": a, "b": b} for a, b in cells], "csv", [Column("a"), Column("b")])
    assert list(csv.reader(io.StringIO(text, newline="")))[1:] == [list(pair) for pair in cells]


@given(st.text())
def test_printable_text_holds_no_control_character(text: str) -> None:
    assert not CONTROLS.search(printable(text))
    assert "\n" not in printable(text)
    assert printable(text, lines=True).count("\n") == text.count("\n")
    assert printable(printable(text)) == printable(text)


@given(ANY_TEXT)
def test_printable_json_is_the_same_json(text: str) -> None:
    shown = printable_json(json.dumps(text, ensure_ascii=False))
    assert json.loads(shown) == text
    assert not CONTROLS.search(shown)


def test_what_people_write_with_stays() -> None:
    text = "Übergrößenträger 山田 👩‍🔬 نمی‌خواهم हिन्दी"
    assert printable(text) == printable_json(text) == text


def test_a_text_result_drives_no_terminal() -> None:
    stream = Terminal()
    Output(stream, "table").text("a: \x1b[31m\nb: 1")
    assert stream.getvalue() == "a: \\x1b[31m\nb: 1\n"
    pipe = io.StringIO()
    Output(pipe, "table").text("a: \x1b[31m")
    assert pipe.getvalue() == "a: \x1b[31m\n"


# Streams that fail


class Full(io.StringIO):
    def write(self, _text: str, /) -> int:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("format", FORMATS)
def test_a_full_disk_is_said(format: str) -> None:
    with pytest.raises(OutputError, match=r"^cannot write the results: No space left on device$"):
        Output(Full(), format).emit(ROWS, COLUMNS)


@pytest.mark.parametrize(
    "arguments",
    [["config", "show"], ["config", "show", "-o", "json"], ["--help"], ["--version"], ["completion", "bash"]],
)
def test_a_full_device_is_exit_1_and_a_sentence(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command(*arguments), stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    message = "cannot write the results: No space left on device"
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_closed_stdout_is_exit_1() -> None:
    done = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *command("config", "show")],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (
        1,
        "error: cannot write the results: standard output is closed\n",
    )


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_closed_pipe_ends_quietly(unbuffered: str) -> None:
    """Whether the pipe is found closed while the command writes, or at the last flush."""
    done = subprocess.run(
        ["bash", "-c", 'set -o pipefail; "$@" | true', "bash", *command("config", "show")],
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


# Through the whole program


def test_colour_follows_the_terminal_the_flag_and_no_color(cli: Runner) -> None:
    show = ("config", "path", "--config", "/dev/null")
    assert "\x1b" not in cli("config", "show", tty=True, env={"NO_COLOR": "1"}).stdout
    assert "\x1b" not in cli("config", "show", "--no-color", tty=True).stdout
    assert "\x1b" not in cli("config", "show", tty=True, env={"TERM": "dumb"}).stdout
    assert "\x1b" in cli("config", "show", tty=True).stdout
    assert "\x1b" in cli("config", "show", "--color", tty=True, env={"NO_COLOR": "1"}).stdout
    assert "\x1b" not in cli(*show).stdout


@pytest.mark.parametrize(
    ("width", "widths"),
    [
        (80, [16, 10, 17]),  # as wide as they are
        (47, [16, 10, 17]),
        (46, [16, 10, 16]),  # the e-mail is folded, after its `@`
        (42, [16, 10, 12]),
        (41, [13, 10, 14]),  # the id too
        (35, None),  # a number never
    ],
)
def test_ids_and_numbers_stay_on_one_line_as_long_as_there_is_room(
    width: int, widths: list[int] | None
) -> None:
    columns = [Column("id"), Column("total", right=True), Column("email")]
    cells = [["64b7f0c2a1b2c3d4", "1234567.80", "grace@example.com"]]

    layout = fitted(columns, cells, [False] * 3, width)

    assert (layout and list(layout.widths)) == widths


def test_columns_of_documents_are_whole_or_a_record_below_each_other() -> None:
    columns = [Column("id"), Column("email")]
    cells = [["64b7f0c2a1b2c3d4", "grace@example.com"]]

    assert fitted(columns, cells, [False] * 2, 35, found=True) is not None
    assert fitted(columns, cells, [False] * 2, 34, found=True) is None
    assert fitted(columns, cells, [False] * 2, 34) is not None


def test_what_can_be_spared_goes_before_anything_is_folded() -> None:
    columns = [Column("id"), Column("note", spare=1), Column("at", spare=2), Column("email")]
    cells = [["64b7f0c2a1b2c3d4", "a-note", "2026-01-31T12:00Z", "grace@example.com"]]
    dated = [False, False, True, False]

    for width, shown, without in (
        (62, (0, 1, 2, 3), ()),
        (61, (0, 1, 3), ("at",)),
        (43, (0, 1, 3), ("at",)),
        (42, (0, 3), ("note", "at")),
    ):
        layout = fitted(columns, cells, dated, width)
        assert layout is not None
        assert (layout.shown, layout.without) == (shown, without)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("two words", ["two words"]),
        ("some more words", ["some more", "words"]),
        ("grace@example.com", ["grace@", "example.com"]),
        ("from_1_created_at_-1", ["from_1_", "created_at_", "-1"]),
        ("partialFilterExpression", ["partial", "Filter", "Expression"]),
        ("x" * 25, ["x" * 12, "x" * 12, "x"]),
        ("山田太郎山田太郎", ["山田太郎山田", "太郎"]),
        ("a  b", ["a  b"]),
        ("", [""]),
    ],
)
def test_long_text_is_folded_where_a_reader_would(text: str, lines: list[str]) -> None:
    assert folded(text, 12) == lines


# Rich before 14.3.3 never came to the end of one that begins with a joiner.
@example("\u200d\ufe0f\u200da", 2)
@given(ANY_TEXT, st.integers(2, 30))
def test_folding_loses_nothing_but_blanks(text: str, width: int) -> None:
    shown = printable(text)
    lines = folded(shown, width)
    assert all(cell_len(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(shown.split())


def test_the_points_of_decimals_are_below_each_other() -> None:
    values = (Decimal("1.5"), Decimal(1000000), Decimal128("-0.125"), None)
    rows: list[dict[str, Any]] = [{"n": value} for value in values]
    lines = rendered(rows, "table").splitlines()
    assert lines == ["          n", "      1.5", "1000000", "     -0.125", ""]
    shown = rendered(rows, "table", tty=True, color=False).splitlines()
    assert shown == [lines[0], "─" * 11, *lines[1:], "(4 rows)"]


def test_a_long_number_in_a_later_piece_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "CHUNK", 2)
    rows = [{"n": 1}, {"n": 2}, {"n": 3}, {"n": 1234567}]
    assert "1234567" in rendered(rows, "table", tty=True, color=False)
    piped = rendered(rows, "table", tty=True, color=False).splitlines()
    assert [line.strip() for line in piped if not line.startswith("─")] == [
        "n", "1", "2", "n", "3", "1234567", "(4 rows)",
    ]  # fmt: skip


def test_a_long_table_has_one_heading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "CHUNK", 2)
    shown = rendered([{"a": "x", "n": i} for i in range(6)], "table", tty=True, color=False)
    assert shown.count("─\n") == 1
    assert shown.endswith("(6 rows)\n")


def test_one_very_long_value_of_a_list_ends_in_an_ellipsis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    rows = [{"id": 1, "text": "word " * 500}, {"id": 2, "text": "short"}]
    columns = [Column("id"), Column("text")]
    lines = rendered(rows, "table", columns, tty=True, color=False).splitlines()
    assert len(lines) == 2 + 8 + 1 + 2
    assert lines[9].endswith("…")
    assert lines[-1] == "values that end in … are longer: -o json has them whole"
    assert "…" not in rendered(rows[0], "table", tty=True, color=False)


def test_right_to_left_text_moves_no_column() -> None:
    """A left-to-right mark in the gap behind it, and nowhere else: no value that is copied has one."""
    rows = [{"name": "محمد", "n": 5, "city": "Hamburg"}, {"name": "Ada", "n": 1815, "city": "London"}]
    shown = rendered(rows, "table", tty=True, color=False).splitlines()
    assert shown[2] == "محمد \u200e    5  Hamburg"
    assert shown[3] == "Ada   1815  London"
    assert "\u200e" not in rendered(rows, "table")
