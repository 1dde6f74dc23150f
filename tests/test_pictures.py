"""Reports as pictures: what the HTML page and the SVG file hold, that nothing in them is obeyed, and who has them.

A browser's parser stands in for the browser: html.parser for the page, an XML parser for the file.
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from bson import ObjectId
from bson.decimal128 import Decimal128
from hypothesis import given, settings
from hypothesis import strategies as st
from test_output import HOSTILE, Terminal

from motorctl.commands import ENTRIES
from motorctl.errors import UsageError
from motorctl.formats import Column
from motorctl.global_options import PICTURES
from motorctl.output import Output
from motorctl.pictures import html, svg
from motorctl.pictures.panels import Panel, panels, short, thinned, ticks
from motorctl.pictures.picture import Picture

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from conftest import Runner
    from pymongo.database import Database as SyncDatabase

TIME = Picture("Revenue by month", "time", "period", "revenue", "orders: completed")
RANKING = Picture("Customers", "ranking", "name", "total", rest="customers")
COLUMNS = [Column("period"), Column("revenue", right=True)]
NOW = datetime(2026, 11, 21, 8, 5, tzinfo=UTC)


def months(*amounts: str | None, **more: Any) -> list[dict[str, Any]]:
    return [
        {"period": f"2026-{i:02d}", "revenue": None if amount is None else Decimal(amount), **more}
        for i, amount in enumerate(amounts, 1)
    ]


class Page(HTMLParser):
    """A page as a browser reads it: elements with their attributes, and the text in each."""

    VOID = frozenset(("meta", "link", "img", "br"))

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._open: list[int] = []
        self.feed(text)
        self.close()
        assert self._open == [], "an element isn't closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))
        if tag not in self.VOID:
            self._open.append(len(self.elements) - 1)

    def handle_endtag(self, tag: str) -> None:
        assert self.elements[self._open.pop()][0] == tag

    def handle_data(self, data: str) -> None:
        for index in self._open:
            self.elements[index][2].append(data)

    def texts(self, tag: str) -> list[str]:
        return ["".join(text) for name, _, text in self.elements if name == tag]

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes, _ in self.elements if name == tag]


def drawn(text: str) -> ET.Element:
    return ET.fromstring(text)


def of(root: ET.Element, tag: str, look: str | None = None) -> list[ET.Element]:
    found = root.iter("{http://www.w3.org/2000/svg}" + tag)
    return [node for node in found if look is None or look in (node.get("class") or "").split()]


def words(root: ET.Element) -> list[str]:
    return ["".join(node.itertext()) for node in of(root, "text")]


def bars(root: ET.Element) -> dict[str, tuple[float, float]]:
    """Return each bar's tooltip, with the places of its top and its bottom."""
    found = {}
    for bar in of(root, "g", "bar"):
        (rect,), (title,) = of(bar, "rect"), of(bar, "title")
        top = float(rect.get("y", ""))
        found[str(title.text)] = (top, top + float(rect.get("height", "")))
    return found


def only_panel(picture: Picture, rows: Sequence[Mapping[str, Any]]) -> Panel:
    (panel,) = panels(picture, rows)
    return panel


# The page


def test_a_page_stands_alone_and_may_do_nothing() -> None:
    text = html(TIME, months("10.00", "-2.50"), COLUMNS, now=NOW)
    page = Page(text)
    (policy,) = [m["content"] for m in page.attributes("meta") if "http-equiv" in m]
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:")
    assert {tag for tag, _, _ in page.elements} & {
        "script",
        "link",
        "img",
        "iframe",
        "object",
        "form",
        "a",
    } == set()
    assert not any(name in a for _, a, _ in page.elements for name in ("style", "href", "src", "xlink:href"))
    assert not re.search(r"https?:|//fonts|url\(|@import", text.replace("http://www.w3.org/2000/svg", ""))
    assert page.attributes("html") == [{"lang": "en"}]
    assert {"charset": "utf-8"} in page.attributes("meta")


