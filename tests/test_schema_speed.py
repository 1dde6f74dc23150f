"""What a plan costs in round trips, however long one takes: one for all, a fixed number for each collection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pymongo
import pytest
from proxy import delaying

if TYPE_CHECKING:
    from collections import Counter
    from pathlib import Path

    from conftest import Runner
    from proxy import Delaying

    SyncDatabase = pymongo.database.Database[dict[str, Any]]

ROUND_TRIP = 0.02
FEW, MANY = 8, 40

AT_MOST_ONCE = 6
"""Commands that a plan may send beside those for each collection, whatever the size."""

MOST_EACH = 5
"""Commands for a collection that is to get a unique index: what is there, how large it is, who shares a value."""

MOST_UNDER_WAY = 16

INDEXES = "[{keys: {a: 1}}, {keys: {b: 1}}, {keys: {c: 1}}]"
MORE = "[{keys: {a: 1}}, {keys: {b: 1}}, {keys: {c: 1}}, {keys: {d: 1}, unique: true}]"


def watched(cli: Runner, db: SyncDatabase, *arguments: str) -> Delaying:
    """Run the program through a proxy; return what it saw."""
    address = db.client.primary
    assert address is not None
    with delaying(*address, round_trip=ROUND_TRIP) as proxy:
        # Patient: a program that asks for a sign of life sends one command more.
        result = cli(*arguments, "-o", "json", "--timeout", "60", env={"MOTORCTL_URI": proxy.uri})
        assert result.code == 0, result.stderr
    return proxy


def fill(db: SyncDatabase, numbers: range) -> None:
    keys = [pymongo.IndexModel(name) for name in "abc"]
    for number in numbers:
        db[f"c{number}"].create_indexes(keys)
        db[f"c{number}"].insert_one({})


def manifest(folder: Path, collections: int, indexes: str) -> str:
    file = folder / f"{collections}.yaml"
    lines = [f"  c{number}: {{indexes: {indexes}}}" for number in range(collections)]
    file.write_text("\n".join(["collections:", *lines]))
    return str(file)


@pytest.mark.parametrize("verb", ["plan", "check"])
def test_one_round_trip_for_all_and_one_for_each_collection(
    cli: Runner, sync_db: SyncDatabase, tmp_path: Path, verb: str
) -> None:
    seen: dict[int, Counter[str]] = {}
    for before, collections in ((0, FEW), (FEW, MANY)):
        fill(sync_db, range(before, collections))
        seen[collections] = watched(
            cli, sync_db, "schema", verb, manifest(tmp_path, collections, INDEXES)
        ).commands
    assert seen[MANY]["listCollections"] == 1
    assert seen[MANY]["listIndexes"] == MANY
    assert seen[MANY] - seen[FEW] == {"listIndexes": MANY - FEW}
    assert seen[MANY].total() - MANY <= AT_MOST_ONCE


def test_looking_into_the_data_costs_a_fixed_number_for_each_collection(
    cli: Runner, sync_db: SyncDatabase, tmp_path: Path
) -> None:
    seen: dict[int, Counter[str]] = {}
    for before, collections in ((0, FEW), (FEW, MANY)):
        fill(sync_db, range(before, collections))
        file = manifest(tmp_path, collections, MORE)
        seen[collections] = watched(cli, sync_db, "schema", "plan", file).commands
    each = {name: number / (MANY - FEW) for name, number in (seen[MANY] - seen[FEW]).items()}
    assert all(number.is_integer() for number in each.values()), each
    assert each["aggregate"] >= 1, "nobody looked for duplicates"
    assert sum(each.values()) <= MOST_EACH
    assert seen[MANY].total() - sum(each.values()) * MANY <= AT_MOST_ONCE


def test_collections_are_read_at_once_under_a_limit(
    cli: Runner, sync_db: SyncDatabase, tmp_path: Path
) -> None:
    fill(sync_db, range(MANY))
    proxy = watched(cli, sync_db, "schema", "plan", manifest(tmp_path, MANY, INDEXES))
    assert 1 < proxy.most_at_once["listIndexes"] <= MOST_UNDER_WAY
    proxy = watched(cli, sync_db, "schema", "plan", manifest(tmp_path, MANY, MORE))
    assert 1 < proxy.most_at_once["aggregate"] <= MOST_UNDER_WAY
    proxy = watched(cli, sync_db, "schema", "dump")
    assert 1 < proxy.most_at_once["listIndexes"] <= MOST_UNDER_WAY
