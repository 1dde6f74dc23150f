"""What a user types is read as meant, or refused with the argument's name and the place in it."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from bson import ObjectId, json_util
from bson.decimal128 import Decimal128
from hypothesis import given
from hypothesis import strategies as st

from motorctl import arguments
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
        arguments.value(app(), '{"a": 1,\n  b: 2}', "--filter")
    assert caught.value.message.startswith("--filter: not JSON: ")
    assert caught.value.message.endswith("at line 2, column 3")
    assert caught.value.details == {"line": 2, "column": 3}
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