def test_a_page_has_title_table_notes_and_when_it_was_made() -> None:
    noted = replace(TIME, notes=("3 orders have no amount", "rounded"))
    page = Page(
        html(noted, months("10.00", "1234567.80"), [COLUMNS[0], Column("revenue", "Revenue", True)], now=NOW)
    )
    assert page.texts("h1") == ["Revenue by month"]
    assert page.texts("th") == ["period", "Revenue", "2026-01", "2026-02"]
    assert [a["scope"] for a in page.attributes("th")] == ["col", "col", "row", "row"]
    assert page.texts("td") == ["10.00", "1234567.80"]
    assert all(a["class"] == "number" for a in page.attributes("td"))
    assert page.texts("caption") == ["2 rows"]
    assert page.texts("li") == ["3 orders have no amount", "rounded"]
    assert page.attributes("time") == [{"datetime": "2026-11-21T08:05:00+00:00"}]


def test_each_drawing_of_a_page_has_a_title_and_a_description() -> None:
    page = Page(
        html(replace(TIME, line="cumulative"), months("10.00", "25.00", cumulative=Decimal(9)), COLUMNS)
    )
    charts = [a for a in page.attributes("svg") if a.get("role") == "img"]
    ids = [a["id"] for _, a, _ in page.elements if "id" in a]
    assert len(charts) == 4
    assert len(set(ids)) == len(ids)
    for chart in charts:
        assert chart["aria-labelledby"] in ids
        assert chart["aria-describedby"] in ids
    assert "Highest: 2026-02 with 25.00; lowest: 2026-01 with 10.00." in page.texts("desc")[0]


def test_a_page_and_a_file_know_light_dark_and_paper() -> None:
    for text in (html(TIME, months("1"), COLUMNS), svg(TIME, months("1"))):
        assert "@media (prefers-color-scheme: dark)" in text
        assert "@media print" in text


# Nothing from a database is obeyed


@pytest.mark.parametrize(
    "text", [*HOSTILE, "</style><script>x</script>", "]]>", "&amp;", "\ufffe\uffff", "' onload='x"]
)
@pytest.mark.parametrize("picture", [TIME, RANKING])
def test_hostile_text_is_text(picture: Picture, text: str) -> None:
    """As a label, a status, a title, a subtitle, a note, a heading and a column's name."""
    picture = replace(picture, title=text, subtitle=text, notes=(text,), apart="currency", series="status")
    rows = [
        {picture.label: text + end, picture.value: Decimal(1), "currency": text, "status": status}
        for end in ("", "2")
        for status in (text, "other")
    ]
    columns = [Column(picture.label, text), Column("status"), Column(picture.value, right=True)]
    quiet = [{**row, picture.label: "x", "currency": "x", "status": "x"} for row in rows]
    expected = replace(picture, title="x", subtitle="x", notes=("x",))

    page = Page(html(picture, rows, columns))
    assert {tag for tag, _, _ in page.elements} <= {
        *(tag for tag, _, _ in Page(html(expected, quiet, columns)).elements),
        "rect",
        "span",
    }
    assert not any(name.startswith("on") for _, attributes, _ in page.elements for name in attributes)
    root = drawn(svg(picture, rows))
    assert {node.tag.rpartition("}")[2] for node in root.iter()} <= {
        "svg",
        "title",
        "desc",
        "style",
        "rect",
        "text",
        "g",
        "path",
    }
    shown = page.texts("h1")[0]
    assert "".join(of(root, "title")[0].itertext()) == shown
    assert not re.search(
        "[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufffe\uffff]", html(picture, rows, columns)
    )
    if text.isascii() and text.isprintable():
        assert shown == text


TEXT = st.text(max_size=12)
AMOUNT = st.one_of(
    st.none(),
    st.decimals(allow_nan=True, allow_infinity=True),
    st.integers(-(10**20), 10**20),
    st.floats(),
    st.sampled_from([Decimal("1E+6144"), Decimal("-9.99E-6143"), Decimal(0)]),
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "period": TEXT,
            "revenue": AMOUNT,
            "before": AMOUNT,
            "sum": AMOUNT,
            "status": TEXT,
            "currency": TEXT,
        },
        optional={"n": st.integers(0, 3)},
    ),
    max_size=5,
)


@given(
    ROWS,
    st.sampled_from(["time", "ranking"]),
    st.sampled_from([None, "status"]),
    st.sampled_from([None, "before"]),
    st.sampled_from([None, "sum"]),
)
@settings(max_examples=60)
def test_whatever_the_rows_both_are_well_formed(
    rows: list[dict[str, Any]], kind: Any, series: str | None, compared: str | None, line: str | None
) -> None:
    picture = Picture("x", kind, "period", "revenue", "", series, compared, line, (), "currency", "n")
    root = drawn(svg(picture, rows))
    assert not re.search(r"\b(nan|inf)\b", " ".join(v for node in root.iter() for v in node.attrib.values()))
    page = Page(html(picture, rows, COLUMNS))
    assert len(page.texts("tr")) == 1 + max(1, len(rows))


