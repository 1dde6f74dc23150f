"""Where manifests come from: files, directories, standard input, and variables in them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motorctl import manifest
from motorctl.errors import ManifestError, UsageError
from motorctl.manifest.document import Document
from motorctl.manifest.environment import substitute

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def names(*sources: Path | str, stdin: bytes | None = None) -> list[str]:
    given = io.BytesIO(stdin) if stdin is not None else None
    return [collection.name for collection in manifest.load([str(source) for source in sources], given)]


def test_a_directory_is_its_manifests_by_name(tmp_path: Path) -> None:
    for name in ("b.yml", "a.yaml", "C.JSON", ".hidden.yaml", "notes.txt"):
        (tmp_path / name).write_text(f'{{"collections": {{"{name}": {{}}}}}}')
    (tmp_path / "below.yaml").mkdir()
    (tmp_path / "below.yaml" / "d.yaml").write_text("{}")
    assert names(tmp_path) == ["C.JSON", "a.yaml", "b.yml"]


def test_files_directories_and_standard_input_are_one_manifest(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("collections: {a: {}}")
    file = tmp_path / "more"
    file.write_text("collections: {b: {}}")
    assert names(file, "-", tmp_path, stdin=b"collections: {c: {}}") == ["b", "c", "a"]


def test_standard_input_is_read_once() -> None:
    with pytest.raises(UsageError, match="standard input can be read once"):
        names("-", "-", stdin=b"collections: {}")
    with pytest.raises(UsageError, match="no standard input"):
        names("-")


def test_an_empty_directory_is_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="holds no manifest") as raised:
        names(tmp_path)
    assert raised.value.details["file"] == str(tmp_path)


def test_a_collection_in_two_files_names_both_places(tmp_path: Path) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text("# first\ncollections:\n  users: {}\n")
    two.write_text("collections: {a: {}, users: {state: absent}}")
    with pytest.raises(ManifestError) as raised:
        names(tmp_path)
    assert raised.value.message == f"{two}:1:22: users stands in two files: the other is {one}:3:3"
    assert (raised.value.details["line"], raised.value.details["column"]) == (1, 22)


def test_an_error_names_the_file_that_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("collections: {a: {}}")
    wrong = tmp_path / "b.yaml"
    wrong.write_text("collections:\n  b: {indexs: []}\n")
    with pytest.raises(ManifestError) as raised:
        names(tmp_path)
    assert raised.value.message == f"{wrong}:2:7: unknown key indexs in a collection"
    assert raised.value.hint == "did you mean 'indexes'?"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"collections:\n  a: \xff", ":2:6: this is no text: byte 19 is not UTF-8"),
        ("collections: {}".encode("utf-16"), ":1:1: this is no text: byte 1 is not UTF-8"),
        (b"a: 1\n\nb: \x00", ":3:4: unacceptable character #x0000"),
        (b"x" * (2 * 1024 * 1024 + 1), " is larger than 2 MiB: that is no schema"),
    ],
)
def test_bytes_that_are_no_manifest(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(content)
    with pytest.raises(ManifestError) as raised:
        names(file)
    assert raised.value.message.startswith(f"{file}{message}")


def test_a_file_that_nobody_can_read(tmp_path: Path) -> None:
    # Root may read what has no permissions; a link to itself nobody can follow.
    file = tmp_path / "a.yaml"
    file.symlink_to(file)
    with pytest.raises(ManifestError, match="can't be read: Too many levels of symbolic links"):
        names(file)


def test_a_name_that_no_file_can_have() -> None:
    with pytest.raises(ManifestError, match="can't be read"):
        names("a\0b")


def value(text: str, environment: Mapping[str, str] | None) -> Any:
    return Document("x", text, environment).value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: ${N}", 5),
        ("a: '${N}'", "5"),
        ('a: "${N}"', "5"),
        ("a: x${N}", "x5"),
        ("a: ${N}${N}", "55"),
        ("a: ${NO}", "no"),
        ("a: ${YES}", True),
        ("a: ${EMPTY}", None),
        ("a: ${EMPTY:-7}", 7),
        ("a: ${UNSET:-}", None),
        ("a: ${UNSET:-x y}", "x y"),
        ("a: ${LIST}", "[1, 2]"),
        ("a: ${LINES}", "b: 1\nc: 2"),
        ("a: ${DATE}", "2024-01-01"),
        ("a: ${AGAIN}", "${N}"),
        ("a: $${N}", "${N}"),
        ("a: $N", "$N"),
        ("a: |\n  ${N}\n", "5\n"),
    ],
)
def test_a_variable_is_typed_where_it_stands_alone(text: str, expected: Any) -> None:
    environment = {
        "N": "5", "NO": "no", "YES": "true", "EMPTY": "", "LIST": "[1, 2]", "LINES": "b: 1\nc: 2",
        "DATE": "2024-01-01", "AGAIN": "${N}",
    }  # fmt: skip
    found = value(text, environment)["a"]
    assert (found, type(found)) == (expected, type(expected))


def test_keys_are_substituted_and_stay_text() -> None:
    assert value("${A}_${N}: 1\n${N}: 2", {"A": "a: b", "N": "5"}) == {"a: b_5": 1, "5": 2}


def test_without_an_environment_text_stays() -> None:
    assert value("a: ${N}\n${K}: $${b}", None) == {"a": "${N}", "${K}": "$${b}"}


@pytest.mark.parametrize(
    ("text", "place", "message", "hint"),
    [
        ("a:\n  b: x-${UNSET}", "2:6", "the variable UNSET is not set", "set it, or write ${UNSET:-default}"),
        ("${UNSET}: 1", "1:1", "the variable UNSET is not set", "set it, or write ${UNSET:-default}"),
        ("a: ${9}", "1:4", "${ begins a variable: ${NAME} or ${NAME:-default}, and $${ is ${ itself", None),
        ("a: {b: ${N}}", "1:9", "expected ',' or '}', but got '{'",
         "a variable within { } or [ ] stands in quotes, and is text there"),
        ("${N}: 1\n'5': 2", "2:1", "the key 5 stands twice (first in line 1)", None),
    ],
)  # fmt: skip
def test_a_variable_that_cannot_be_put_in(text: str, place: str, message: str, hint: str | None) -> None:
    with pytest.raises(ManifestError) as raised:
        value(text, {"N": "5"})
    assert (raised.value.message, raised.value.hint) == (f"x:{place}: {message}", hint)


SECRET = "s3cret'value"


@pytest.mark.parametrize(
    "text",
    [
        "collections:\n  ${S}$:",
        "collections:\n  a:\n    state: ${S}",
        "collections:\n  a:\n    capped: ${S}",
        "collections:\n  a:\n    ${S}: 1",
        "collections:\n  a:\n    indexes:\n      - keys:\n          b: ${S}",
        "collections:\n  a:\n    indexes:\n      - keys:\n          $b${S}: 1",
        "collections:\n  a:\n    indexes:\n      - keys: {b: text}\n        default_language: ${S}",
        "collections:\n  a:\n    validator: {$jsonSchema: {bsonType: '${S}'}}",
        "collections:\n  a:\n    validator: {b: {$oid: '${S}'}}",
        "collections:\n  ${S}:\n    indexes:\n      - {keys: {b: 1}, name: n}\n      - {keys: {c: 1}, name: n}",
        "collections:\n  ${S}:\n    viewOn: ${S}",
    ],
)
def test_no_message_shows_a_variables_value(text: str) -> None:
    with pytest.raises(ManifestError) as raised:
        manifest.load("-", io.BytesIO(text.encode()), environment={"S": SECRET})
    everything = f"{raised.value.message} {raised.value.hint} {raised.value.details}"
    assert SECRET not in everything
    assert "s3cret" not in everything
    assert raised.value.details["line"] > 1


@given(st.text(), st.text())
def test_a_variable_can_hold_anything(before: str, held: str) -> None:
    text = before.replace("${", "$${") + "|${A}"
    found, used = substitute(text, {"A": held})
    assert used == {"A": held}
    assert found.endswith(f"|{held}")


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_a_value_never_changes_the_structure(held: str) -> None:
    found = value("a:\n  b: ${V}\n  c: [x, 'y${V}']\nd: 1", {"V": held})
    assert list(found) == ["a", "d"]
    assert found["a"]["c"] == ["x", f"y{held}"]
    assert not isinstance(found["a"]["b"], dict | list)
