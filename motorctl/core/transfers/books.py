"""The pass of `verify` over accounts and ledger, on the server: pipelines, and nothing else. Pure.

One scan of the ledger, an unwind to its two sides, groups by account. What comes back is a row for each account
in which something may be wrong, with its figures, and one row for all the others of a currency: so the answer is
short and the client's memory flat, however long the ledger is. A row is a suspicion, and `examine` judges: the
sums here are made so that they are exact or look wrong, and never wrong and look right.

- An amount counts as a decimal if it is more than 0, below 10^15 and a multiple of 10^-8; a double also if its 15
  digits read back as that double. All others count as NaN, which no sum gets rid of. 10^10 such amounts have 33
  digits: `$sum`, which rounds at the 34th, never does.
- Entries 1..n, none missing, none twice, are proved by counting: 48 of them make a block, and an entry adds
  2^56 + 2^(its place in the block). k powers of two that sum up to 2^k - 1 are the first k, each once.
- Balances in the records: before(e) = after(e - 1) for each entry, the opening for the first, the account's balance
  after the last. The server sees no neighbours, but whatever the weights r, it follows that the sum of
  r(e + 1) * after(e) - r(e) * before(e) is r(n + 1) * balance - r(1) * opening. With squares as weights one balance that was
  changed is always found; several are, unless their errors cancel out under these weights. An account with
  records of other programs is left out: when they moved its balance, nobody knows.

Chosen by the server's processor time for 1,000,000 records (mongod 6.0.5), of 10,000 accounts with 200 entries each
| of 250,000 with 8. This: 7.4 s | 12.7 s, of which the balances in the records are 1.5 s. Without them, other ways:
two scans, grouped by `from` and by `to` (no unwind, and the newer engine where it can), and the groups grouped again
5.3 s | 36.5 s; one scan with {account, block} as the key of all entries, not only of those beyond the first block
5.3 s | 22.9 s; this 5.2 s | 8.7 s. More accounts than have room in the 100 MB of a `$group` go to disk, and long keys
do so sooner. `tests/benchmarks/verify.py`, 10,000,000 records on two cores that had other work: 117 s with 100,000
accounts, 204 s with 2,500,000. The client has 31 MB, the server 0.75 GB, 0.5 of them its cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bson import Decimal128, Int64

from motorctl.core.transfers.ledger import ACCOUNTS, TRANSFERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    Stages = list[dict[str, Any]]

CLEAN, SUSPECT = "clean", "account"
"""The `_id` of a row has one of them: a currency's accounts that are in order, or the account that may not be."""

_NAN = Decimal128("NaN")
_PLAIN = Decimal128("1E+15")
_PLACES = 8
_BLOCK = 48
_ONE = Int64(2**56)


def survey() -> Stages:
    """Return the pipeline over the ledger and the accounts."""
    return [
        {"$set": {"m": {"$cond": [{"$eq": ["$from", "$to"]}, _NAN, _amount("$amount", low=0)]}}},
        {"$project": {"_id": 0, "side": [_side("from", paid=True), _side("to", paid=False)]}},
        {"$unwind": "$side"},
        {
            "$group": {
                "_id": "$side.block",
                "moved": {"$sum": "$side.moved"},
                "chain": {"$sum": "$side.chain"},
                "sides": {"$sum": 1},
                "marks": {"$sum": "$side.mark"},
            }
        },
        {"$set": {"own": {"$floor": {"$divide": ["$marks", _ONE]}}, "bits": {"$mod": ["$marks", _ONE]}}},
        {"$unionWith": {"coll": ACCOUNTS, "pipeline": _accounts()}},
        {
            "$group": {
                "_id": {"$cond": [{"$eq": [{"$type": "$_id"}, "object"]}, "$_id.account", "$_id"]},
                "moved": {"$sum": "$moved"},
                "chain": {"$sum": "$chain"},
                "sides": {"$sum": "$sides"},
                "own": {"$sum": "$own"},
                "uneven": {"$max": {"$ne": ["$bits", {"$subtract": [{"$pow": [2, "$own"]}, 1]}]}},
                "last": {"$max": {"$add": [{"$multiply": [_BLOCK, {"$ifNull": ["$_id.block", 0]}]}, "$own"]}},
                "account": {"$max": "$account"},
            }
        },
        *_judged(),
    ]