# What is drawn


def test_bars_are_as_long_as_their_amounts_and_below_the_line_where_they_are_negative() -> None:
    found = bars(drawn(svg(TIME, months("10.00", "40.00", "-20.00", "0", None))))
    assert list(found) == ["2026-01: 10.00", "2026-02: 40.00", "2026-03: -20.00"]
    (ten, zero), (forty, ground), (below, twenty) = found.values()
    assert zero == pytest.approx(ground, abs=0.05) == pytest.approx(below, abs=0.05)
    assert (zero - forty) / (zero - ten) == pytest.approx(4, rel=0.01)
    assert (twenty - zero) / (zero - ten) == pytest.approx(2, rel=0.01)


def test_a_cent_beside_a_million_can_be_seen() -> None:
    found = bars(drawn(svg(TIME, months("1000000", "0.01", "-0.01"))))
    top, bottom = found["2026-02: 0.01"]
    assert 0.5 < bottom - top < 2
    top, bottom = found["2026-03: -0.01"]
    assert 0.5 < bottom - top < 2


def test_series_are_stacked_and_have_a_legend() -> None:
    rows = [
        {"period": "2026-01", "status": status, "revenue": Decimal(amount)}
        for status, amount in (("completed", 30), ("pending", 10), ("refunded", -5))
    ]
    root = drawn(svg(replace(TIME, series="status"), rows))
    found = bars(root)
    completed, pending, refunded = (found[f"2026-01 · {row['status']}: {row['revenue']}"] for row in rows)
    assert pending[1] == pytest.approx(completed[0], abs=0.05)
    assert refunded[0] == pytest.approx(completed[1], abs=0.05)
    assert words(root)[2:5] == ["completed", "pending", "refunded"]


def test_more_series_than_colours_are_added_up_in_the_last() -> None:
    rows = [{"period": "p", "status": f"s{i}", "revenue": Decimal(i)} for i in range(1, 13)]
    panel = only_panel(replace(TIME, series="status"), rows)
    assert [s.name for s in panel.series] == [*(f"s{i}" for i in range(6, 13)), "others"]
    assert panel.series[-1].values == (Decimal(15),)
    assert [s.look for s in panel.series] == [f"c{i}" for i in range(8)]


def test_a_status_has_one_colour_in_all_charts() -> None:
    rows = [
        {"period": "p", "currency": currency, "status": status, "revenue": Decimal(1)}
        for currency, status in (("EUR", "a"), ("EUR", "b"), ("USD", "b"), ("USD", "c"), ("USD", "a"))
    ]
    found = panels(replace(TIME, series="status", apart="currency"), rows)
    assert [[(s.name, s.look) for s in panel.series] for panel in found] == [
        [("a", "c0"), ("b", "c1")],
        [("a", "c0"), ("b", "c1"), ("c", "c2")],
    ]


def test_a_running_total_stays_where_a_series_has_no_row() -> None:
    rows = [
        {"period": p, "status": s, "revenue": Decimal(1), "total": Decimal(t)}
        for p, s, t in (("1", "a", 1), ("1", "b", 5), ("2", "b", 6), ("3", "a", 2), ("3", "b", 7))
    ]
    line = panels(replace(TIME, series="status", line="total"), rows)[-1]
    assert [tuple(map(str, s.values)) for s in line.series] == [("1", "1", "2"), ("5", "6", "7")]


def test_currencies_have_a_chart_each() -> None:
    rows = [*months("1", "2", currency="EUR"), *months("1000", "2000", currency="JPY")]
    found = panels(replace(TIME, apart="currency"), rows)
    assert [(p.heading, *map(str, p.limits)) for p in found] == [("EUR", "0", "2"), ("JPY", "0", "2000")]
    assert [a for a in words(drawn(svg(replace(TIME, apart="currency"), rows))) if a in ("EUR", "JPY")] == [
        "EUR",
        "JPY",
    ]


