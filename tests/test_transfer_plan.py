"""Which transfers are made and which are refused: the plan, a pure function. No money is made or lost in it."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING, Any

import pytest
from bson import Binary, Decimal128, Int64, ObjectId
from hypothesis import given
from hypothesis import strategies as st

from motorctl.core.transfers import adoption, ledger, request
from motorctl.core.transfers.ledger import Account
from motorctl.core.transfers.plan import Plan, plan
from motorctl.core.transfers.request import Request
from motorctl.errors import MotorctlError, NotFoundError, RefusedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NOW = datetime(2026, 11, 21, 10, 30, tzinfo=UTC)
OID = ObjectId("64b7f0c2a1b2c3d4e5f60718")


def account(id: Any, balance: str, **facts: Any) -> Account:
    facts = {"currency": "EUR", "opening": Decimal(balance), **facts}
    return Account(id, Decimal(balance), stored=Decimal128(balance), **facts)


def ask(key: str, source: Any, target: Any, amount: str, **facts: Any) -> Request:
    return Request(key, source, target, Decimal(amount), **facts)


def planned(
    requests: Sequence[Request],
    *accounts: Account | RefusedError,
    recorded: Mapping[str, Mapping[str, Any]] | None = None,
) -> Plan:
    by_id = {a.id if isinstance(a, Account) else a.details["account"]: a for a in accounts}
    return plan(requests, by_id, recorded or {}, NOW)


def refusal(
    wanted: Request, *accounts: Account | RefusedError, recorded: dict[str, Any] | None = None
) -> MotorctlError:
    made = planned([wanted], *accounts, recorded=recorded)
    assert not made.records
    assert not made.moved
    found = made.outcomes[0].refused
    assert found is not None
    return found


def test_a_record_has_both_balances_after_it_and_the_number_of_its_entry() -> None:
    made = planned(
        [ask("k", "a", "b", "12.5", note="rent")], account("a", "100.00", entries=4), account("b", "0")
    )
    assert made.records == [
        {
            "_id": "k",
            "from": "a",
            "to": "b",
            "amount": Decimal128("12.50"),
            "currency": "EUR",
            "note": "rent",
            "created_at": NOW,
            "from_balance": Decimal128("87.50"),
            "to_balance": Decimal128("12.50"),
            "from_entry": 5,
            "to_entry": 1,
        }
    ]
    assert [(before.id, after.balance, after.entries) for before, after in made.moved] == [
        ("a", Decimal("87.50"), 5),
        ("b", Decimal("12.50"), 1),
    ]


def test_requests_are_decided_in_their_order_each_on_what_is_left() -> None:
    accounts = account("a", "10.00"), account("b", "0.00"), account("c", "0.00")
    there = [ask("1", "a", "b", "10.00"), ask("2", "b", "c", "10.00")]
    assert [o.refused for o in planned(there, *accounts).outcomes] == [None, None]
    back = planned(there[::-1], *accounts).outcomes
    assert isinstance(back[0].refused, RefusedError)
    assert back[1].refused is None


def test_a_refused_request_leaves_the_others_alone() -> None:
    wanted = [
        ask("1", "a", "b", "1"),
        ask("2", "a", "b", "1000"),
        ask("3", "a", "x", "1"),
        ask("4", "b", "a", "2"),
    ]
    made = planned(wanted, account("a", "10.00", entries=1), account("b", "1.00"))
    assert [record["_id"] for record in made.records] == ["1", "4"]
    assert [record["from_entry"] for record in made.records] == [2, 2]
    assert [bool(o.refused) for o in made.outcomes] == [False, True, True, False]


@pytest.mark.parametrize(
    ("wanted", "accounts", "kind", "said"),
    [
        (ask("k", "a", "b", "10.01"), [account("a", "10.00"), account("b", "0")], RefusedError, "account a has 10.00 EUR, not 10.01"),
        (ask("k", "a", "b", "1"), [account("a", "10.00")], NotFoundError, "no account b"),
        (ask("k", "x", "a", "1"), [account("a", "10.00")], NotFoundError, "no account x"),
        (ask("k", "a", "a", "1"), [account("a", "10.00")], UsageError, "two accounts"),
        (ask("k", str(OID), OID, "1"), [account(OID, "10.00")], UsageError, "two accounts"),
        (ask("k", "a", "b", "1"), [account("a", "9", status="frozen"), account("b", "9")], RefusedError, "account a is frozen"),
        (ask("k", "a", "b", "1"), [account("a", "9"), account("b", "9", status="closed")], RefusedError, "account b is closed"),
        (ask("k", "a", "b", "1"), [account("a", "9", status="active"), account("b", "9")], RefusedError, "the status 'active'"),
        (ask("k", "a", "b", "1"), [account("a", "9"), account("b", "9", currency="USD")], RefusedError, "a is in EUR, b is in USD"),
        (ask("k", "a", "b", "1"), [account("a", "9"), account("b", "9", currency=None)], RefusedError, "b has no currency"),
        (ask("k", "a", "b", "1.001"), [account("a", "9"), account("b", "9")], UsageError, "EUR takes 2 digits"),
        (ask("k", "a", "b", "1.5"), [account("a", "9", currency="JPY"), account("b", "9", currency="JPY")], UsageError, "JPY takes no digits"),
        (ask("k", str(OID), "b", "1"), [account(OID, "9"), account(str(OID), "9"), account("b", "9")], RefusedError, "2 accounts 64b7f0c2a1b2c3d4e5f60718: their ids are of different types, text and ObjectId"),
        (ask("k", "7", "b", "1"), [account(7, "9"), account("7", "9"), account("b", "9")], RefusedError, "text and number"),
        (ask("k", "a", "b", "1"), [RefusedError("unfit", account="a"), account("b", "9")], RefusedError, "unfit"),
        (ask("k", "a", "b", "0.01"), [account("a", "1"), account("b", "9" * 34)], RefusedError, "more than 34 digits"),
    ],
)  # fmt: skip
def test_what_is_refused(
    wanted: Request, accounts: list[Account | RefusedError], kind: type[MotorctlError], said: str
) -> None:
    found = refusal(wanted, *accounts)
    assert type(found) is kind
    assert said in found.message


@pytest.mark.parametrize("currency", ["KWD", "kwd"])
def test_a_currency_may_have_other_digits_and_its_case_means_nothing(currency: str) -> None:
    made = planned(
        [ask("k", "a", "b", "1.001")], account("a", "9", currency="KWD"), account("b", "0", currency=currency)
    )
    assert made.records[0]["amount"] == Decimal128("1.001")


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        (str(OID), OID),
        (str(OID).upper(), OID),
        ("1017", Int64(1017)),
        ("1017", 1017),
        (
            "0d1b9c4e-6f3a-4b52-9d57-2a1f5e8c7b60",
            Binary(bytes.fromhex("0d1b9c4e6f3a4b529d572a1f5e8c7b60"), 4),
        ),
        (OID, OID),
    ],
)
def test_a_typed_id_finds_the_account_whatever_its_type(typed: Any, stored: Any) -> None:
    made = planned([ask("k", typed, "b", "1")], account(stored, "9"), account("b", "0"))
    assert made.records[0]["from"] == stored
    assert type(made.records[0]["from"]) is type(stored)


@pytest.mark.parametrize("typed", ["007", "+7", "7.0", "", "a", str(2**63), "1" * 5000, "²"])
def test_other_texts_are_texts_alone(typed: str) -> None:
    assert ledger.candidates(typed) == [typed]


RECORD = {
    "_id": "k",
    "from": "a",
    "to": "b",
    "amount": Decimal128("10.00"),
    "note": "rent",
    "created_at": NOW,
}


@pytest.mark.parametrize("amount", ["10", "10.0", "10.00"])
def test_the_same_key_with_the_same_arguments_is_answered_with_its_record(amount: str) -> None:
    # frozen, empty and gone meanwhile: what was done was done
    for accounts in ([], [account("a", "0.00", status="frozen"), account("b", "0.00")]):
        made = planned([ask("k", "a", "b", amount, note="rent")], *accounts, recorded={"k": RECORD})
        (outcome,) = made.outcomes
        assert (outcome.record, outcome.replayed, outcome.refused) == (RECORD, True, None)
        assert not made.records


@pytest.mark.parametrize(
    ("wanted", "differs", "said"),
    [
        (ask("k", "c", "b", "10", note="rent"), ["from"], "from a, not c"),
        (ask("k", "a", "c", "10", note="rent"), ["to"], "to b, not c"),
        (ask("k", "a", "b", "10.01", note="rent"), ["amount"], "amount 10.00, not 10.01"),
        (ask("k", "a", "b", "10"), ["note"], "note rent, not none"),
        (ask("k", "a", "b", "10", note="rent", reverses="x"), ["reverses"], "reverses none, not x"),
        (ask("k", "b", "a", "11"), ["from", "to", "amount", "note"], "; note rent, not none"),
    ],
)
def test_the_same_key_with_other_arguments_is_refused(wanted: Request, differs: list[str], said: str) -> None:
    found = refusal(
        wanted, account("a", "99"), account("b", "99"), account("c", "99"), recorded={"k": RECORD}
    )
    assert found.details["differs"] == differs
    assert said in found.message


def test_a_key_that_comes_twice_is_made_once() -> None:
    twice = [ask("k", "a", "b", "10"), ask("k", "a", "b", "10.00"), ask("k", "a", "b", "11")]
    made = planned(twice, account("a", "99"), account("b", "0"))
    assert len(made.records) == 1
    assert [(o.replayed, bool(o.refused)) for o in made.outcomes] == [
        (False, False),
        (True, False),
        (False, True),
    ]


def test_a_key_whose_request_was_refused_stays_free() -> None:
    made = planned(
        [ask("k", "a", "b", "100"), ask("k", "a", "b", "10")], account("a", "50"), account("b", "0")
    )
    assert [bool(o.refused) for o in made.outcomes] == [True, False]
    assert len(made.records) == 1


def test_a_replay_has_the_record_and_names_what_differs_from_it() -> None:
    (record,) = planned(
        [ask("k", "a", "b", "10", reverses="x")], account("a", "100"), account("b", "0")
    ).records
    same = planned([ask("k", "a", "b", "10", reverses="x")], recorded={"k": record}).outcomes
    assert [(one.record, one.replayed, one.request.key) for one in same] == [(record, True, "k")]
    error = refusal(ask("k", "a", "b", "10", note="a b", reverses="y"), recorded={"k": record})
    assert error.message == (
        "the key k was used for another transfer: note none, not 'a b'; reverses x, not y"
    )
    assert error.details == {"key": "k", "differs": ["note", "reverses"]}


def test_what_is_kept_back_keeps_what_was_there_before() -> None:
    accounts = account("a", "100"), account("b", "0")
    (record,) = planned([ask("old", "a", "b", "1")], *accounts).records
    wanted = [ask("old", "a", "b", "1"), ask("new", "a", "b", "2"), ask("much", "a", "b", "999")]
    made = planned(wanted, *accounts, recorded={"old": record})
    assert made.refused
    kept = made.kept_back()
    assert [(one.request.key, one.record, one.replayed) for one in kept] == [
        ("old", record, True),
        ("new", None, False),
        ("much", None, False),
    ]
    assert [one.refused is not None for one in kept] == [False, False, True]


def test_a_record_that_is_no_transfer_of_ours_is_never_the_same() -> None:
    strange = {"_id": "k", "from": "a", "amount": "ten"}
    assert refusal(ask("k", "a", "b", "10"), recorded={"k": strange}).details["differs"] == ["to", "amount"]


def test_a_reversal_takes_back_all_the_digits_that_were_moved() -> None:
    back = ask("k/reversal", "b", "a", "1.005", reverses="k")
    made = planned([back], account("a", "0.00"), account("b", "5.000"))
    assert made.records[0]["amount"] == Decimal128("1.005")
    assert made.records[0]["reverses"] == "k"


def test_balances_of_more_digits_than_python_counts_with_stay_exact() -> None:
    large = "12345678901234567890123456789012.34"
    made = planned(
        [ask("k", "a", "b", "12345678901234567890123456789012.33")], account("a", large), account("b", "0.00")
    )
    assert made.records[0]["from_balance"] == Decimal128("0.01")
    assert made.records[0]["to_balance"] == Decimal128("12345678901234567890123456789012.33")


NAMES = st.sampled_from(["a", "b", "c", "d", "e"])
CENTS = st.one_of(st.integers(1, 500), st.integers(1, 10**33 - 1)).map(
    lambda cents: Decimal(cents).scaleb(-2)
)
OPENINGS = st.fixed_dictionaries({name: st.integers(0, 10**33 - 1) for name in "abcd"})
REQUESTS = st.lists(st.builds(ask, st.integers(0, 12).map(str), NAMES, NAMES, CENTS.map(str)), max_size=25)


def exactly(values: list[Decimal]) -> Decimal:
    with localcontext() as context:
        context.prec = 200
        return sum(values, Decimal(0))


@given(OPENINGS, REQUESTS)
def test_no_money_is_made_or_lost(openings: dict[str, int], requests: list[Request]) -> None:
    accounts = [account(name, f"{Decimal(cents).scaleb(-2):f}") for name, cents in openings.items()]
    made = planned(requests, *accounts)

    before, after = ([a.balance for a in side.values()] for side in (made.before, made.after))
    assert exactly(before) == exactly(after)
    assert min(after) >= 0
    assert len({record["_id"] for record in made.records}) == len(made.records)
    for one in made.after.values():
        moved = [
            record["amount"].to_decimal()
            if record["to"] == one.id
            else record["amount"].to_decimal().copy_negate()
            for record in made.records
            if one.id in (record["from"], record["to"])
        ]
        assert one.opening is not None
        assert one.balance == exactly([one.opening, *moved])
        assert one.entries == len(moved)
        numbers = [r[f"{s}_entry"] for r in made.records for s in ("from", "to") if r[s] == one.id]
        assert numbers == list(range(1, one.entries + 1))


@given(OPENINGS, REQUESTS, st.integers(0, 25))
def test_requests_in_two_transactions_come_out_as_in_one(
    openings: dict[str, int], requests: list[Request], cut: int
) -> None:
    accounts = {name: account(name, f"{Decimal(cents).scaleb(-2):f}") for name, cents in openings.items()}
    at_once = plan(requests, accounts, {}, NOW)
    first = plan(requests[:cut], accounts, {}, NOW)
    second = plan(requests[cut:], first.after, {r["_id"]: r for r in first.records}, NOW)

    assert first.records + second.records == at_once.records
    assert second.after == at_once.after
    both = [*first.outcomes, *second.outcomes]
    assert [(o.record, o.replayed, str(o.refused)) for o in both] == [
        (o.record, o.replayed, str(o.refused)) for o in at_once.outcomes
    ]


@given(OPENINGS, REQUESTS)
def test_what_was_made_is_replayed_and_changes_nothing(
    openings: dict[str, int], requests: list[Request]
) -> None:
    accounts = {name: account(name, f"{Decimal(cents).scaleb(-2):f}") for name, cents in openings.items()}
    first = plan(requests, accounts, {}, NOW)
    done = [o.request for o in first.outcomes if o.record]
    again = plan(done, first.after, {r["_id"]: r for r in first.records}, NOW)

    assert not again.records
    assert not again.moved
    assert all(outcome.replayed for outcome in again.outcomes)
    assert [o.record for o in again.outcomes] == [o.record for o in first.outcomes if o.record]


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("", "is empty"),
        (" k", "blanks around it"),
        ("k\n", "can't be seen"),
        ("a\u200bb", "can't be seen"),
        ("k" * 256, "longer than 255 bytes"),
        ("ä" * 128, "longer than 255 bytes"),
        ("-k", "begins with -"),
        ("k/reversal", "ends in /reversal"),
        ("\ud800", "can't be seen"),
    ],
)
def test_a_key_that_could_not_be_typed_again(key: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        request.checked_key(key)


@pytest.mark.parametrize(
    "key", ["k", "rent 2026-11", "x" * 255, "Miete/Nr. 7 ü", "64b7f0c2a1b2c3d4e5f60718", "'; --"]
)
def test_a_key_is_taken_as_it_is(key: str) -> None:
    assert request.checked_key(key) == key


def group(account: str, total: Any, *, given: bool = True, **facts: Any) -> dict[str, Any]:
    kind = {"account": account, "given": given, "number": True, "negative": False, "inexact": False}
    return {"_id": kind | facts.pop("kind", {}), "total": total, "last": None, "key": "k", **facts}


def test_what_older_records_moved_is_summed_by_side() -> None:
    groups = [
        group("a", Decimal128("10.005")),
        group("a", Decimal128("3.000000000"), given=False, last=7),
        group("a", Decimal128("0.00"), last=4),
    ]
    moved = adoption.read(groups, 2)
    assert (str(moved.total), moved.last) == ("7.005", 7)


@pytest.mark.parametrize(
    "broken",
    [
        group("a", Decimal128("0"), kind={"number": False}),
        group("a", Decimal128("1.5"), kind={"inexact": True}),
        group("a", Decimal128("NaN")),
        group("a", Decimal128("1234567890123456789012345678901234")),
    ],
)
def test_older_records_that_have_no_exact_sum_are_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(RefusedError):
        adoption.read([group("a", Decimal128("1.00")), broken], 2)