def entries(id: Any) -> Stages:
    """Return the pipeline of one account's side of its records, in the order of its entries.

    Each branch of the `$or` has an index of the shipped schema: {from, created_at} and {to, created_at}.
    """
    return [
        {"$match": _of([id])},
        {
            "$project": {
                "amount": 1,
                "side": [
                    {"id": "$from", "entry": "$from_entry", "after": "$from_balance",
                     "other": "$to", "other_entry": "$to_entry", "paid": True},
                    {"id": "$to", "entry": "$to_entry", "after": "$to_balance",
                     "other": "$from", "other_entry": "$from_entry", "paid": False},
                ],
            }
        },
        {"$unwind": "$side"},
        {"$match": {"side.id": id}},
        {"$sort": {"side.entry": 1}},
    ]  # fmt: skip


def reversals(ids: Sequence[Any] | None = None) -> Stages:
    """Return the pipeline of reversals that are no mirror of a transfer, or not its only one."""
    first = {"$arrayElemAt": ["$found", 0]}
    mirrored = {
        "$let": {
            "vars": {"of": first},
            "in": {
                "$and": [
                    {"$eq": ["$count", 1]},
                    {"$eq": ["$$of.from", "$to"]},
                    {"$eq": ["$$of.to", "$from"]},
                    {"$eq": ["$$of.amount", "$amount"]},
                    {"$eq": [{"$ifNull": ["$$of.reverses", None]}, None]},
                ]
            },
        }
    }
    return [
        {"$match": {"reverses": {"$ne": None}, **({} if ids is None else _of(ids))}},
        {
            "$group": {
                "_id": "$reverses",
                "count": {"$sum": 1},
                "key": {"$min": "$_id"},
                "last": {"$max": "$_id"},
                "from": {"$first": "$from"},
                "to": {"$first": "$to"},
                "amount": {"$first": "$amount"},
            }
        },
        {"$lookup": {"from": TRANSFERS, "localField": "_id", "foreignField": "_id", "as": "found"}},
        {"$match": {"$expr": {"$not": [mirrored]}}},
        {"$set": {"found": first}},
    ]


def mixed(currency: Any, side: str, limit: int) -> Stages:
    """Return the pipeline over accounts of a currency: records on that `side` whose other account has another one."""
    other = "to" if side == "from" else "from"
    return [
        {"$match": {"currency": currency}},
        {"$lookup": {"from": TRANSFERS, "localField": "_id", "foreignField": side, "as": "record"}},
        {"$unwind": "$record"},
        {"$lookup": {"from": ACCOUNTS, "localField": f"record.{other}", "foreignField": "_id", "as": "other"}},
        {"$unwind": "$other"},
        {"$match": {"$expr": {"$ne": [{"$ifNull": ["$other.currency", None]}, currency]}}},
        {"$limit": limit},
        {"$project": {"_id": 0, "key": "$record._id", "other": "$other._id", "of": "$other.currency", "id": "$_id"}},
    ]  # fmt: skip


def _of(ids: Sequence[Any]) -> dict[str, Any]:
    return {"$or": [{"from": {"$in": list(ids)}}, {"to": {"$in": list(ids)}}]}


def _side(name: str, *, paid: bool) -> dict[str, Any]:
    """Return what a record says of one of its two accounts; without a number it is another program's."""
    typed, after, account = f"${name}_entry", f"${name}_balance", f"${name}"
    number = {"$and": [{"$gt": [typed, 0]}, {"$in": [{"$type": typed}, ["int", "long"]]}]}
    moved = {"$multiply": ["$m", -1]} if paid else "$m"
    place = {"$subtract": [typed, 1]}
    # A key that is no document takes less room; an id that is one itself has to be told apart.
    document = {"$in": [{"$type": account}, ["object", "array"]]}
    wide = {"$or": [{"$gt": [typed, _BLOCK]}, document]}
    block = {"account": account, "block": {"$floor": {"$divide": [place, _BLOCK]}}}
    # r(e) * (after - moved) - r(e + 1) * after, with the signs turned
    chain = {
        "$add": [{"$multiply": [{"$add": [typed, typed, 1]}, after]}, {"$multiply": [typed, typed, moved]}]
    }
    own = {
        "block": {"$cond": [wide, block, account]},
        "mark": {"$add": [_ONE, {"$pow": [2, {"$mod": [place, _BLOCK]}]}]},
        "moved": moved,
        # In the order of BSON nothing but numbers is between 0 and the first text.
        "chain": {"$cond": [{"$and": [{"$gte": [after, 0]}, {"$lt": [after, ""]}]}, chain, _NAN]},
    }
    other = {"block": {"$cond": [document, {"account": account}, account]}, "moved": moved}
    return {"$cond": [number, own, other]}