def test_what_is_compared_stands_before_and_paler() -> None:
    rows = months("10.00", "20.00", before=Decimal(15))
    root = drawn(svg(replace(TIME, compared="before"), rows, [Column("before", "a year earlier")]))
    assert list(bars(root))[:2] == ["2026-01 · a year earlier: 15", "2026-02 · a year earlier: 15"]
    assert of(root, "g", "before")
    assert "a year earlier" in words(root)


def test_stacks_are_compared_in_a_chart_of_their_own() -> None:
    rows = [{"period": "p", "status": s, "revenue": Decimal(2), "before": Decimal(1)} for s in "ab"]
    found = panels(replace(TIME, series="status", compared="before"), rows)
    assert [f"{p.kind} {p.heading} {p.limits[1]}" for p in found] == ["stacked  4", "stacked before 2"]


def test_a_running_total_is_a_line_below_with_the_periods_in_the_same_place() -> None:
    rows = months("10", "20", "30")
    for row, total in zip(rows, (10, 30, 600000), strict=True):
        row["total"] = Decimal(total)
    root = drawn(svg(replace(TIME, line="total"), rows))
    (line,) = [path for group in of(root, "g", "series") for path in of(group, "path")]
    assert len(re.findall(r"[ML]", str(line.get("d")))) == 2
    above, below = ([float(t.get("x", "")) for t in of(axis, "text")] for axis in of(root, "g", "x"))
    assert above == pytest.approx(below, abs=0.1)
    plots = [plot for plot in of(root, "g", "plot") if of(plot, "g", "axis")]
    assert len(plots) == 2
    assert len({str(plot.get("transform")).partition(",")[0] for plot in plots}) == 1


def test_an_hour_that_the_clock_had_twice_is_two_bars() -> None:
    rows = [{"period": f"2026-10-25T0{h}:00", "revenue": Decimal(1)} for h in (1, 2, 2, 3)]
    assert len(only_panel(TIME, rows).labels) == 4


def test_without_rows_it_says_so() -> None:
    assert words(drawn(svg(TIME, [])))[-1] == "no orders"
    page = Page(html(TIME, [], COLUMNS))
    assert page.texts("td") == ["no orders"]
    assert page.texts("text") == ["no orders", "no orders"]


def test_a_ranking_has_numbers_beside_its_bars_in_order_and_the_rest_last() -> None:
    rows = [
        {"name": "12 others", "total": Decimal("50.00"), "customers": 12},
        {"name": "Ada", "total": Decimal("100.00"), "customers": 1},
        {"name": "Bob", "total": Decimal("99.50"), "customers": 1},
    ]
    root = drawn(svg(RANKING, rows))
    placed = {"".join(t.itertext()): float(t.get("y", 0)) for t in of(root, "text")}
    assert placed["Ada"] < placed["Bob"] < placed["12 others"]
    assert placed["100.00"] < placed["99.50"] < placed["50.00"]
    assert [title.text for bar in of(root, "g", "rest") for title in of(bar, "title")] == ["12 others: 50.00"]


def test_a_rest_that_would_dwarf_all_others_has_no_bar() -> None:
    rows = [
        {"name": "Ada", "total": Decimal(100), "customers": 1},
        {"name": "others", "total": Decimal(5000), "customers": 2},
    ]
    root = drawn(svg(RANKING, rows))
    (bar,) = [r for g in of(root, "g", "bar") for r in of(g, "rect")]
    assert float(bar.get("width", 0)) > 300
    assert "5000 (off the scale)" in words(root)


def test_a_long_name_is_cut_and_whole_in_its_tooltip() -> None:
    name = "Rear Admiral Grace Brewster Murray Hopper"
    root = drawn(
        svg(RANKING, [{"name": name, "total": Decimal(1)}, {"name": "山田" * 30, "total": Decimal(1)}])
    )
    cut = [t for t in of(root, "text") if of(t, "title")]
    assert [str(t.text)[-1] for t in cut] == ["…", "…"]
    assert [of(t, "title")[0].text for t in cut] == ["山田" * 30, name]


# Axes


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("0", "0"), ("950", "950"), ("1200", "1.2k"), ("1200000", "1.2M"), ("-2500", "−2.5k"), ("1E+9", "1B"),
        ("5E+12", "5T"), ("2E+20", "2e20"), ("0.5", "0.5"), ("0.00002", "2e−5"), ("1E+6144", "1e6144"),
    ],
)  # fmt: skip
def test_axis_labels_are_short(number: str, text: str) -> None:
    assert short(Decimal(number)) == text


