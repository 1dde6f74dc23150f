"""What a user types is read as meant, or refused with the argument's name and the place in it."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import orjson
import pytest
from bson import ObjectId, json_util
from bson.decimal128 import Decimal128
from hypothesis import assume, given
from hypothesis import strategies as st

from motorctl import arguments
from motorctl.core import extjson
from motorctl.core.aggregation.literal import LiteralError, read
from motorctl.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from motorctl.app import App


def app(stdin: bytes = b"") -> App:
    """All that reading an argument needs of an App."""
    return cast("App", SimpleNamespace(stdin=io.BytesIO(stdin)))


def test_text_is_itself_a_file_or_stdin(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf{}")
    assert arguments.text(app(), "as typed", "--json") == "as typed"
    assert arguments.text(app(), f"@{tmp_path / 'a.json'}", "--json") == "{}"  # without its byte order mark
    assert arguments.text(app("é".encode()), "-", "--json") == "é"


def test_a_file_may_stand_in_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.txt").write_text("here")
    assert arguments.text(app(), "@~/a.txt", "--json") == "here"


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^--json: cannot read .*none\.json: no such file or directory$"):
        arguments.text(app(), f"@{tmp_path / 'none.json'}", "--json")
    with pytest.raises(UsageError, match="is a directory"):
        arguments.text(app(), f"@{tmp_path}", "--json")
    (tmp_path / "binary").write_bytes(b"ab\xff")
    with pytest.raises(UsageError, match=r"binary: not UTF-8 text \(byte 3\)"):
        arguments.text(app(), f"@{tmp_path / 'binary'}", "--json")
    with pytest.raises(UsageError, match=r"^--json: stdin: not UTF-8"):
        arguments.text(app(b"\xff"), "-", "--json")


def test_values_are_extended_json() -> None:
    typed = '{"_id": {"$oid": "64b7f0c2a1b2c3d4e5f60718"}, "amount": {"$numberDecimal": "1.50"}, "n": [1, 2.5, null]}'
    assert arguments.value(app(), typed, "--filter") == {
        "_id": ObjectId("64b7f0c2a1b2c3d4e5f60718"),
        "amount": Decimal128("1.50"),
        "n": [1, 2.5, None],
    }


def test_dates_know_their_zone() -> None:
    found = arguments.value(app(), '{"$date": "2025-01-31T12:00:00Z"}', "--filter")
    assert found.isoformat() == "2025-01-31T12:00:00+00:00"


def test_broken_json_names_line_and_column() -> None:
    with pytest.raises(UsageError) as caught:
        arguments.value(app(), '{"a": 1,\n  "b": two}', "--filter")
    assert caught.value.message.startswith("--filter: not JSON: ")
    assert caught.value.message.endswith("at line 2, column 8")
    assert caught.value.details == {"line": 2, "column": 8}
    assert "names and texts stand in double quotes" in (caught.value.hint or "")


def test_a_filter_may_be_as_mongosh_writes_it() -> None:
    typed = """{name: 'Ada', gpa: {$gte: 3}, _id: ObjectId("64b7f0c2a1b2c3d4e5f60718"), since: ISODate("2026-01-31"),}"""
    assert arguments.value(app(), typed, "--filter") == {
        "name": "Ada",
        "gpa": {"$gte": 3},
        "_id": ObjectId("64b7f0c2a1b2c3d4e5f60718"),
        "since": datetime(2026, 1, 31, tzinfo=UTC),
    }
    with pytest.raises(UsageError, match="--filter: not Extended JSON: since: "):
        arguments.value(app(), "{since: ISODate('x')}", "--filter")


def test_json_whose_quotes_the_shell_took_is_told_so() -> None:
    with pytest.raises(UsageError) as caught:
        arguments.value(app(), "{name: Ada}", "--filter")
    assert "quote it for the shell" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "typed",
    [
        '{"$oid": "x"}', '{"$oid": 1}', '{"$date": "yesterday"}', '{"$date": 1e400}', '{"$numberDecimal": "x"}',
        '{"$numberLong": "x"}', '{"$binary": "x"}', '{"$binary": {"base64": "?", "subType": "zz"}}',
        '{"$timestamp": {"t": 1}}', '{"$regularExpression": {}}', '{"$uuid": 5}', '{"$minKey": 2}',
        '{"$date": {"$numberLong": "99999999999999999999"}}', "[" * 100_000, "1" * 5000,
    ],
)  # fmt: skip
def test_wrong_extended_json_is_refused_with_the_argument_s_name(typed: str) -> None:
    with pytest.raises(UsageError, match=r"^--filter: not (Extended )?JSON: "):
        arguments.value(app(), typed, "--filter")


NAMES = st.sampled_from(
    """a b $oid $date $numberDecimal $numberLong $binary base64 subType $regex $options $timestamp t i
    $code $scope $ref $id $uuid $minKey $undefined $dbPointer""".split()
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


@given(JSON)
def test_any_json_is_a_value_or_a_usage_error(content: Any) -> None:
    try:
        arguments.value(app(), json.dumps(content), "--filter")
    except UsageError as error:
        assert error.message.startswith("--filter: not ")  # noqa: PT017 - either way is right


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="$"), max_size=5),
        st.integers(-(2**63), 2**63 - 1),
    )
)
def test_what_extended_json_writes_is_read_back(document: dict[str, int]) -> None:
    assert arguments.document(app(), json_util.dumps(document), "--json") == document


def test_a_document_is_an_object() -> None:
    assert arguments.document(app(), None, "--json") == {}
    with pytest.raises(UsageError, match=r"^--json: not a JSON object$"):
        arguments.document(app(), "[1]", "--json")


@pytest.mark.parametrize(
    ("typed", "order"),
    [
        (None, []),
        ("", []),
        ("name", [("name", 1)]),
        ("-gpa", [("gpa", -1)]),
        ("name, -gpa,+a.b", [("name", 1), ("gpa", -1), ("a.b", 1)]),
        ("-id", [("_id", -1)]),
    ],
)
def test_sort(typed: str | None, order: list[tuple[str, int]]) -> None:
    assert arguments.sort(typed) == order


@pytest.mark.parametrize("typed", ["a,,b", ",", "-", "$natural", "a,-"])
def test_sort_refuses_what_is_no_field(typed: str) -> None:
    with pytest.raises(UsageError, match=r"^--sort: "):
        arguments.sort(typed)


def test_fields() -> None:
    assert arguments.fields(None) == []
    assert arguments.fields("a, b.c") == ["a", "b.c"]
    with pytest.raises(UsageError, match=r"^--only: an empty name in 'a,,b'$"):
        arguments.fields("a,,b", "--only")


# --- pipelines ---------------------------------------------------------------------------------------

OID = "64b7f0c2a1b2c3d4e5f60718"
NOTATION: dict[str, Any] = {
    "{a: 1, $b: 'x', \"c-d\": `e`, 5: .5}": {"a": 1, "$b": "x", "c-d": "e", "5": 0.5},
    "[1,// one\n /* two */ 2,]": [1, 2],
    "[0x1F, +5, -0x10, 5., 1e3, -Infinity, NaN]": [
        31, 5, -16, 5.0, 1000.0, {"$numberDouble": "-Infinity"}, {"$numberDouble": "NaN"},
    ],
    f"ObjectId('{OID}')": {"$oid": OID},
    "new ISODate('2026-01-31')": {"$date": "2026-01-31T00:00:00Z"},
    "ISODate('2026-01-31T12:30')": {"$date": "2026-01-31T12:30:00Z"},
    "ISODate('2026-01-31 12:30:01.250+02:00')": {"$date": "2026-01-31T12:30:01.250+02:00"},
    "new Date(5)": {"$date": {"$numberLong": "5"}},
    "[NumberLong('9'), NumberInt(5), NumberDecimal('1.50'), Long(7)]": [
        {"$numberLong": "9"}, {"$numberInt": "5"}, {"$numberDecimal": "1.50"}, {"$numberLong": "7"},
    ],
    "/^a[/]\\/b/si": {"$regularExpression": {"pattern": "^a[/]\\/b", "options": "is"}},
    "RegExp('x', 'i')": {"$regularExpression": {"pattern": "x", "options": "i"}},
    "Timestamp({t: 1, i: 2})": {"$timestamp": {"t": 1, "i": 2}},
    "Timestamp(1, 2)": {"$timestamp": {"t": 1, "i": 2}},
    "BinData(4, 'AA==')": {"$binary": {"base64": "AA==", "subType": "04"}},
    "[MinKey, MaxKey(), undefined, null, true]": [
        {"$minKey": 1}, {"$maxKey": 1}, {"$undefined": True}, None, True,
    ],
    r"""['it\'s', "\x41\u{1F600}\u0042\n", '\z']""": ["it's", "A\U0001f600B\n", "z"],
}  # fmt: skip


@pytest.mark.parametrize("typed", NOTATION)
def test_mongosh_s_notation_is_extended_json(typed: str) -> None:
    assert json.dumps(read(typed).value) == json.dumps(NOTATION[typed])


@pytest.mark.parametrize(
    ("typed", "position", "reason"),
    [
        ("", 0, "there is nothing in it"),
        ("[1 2]", 3, "a comma or ] is missing before '2'"),
        ("{a 1}", 3, "a colon is missing behind the key 'a'"),
        ("{a: 'x}", 4, "this text is not closed"),
        ("{a: }", 4, "a value is missing before '}'"),
        ("{a: 1, a: 2}", 7, "the key 'a' stands twice (first in line 1)"),
        ("[1e999]", 1, "a number beyond what a double holds"),
        ("[1] [2]", 4, "'[' stands behind the end"),
        ("[/* x", 1, "this comment is not closed"),
        ("{a: f(1)}", 4, "f() is not known here: nothing is run"),
        ("{a: Date.now()}", 4, "Date needs its parentheses"),
        ("{a: `${x}`}", 4, "a template can't be filled in here"),
        ("{a: ObjectId(1)}", 4, "ObjectId: it takes a text in quotes"),
        ("{a: UUID()}", 4, "UUID does not take 0 arguments"),
        ("['\\ud800']", 1, "this text holds half of a character (a lone surrogate)"),
        ("[" * 1000, 181, "nested more than 180 deep"),
    ],
)
def test_what_is_no_notation_has_its_place(typed: str, position: int, reason: str) -> None:
    with pytest.raises(LiteralError) as caught:
        read(typed)
    assert (caught.value.position, caught.value.reason) == (position, reason)


@given(JSON)
def test_json_means_the_same_in_mongosh_s_notation(content: Any) -> None:
    try:
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    except ValueError:
        assume(False)
    assert json.dumps(read(text).value) == json.dumps(orjson.loads(text))


@given(JSON)
def test_the_place_of_each_value_is_where_its_text_begins(content: Any) -> None:
    text = json.dumps(content)
    found = read(text)
    for path, offset in found.values.items():
        value = found.value
        for step in path:
            value = value[step]
        there, _ = json.JSONDecoder().raw_decode(text, offset)
        assert json.dumps(read(json.dumps(there)).value) == json.dumps(value)
    for path, offset in found.keys.items():
        assert text[offset:].startswith(json.dumps(path[-1]))


@given(st.text(max_size=30) | st.text("[]{}:,'\"$ab1-/*\n ()`", max_size=12))
def test_any_text_is_a_pipeline_s_value_or_a_usage_error_with_its_place(content: str) -> None:
    try:
        arguments.Pipeline("pipeline", content)
    except UsageError as error:
        assert error.message.startswith("pipeline")  # noqa: PT017 - either way is right
        assert 1 <= error.details["line"] <= content.count("\n") + content.count("\r") + 2  # noqa: PT017 - as above


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="$"), max_size=5),
        st.integers(-(2**63), 2**63 - 1)
        | st.datetimes(
            timezones=st.just(UTC),
            min_value=datetime(1, 1, 2),  # noqa: DTZ001 - its zone is beside it
        ),
        max_size=4,
    )
)
def test_a_pipeline_is_the_same_in_json_and_yaml(document: dict[str, Any]) -> None:
    typed = json_util.dumps([{"$match": document}])
    as_json = arguments.Pipeline("p", typed, yaml=False).value
    assert as_json == extjson.loads(typed)
    assert arguments.Pipeline("p", typed, yaml=True).value == as_json


def test_places_in_both_notations() -> None:
    for text, yaml in (('[\n  {"$match": {"a": 1}}\n]', False), ("\n- $match: {a: 1}\n", True)):
        typed = arguments.Pipeline("p", text, yaml=yaml)
        assert typed.place((0,)) == (2, 3)
        line, column = typed.place((0, "$match", "a"))
        assert text.split("\n")[line - 1][column - 1 :].strip('"').startswith("a")
        assert typed.place((0, "$match", "nothing")) == typed.place((0, "$match"))


def test_hints_and_collations() -> None:
    assert arguments.hint(app(), None) is None
    assert arguments.hint(app(), "a_1") == "a_1"
    assert arguments.hint(app(), '{"a": 1}') == {"a": 1}
    assert arguments.collation(app(), None) is None
    assert arguments.collation(app(), "de") == {"locale": "de"}
    assert arguments.collation(app(), '{"locale": "de", "strength": 2}') == {"locale": "de", "strength": 2}
