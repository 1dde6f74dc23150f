"""Fields renamed, kept and left out, and documents checked by a model."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import DatetimeMS, Decimal128, Int64, ObjectId
from hypothesis import given
from hypothesis import strategies as st

from motorctl.core import sample
from motorctl.core.extjson import loads
from motorctl.core.ingest.decoding.shape import check, parse_renames, shape, shapes
from motorctl.core.ingest.model import Plan, RecordError
from motorctl.errors import UsageError

NOW = datetime(2024, 5, 6, tzinfo=UTC)
STUDENT = {"name": "Ada", "email": "ada@shop.local", "course": "Physics", "gpa": 3.5}
USER = {"name": "Ada", "email": "ada@shop.local", "created_at": NOW}
ORDER = {
    "user_id": ObjectId(), "product_id": "p-1", "qty": 2, "amount": Decimal128("2.50"),
    "status": "pending", "created_at": NOW,
}  # fmt: skip


def shaped(document: dict[str, Any], **plan: Any) -> dict[str, Any]:
    return shape(copy.deepcopy(document), Plan(**plan))


def refused(document: dict[str, Any], **plan: Any) -> tuple[str, str | None, str]:
    with pytest.raises(RecordError) as caught:
        shaped(document, **plan)
    return caught.value.stage, caught.value.field, caught.value.reason


def test_whether_there_is_anything_to_do() -> None:
    assert not shapes(Plan())
    assert shapes(Plan(rename=(("a", "b"),)))
    assert shapes(Plan(only=("a",)))
    assert shapes(Plan(omit=("a",)))
    assert shapes(Plan(model="users"))
    assert shaped({"a": 1}) == {"a": 1}


@pytest.mark.parametrize(
    ("renames", "expected"),
    [
        ("a=z", {"z": 1, "b": {"c": 2, "d": 3}, "e": [{"a": 4}]}),
        ("a=e,e=a", {"e": 1, "b": {"c": 2, "d": 3}, "a": [{"a": 4}]}),
        ("b.c=b.z", {"a": 1, "b": {"z": 2, "d": 3}, "e": [{"a": 4}]}),
        ("b.c=c", {"a": 1, "b": {"d": 3}, "e": [{"a": 4}], "c": 2}),
        ("a=x.y.z", {"b": {"c": 2, "d": 3}, "e": [{"a": 4}], "x": {"y": {"z": 1}}}),
        ("a=b.a", {"b": {"c": 2, "d": 3, "a": 1}, "e": [{"a": 4}]}),
        ("a=a.a", {"b": {"c": 2, "d": 3}, "e": [{"a": 4}], "a": {"a": 1}}),
        ("b=x,b.c=b.y", {"a": 1, "x": {"y": 2, "d": 3}, "e": [{"a": 4}]}),
        ("b=x,b.c=b", {"a": 1, "x": {"d": 3}, "e": [{"a": 4}], "b": 2}),
        ("no=a,b.no=x,a.b=y,e.a=z", {"a": 1, "b": {"c": 2, "d": 3}, "e": [{"a": 4}]}),
    ],
)
def test_fields_are_renamed(renames: str, expected: dict[str, Any]) -> None:
    document = {"a": 1, "b": {"c": 2, "d": 3}, "e": [{"a": 4}]}
    plan = Plan(rename=parse_renames(renames))
    check(plan)
    got = shape(document, plan)
    assert got == expected
    assert list(got) == list(expected)


@pytest.mark.parametrize(
    ("renames", "field", "reason"),
    [
        ("a=b", "b", "--rename gives a second b"),
        ("b=a", "a", "--rename gives a second a"),
        ("n.x=n.y", "n.y", "--rename gives a second n.y"),
        ("a=n.x", "n.x", "--rename gives a second n.x"),
        ("a=b.c", "b", "--rename a=b.c: b isn't a document"),
    ],
)
def test_a_target_that_is_there_is_a_reject(renames: str, field: str, reason: str) -> None:
    document = {"a": 1, "b": 2, "n": {"x": 3, "y": 4}}
    assert refused(document, rename=parse_renames(renames)) == ("type", field, reason)


@pytest.mark.parametrize("wrong", ["a", "", "a=", "=a", "a..b=c", "a=b,a=c", "a=c,b=c", "a=b,"])
def test_a_rename_that_can_not_be_read_is_wrong_usage(wrong: str) -> None:
    with pytest.raises(UsageError, match="--rename"):
        parse_renames(wrong)


def test_a_plan_that_no_record_can_follow_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match=r"'a.b' can't become 'a'"):
        check(Plan(rename=(("a.b", "a"),)))
    with pytest.raises(UsageError, match="no model 'student'") as caught:
        check(Plan(model="student"))
    assert caught.value.hint == "did you mean 'students'?"


NESTED = {"_id": 1, "a": 2, "b": {"c": 3, "d": {"e": 4, "f": 5}}, "l": [{"x": 1, "y": 2}, 3, [{"x": 4}]]}


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        (("a",), {"a": 2}),
        (("b.d.e", "_id"), {"_id": 1, "b": {"d": {"e": 4}}}),
        (("b.d", "b.d.e"), {"b": {"d": {"e": 4, "f": 5}}}),
        (("l.x",), {"l": [{"x": 1}, [{"x": 4}]]}),
        (("a.x", "no"), {}),
    ],
)
def test_only_some_fields_are_kept(only: tuple[str, ...], expected: dict[str, Any]) -> None:
    assert shaped(NESTED, only=only) == expected


@pytest.mark.parametrize(
    ("omit", "expected"),
    [
        (("a", "l", "b"), {"_id": 1}),
        (("b.d.e", "l", "a"), {"_id": 1, "b": {"c": 3, "d": {"f": 5}}}),
        (("l.x", "b", "a.x", "no"), {"_id": 1, "a": 2, "l": [{"y": 2}, 3, [{}]]}),
        (("b", "b.d", "a", "l"), {"_id": 1}),
    ],
)
def test_some_fields_are_left_out(omit: tuple[str, ...], expected: dict[str, Any]) -> None:
    assert shaped(NESTED, omit=omit) == expected


def test_renames_come_first_then_only_then_omit_then_the_model() -> None:
    document = {**STUDENT, "mail": "ada@shop.local", "more": 1}
    del document["email"]
    plan = {
        "rename": (("mail", "email"),),
        "only": ("name", "email", "course", "gpa", "x"),
        "model": "students",
    }
    assert shaped({**document, "x": 1}, **plan, omit=("x",)) == STUDENT


PATHS = st.lists(st.sampled_from(["a", "b", "a.b", "a.b.c", "b.a", "c"]), max_size=3, unique=True).map(tuple)
DOCUMENTS = st.recursive(
    st.integers() | st.lists(st.integers(), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from(["a", "b", "c"]), inner) | st.lists(inner, max_size=2),
).filter(lambda value: isinstance(value, dict))


@given(DOCUMENTS, PATHS.filter(bool))
def test_what_is_kept_and_what_is_left_out(document: dict[str, Any], paths: tuple[str, ...]) -> None:
    kept, left = shaped(document, only=paths), shaped(document, omit=paths)
    assert shaped(kept, only=paths) == kept
    assert shaped(left, omit=paths) == left
    for name, value in document.items():
        if name in paths:
            assert (kept[name], name in left) == (value, False)
        elif not any(path.startswith(f"{name}.") for path in paths):
            assert (name in kept, left[name]) == (False, value)
    assert list(left) == [name for name in document if name in left]


# -- models -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "document"),
    [
        ("students", STUDENT),
        ("students", {"_id": "anything", **STUDENT, "gpa": 4}),
        ("students", {**STUDENT, "gpa": Int64(4)}),
        ("users", USER),
        ("users", {**USER, "bio": None, "active": False, "last_login": DatetimeMS(0)}),
        ("orders", ORDER),
        ("orders", {**ORDER, "amount": 2.5, "qty": Int64(1), "product": "x"}),
        ("orders", {**ORDER, "amount": 0}),
    ],
)
def test_what_fits_is_stored_as_it_stood(model: str, document: dict[str, Any]) -> None:
    got = shaped(document, model=model)
    assert [(name, type(value), value) for name, value in got.items()] == [
        (name, type(value), value) for name, value in document.items()
    ]


@pytest.mark.parametrize(
    ("model", "changes", "field", "reason"),
    [
        ("students", {"gpa": 4.5}, "gpa", "must be less than or equal to 4 (given 4.5)"),
        ("students", {"gpa": "3.5"}, "gpa", "must be a valid number (given '3.5')"),
        ("students", {"gpa": None}, "gpa", "must be a valid number"),
        ("students", {"email": "ada"}, "email", "must be something@something.something (given 'ada')"),
        ("students", {"name": 7}, "name", "must be a valid string (given 7)"),
        ("students", {"nick": 7}, "nick", "is not a field"),
        (
            "users",
            {"created_at": "2024-01-01"},
            "created_at",
            "must be a valid datetime (given '2024-01-01')",
        ),
        ("users", {"created_at": DatetimeMS(2**60)}, "created_at", "must be a valid datetime"),
        ("users", {"active": 1}, "active", "must be a valid boolean (given 1)"),
        ("orders", {"user_id": str(ObjectId())}, "user_id", "must be an instance of ObjectId"),
        ("orders", {"qty": 0}, "qty", "must be greater than 0 (given 0)"),
        ("orders", {"qty": 1.0}, "qty", "must be a valid integer (given 1.0)"),
        ("orders", {"amount": "2.50"}, "amount", "must be a number (given '2.50')"),
        ("orders", {"amount": True}, "amount", "must be a number"),
        ("orders", {"amount": Decimal128("NaN")}, "amount", "must be a finite number"),
        ("orders", {"amount": float("inf")}, "amount", "must be a finite number"),
        ("orders", {"status": "paid"}, "status", "must be 'pending', 'completed', 'cancelled' or 'refunded'"),
        ("orders", {"product_id": None}, None, "neither product_id nor product is given"),
    ],
)
def test_what_does_not_fit_names_its_field(
    model: str, changes: dict[str, Any], field: str | None, reason: str
) -> None:
    whole = {"students": STUDENT, "users": USER, "orders": ORDER}[model]
    stage, got, why = refused({**whole, **changes}, model=model)
    assert (stage, got) == ("model", field)
    assert why.startswith(reason)


def test_all_reasons_are_told() -> None:
    reasons = (
        "name: must have at least 1 character (given ''); email: is missing; course: is missing; "
        "gpa: must be less than or equal to 4 (given 5); x: is not a field"
    )
    assert refused({"name": "", "gpa": 5, "x": 1}, model="students") == ("model", "name", reasons)


def test_the_sample_data_fit_their_models() -> None:
    for model, lines in (("users", sample.customers()), ("orders", sample.orders(50))):
        for line in lines:
            shaped(loads(line), model=model)