FINITE = st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**15), max_value=10**15)


@given(FINITE, FINITE, st.integers(1, 10))
def test_marks_hold_both_ends_in_even_steps(one: Decimal, other: Decimal, most: int) -> None:
    low, high = sorted((one, other))
    marks = ticks(low, high, most)
    assert marks[0] <= low <= high <= marks[-1]
    assert 2 <= len(marks) <= most + 2
    steps = {b - a for a, b in pairwise(marks)}
    assert len(steps) == 1
    assert steps.pop().normalize().as_tuple().digits in ((1,), (2,), (5,))


def test_labels_are_thinned_as_people_count() -> None:
    days = [(date(2026, 1, 1) + timedelta(days=i)).isoformat() for i in range(365)]
    assert [days[i] for i in thinned(days, 8)] == [
        "2026-01-01",
        "2026-03-01",
        "2026-05-01",
        "2026-07-01",
        "2026-09-01",
        "2026-11-01",
    ]
    months_ = [f"{2024 + i // 12}-{i % 12 + 1:02d}" for i in range(3, 30)]
    assert [months_[i] for i in thinned(months_, 5)] == ["2024-07", "2025-01", "2025-07", "2026-01"]
    hours = [f"2026-01-{d:02d}T{h:02d}:00" for d in range(1, 15) for h in range(24)]
    assert {hours[i][-5:] for i in thinned(hours, 7)} == {"00:00"}


@given(
    st.lists(st.sampled_from(["2026-01", "2026-W03", "x", "2026-01-31", "2026", "2025-Q4"]), min_size=1),
    st.integers(0, 50),
)
def test_never_more_labels_than_there_is_room_for(labels: list[str], room: int) -> None:
    written = thinned(labels, room)
    assert 1 <= len(written) <= max(1, room)
    assert written == sorted(set(written))
    assert all((after - before) * room >= len(labels) for before, after in pairwise(written))


def test_labels_do_not_touch() -> None:
    rows = [
        {"period": (date(2026, 1, 1) + timedelta(days=i)).isoformat(), "revenue": Decimal(i)}
        for i in range(400)
    ]
    root = drawn(svg(TIME, rows))
    (axis,) = of(root, "g", "x")
    places = [float(t.get("x", "")) for t in of(axis, "text")]
    assert len(places) >= 4
    assert min(b - a for a, b in pairwise(places)) > 10 * 7.2
    assert len(bars(root)) == 399


def test_labels_do_not_touch_where_periods_are_left_out() -> None:
    """Hours of a small shop: what it sold at midnights stands side by side, and far from the next one."""
    hours = [
        f"2026-01-{d:02d}T{h:02d}:00"
        for d in range(1, 29)
        for h in (0, 5, 7, 17, 19)
        if h or d in (10, 11, 12, 27)
    ]
    root = drawn(svg(TIME, [{"period": hour, "revenue": Decimal(7)} for hour in hours]))
    (axis,) = of(root, "g", "x")
    places = [float(t.get("x", "")) for t in of(axis, "text")]
    assert len(places) >= 3
    assert min(b - a for a, b in pairwise(places)) > 16 * 7.2


def test_ids_are_small_and_long_names_may_be_broken() -> None:
    rows = [{"name": "Ada Lovelace of London", "total": Decimal(1), "id": "64b7f0c2a1b2c3d4e5f60718"}]
    columns = [Column("name"), Column("total", right=True), Column("id")]

    page = html(replace(RANKING, label="name", value="total"), rows, columns)

    assert re.findall(r'<t[hd][^>]* class="(\w+)"', page)[-3:] == ["long", "number", "id"]


def test_a_long_legend_has_lines_inside_the_file() -> None:
    rows = [
        {"period": "p", "status": f"a status with a long name {i}", "revenue": Decimal(1)} for i in range(8)
    ]
    root = drawn(svg(replace(TIME, series="status"), rows))
    (legend,) = of(root, "g", "legend")
    assert len({t.get("y") for t in of(legend, "text")}) == 2
    assert all(float(t.get("x", "")) + len(str(t.text)) * 7.2 <= 904 for t in of(legend, "text"))


# The whole way