def _amount(field: str, *, low: int | Decimal128) -> dict[str, Any]:
    """Return the expression of a stored number as a decimal that sums can't round, or NaN."""
    # In the order of BSON nothing but numbers is between two numbers: the others never come to the $round.
    decimal = {"$toDecimal": field}
    exact = {"$or": [{"$ne": [{"$type": field}, "double"]}, {"$eq": [{"$toDouble": decimal}, field]}]}
    plain = [
        {"$gt": [field, low]},
        {"$lt": [field, _PLAIN]},
        {"$eq": [field, {"$round": [field, _PLACES]}]},
        exact,
    ]
    return {"$cond": [{"$and": plain}, decimal, _NAN]}


def _accounts() -> Stages:
    names = ("balance", "opening", "entries", "currency", "status")
    return [
        {
            "$project": {
                "_id": {"account": "$_id"},
                "own": {"$literal": 0},
                "bits": {"$literal": 0},
                "account": {name: f"${name}" for name in names} | {"there": {"$literal": True}},
            }
        }
    ]


def _judged() -> Stages:
    """Return the stages that tell accounts in order from those that may not be, and group the first."""
    lowest = Decimal128("-1E+15")
    following = {"$add": ["$own", 1]}
    chain = {"$subtract": [{"$multiply": [following, following, "$balance"]}, "$opening"]}
    kept = {
        "$and": [
            {"$eq": ["$balance", {"$add": ["$opening", "$moved"]}]},
            {"$eq": ["$last", "$own"]},
            {"$not": ["$uneven"]},
            {"$ne": ["$chain", _NAN]},
            {"$or": [{"$gt": ["$sides", "$own"]}, {"$eq": ["$chain", chain]}]},
        ]
    }
    fine = {
        "$and": [
            {"$gte": ["$balance", 0]},
            {"$ne": ["$moved", _NAN]},
            {"$eq": ["$own", {"$ifNull": ["$account.entries", 0]}]},
            {"$or": ["$before", kept]},
            {"$or": [{"$ne": ["$account.status", "closed"]}, {"$eq": ["$balance", 0]}]},
            {"$in": [{"$type": "$account.currency"}, ["missing", "null", "string"]]},
        ]
    }
    row = {
        **{name: f"$account.{name}" for name in ("balance", "opening", "entries", "currency", "status", "there")},
        "moved": "$moved",
        "own": "$own",
    }  # fmt: skip
    clean = {CLEAN: {"$ifNull": ["$account.currency", None]}}
    return [
        {
            "$set": {
                "balance": _amount("$account.balance", low=lowest),
                "opening": _amount("$account.opening", low=lowest),
                "before": {
                    "$and": [{"$eq": ["$own", 0]}, {"$eq": [{"$ifNull": ["$account.opening", None]}, None]}]
                },
            }
        },
        {"$set": {"fine": fine}},
        {
            "$group": {
                "_id": {"$cond": ["$fine", clean, {SUSPECT: "$_id"}]},
                "accounts": {"$sum": {"$cond": ["$account.there", 1, 0]}},
                "before": {"$sum": {"$cond": [{"$and": ["$account.there", "$before"]}, 1, 0]}},
                "opened": {"$sum": {"$cond": ["$before", {"$subtract": ["$balance", "$moved"]}, "$opening"]}},
                "balance": {"$sum": "$balance"},
                "sides": {"$sum": "$sides"},
                "foreign": {"$sum": {"$subtract": ["$sides", "$own"]}},
                "row": {"$first": {"$cond": ["$fine", None, row]}},
            }
        },
    ]