@pytest.fixture
def orders(sync_db: SyncDatabase[dict[str, Any]]) -> None:
    sync_db.orders.insert_many(
        {"amount": Decimal128(amount), "status": status, "created_at": datetime(2026, month, 3, tzinfo=UTC)}
        for month, amount, status in (
            (1, "10.10", "completed"),
            (2, "-3.00", "<script>x</script>"),
            (2, "7.25", "completed"),
        )
    )


@pytest.mark.usefixtures("orders")
def test_a_report_is_a_page_with_the_figures_of_its_csv(cli: Runner) -> None:
    arguments = ("revenue", "over-time", "--by-status")
    done = cli(*arguments, "-o", "html")
    assert (done.code, done.stderr) == (0, "")
    cells = [text for text in Page(done.stdout).texts("td") if re.fullmatch(r"-?\d+\.\d\d", text)]
    lines = [line.split(",") for line in cli(*arguments, "-o", "csv").stdout.splitlines()]
    revenue, average = lines[0].index("revenue"), lines[0].index("average")
    assert cells == [figure for line in lines[1:] for figure in (line[revenue], line[average])]
    assert "<script" not in done.stdout


@pytest.mark.usefixtures("orders")
def test_a_report_is_a_drawing(cli: Runner) -> None:
    done = cli("revenue", "over-time", "--any-status", "-o", "svg")
    assert (done.code, done.stderr) == (0, "")
    assert list(bars(drawn(done.stdout))) == ["2026-01: 10.10", "2026-02: 4.25"]


@pytest.mark.usefixtures("orders")
def test_on_a_terminal_it_says_what_a_page_is_for(cli: Runner) -> None:
    done = cli("revenue", "over-time", "-o", "html", tty=True)
    assert done.code == 0
    assert done.stdout.startswith("<!doctype html>")
    assert "html is for a file: `> report.html` keeps it" in done.stderr
    assert "is for a file" not in cli("revenue", "over-time", "-o", "html", "-q", tty=True).stderr


def test_no_report_without_a_picture_loads_what_draws() -> None:
    code = (
        "import sys, motorctl.cli, motorctl.commands.revenue, motorctl.formats, motorctl.pictures;"
        "print([name for name in ('pygal', 'xml', 'html', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_drawing_leaves_imports_as_they_were() -> None:
    svg(TIME, months("1"))
    assert "pygal" in sys.modules
    assert "pygal" not in [type(finder).__module__ for finder in sys.meta_path]


# Who has pictures


@pytest.mark.parametrize("format", PICTURES)
@pytest.mark.parametrize(
    "line", ["students delete 64b7f0c2a1b2c3d4e5f60718 --yes", "ping", "config show", "local stop"]
)
def test_what_draws_nothing_refuses_before_it_does_anything(
    cli: Runner,
    sync_db: SyncDatabase[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    format: str,
    line: str,
) -> None:
    sync_db.students.insert_one({"_id": ObjectId("64b7f0c2a1b2c3d4e5f60718"), "name": "Ada"})
    typed = cli(*line.split(), "-o", format)
    monkeypatch.setenv("MOTORCTL_OUTPUT", format)
    for done, source in ((typed, "flag --output"), (cli(*line.split()), "environment MOTORCTL_OUTPUT")):
        assert (done.code, done.stdout) == (2, "")
        assert done.stderr.startswith(f"error: {source}: {format} is for reports, and this is none\nhint: ")
    assert sync_db.students.count_documents({}) == 1


def test_every_other_command_refuses_by_its_entry() -> None:
    assert {name: entry.draws for name, entry in ENTRIES.items() if entry.draws} == {
        "revenue": ("over-time", "by-customer", "by-product")
    }


def test_a_profile_that_asks_for_pages_is_refused_too(
    cli: Runner, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[profiles.web]\noutput = "html"\n')
    monkeypatch.setenv("MOTORCTL_CONFIG", str(config))
    done = cli("ping", "-p", "web")
    assert done.code == 2
    assert "profile web: html is for reports" in done.stderr
    assert cli("ping", "-p", "web", "-o", "json").code == 0


def test_without_a_picture_nothing_is_written() -> None:
    stream = Terminal()
    with pytest.raises(UsageError):
        Output(stream, "html").emit([{"a": 1}])
    with pytest.raises(UsageError):
        Output(stream, "svg").emit({"a": 1})
    assert stream.getvalue() == ""
