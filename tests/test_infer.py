"""`motorctl schema infer`: what is proposed fits what was seen, and says how often it was."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from bson import Decimal128, Int64, ObjectId, encode
from bson.raw_bson import RawBSONDocument
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pymongo.errors import OperationFailure
from strategies import deprecated_documents, documents

from motorctl import manifest
from motorctl.core import extjson
from motorctl.core.infer import Proposal, Seen, propose, sample
from motorctl.core.json_schema import problems

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Runner
    from pymongo.database import Database as SyncDatabase_

    from motorctl.client import Database

    SyncDatabase = SyncDatabase_[dict[str, Any]]


NON_CONFORMANT = 378


def seen_in(*those: dict[str, Any]) -> Seen:
    seen = Seen()
    for document in those:
        seen.add(3, encode(document))
    return seen


def proposed(*those: dict[str, Any], **wishes: bool) -> Proposal:
    return propose(seen_in(*those), **wishes)


def test_types_and_what_all_have() -> None:
    proposal = proposed(
        {"_id": 1, "a": "x", "b": 1}, {"_id": 2, "a": None, "b": 2}, {"_id": 3, "b": 2.5, "a": "y"}
    )
    assert proposal.schema == {
        "bsonType": "object",
        "required": ["a", "b"],
        "properties": {
            "_id": {"bsonType": "int"},
            "a": {"bsonType": ["string", "null"]},
            "b": {"bsonType": ["int", "double"]},
        },
    }
    assert proposal.comments["properties", "a"] == "in all 3: string 2, null 1"
    assert proposed({"a": 1}, {}).schema == {"bsonType": "object", "properties": {"a": {"bsonType": "int"}}}
    assert proposed({"a": 1}, {}).comments["properties", "a"] == "in 1 of 2: int 1"


def test_documents_in_documents_and_in_arrays() -> None:
    proposal = proposed(
        {"o": {"x": 1, "y": 1}, "l": [{"sku": "a", "qty": 1}, {"sku": "b"}]},
        {"o": {"x": "z"}, "l": []},
        {"o": 5},
    )
    assert proposal.schema["properties"] == {
        "o": {
            "bsonType": ["object", "int"],
            "required": ["x"],
            "properties": {"x": {"bsonType": ["int", "string"]}, "y": {"bsonType": "int"}},
        },
        "l": {
            "bsonType": "array",
            "items": {
                "bsonType": "object",
                "required": ["sku"],
                "properties": {"sku": {"bsonType": "string"}, "qty": {"bsonType": "int"}},
            },
        },
    }
    assert proposal.comments["properties", "l", "items"] == "2 items: object 2"
    assert proposal.comments["properties", "o", "properties", "y"] == "in 1 of 2: int 1"


def test_keys_that_are_data_make_a_map() -> None:
    those = [{"_id": n, "by_day": {f"d{n}-{m}": m for m in range(5)}} for n in range(40)]
    rule = proposed(*those).schema["properties"]["by_day"]
    assert rule == {"bsonType": "object", "additionalProperties": {"bsonType": "int"}}
    # Many fields that all documents have are a schema.
    wide = {"o": {f"f{n}": n for n in range(200)}}
    assert len(proposed(wide, wide).schema["properties"]["o"]["required"]) == 200


def test_enumerations_and_ranges_only_when_they_are_asked_for() -> None:
    those = [
        {
            "s": ["new", "paid"][n % 2],
            "n": n,
            "d": Decimal128(f"{n}.50"),
            "free": f"text {n}",
            "i": Int64(n % 2) if n % 3 else n % 2,
        }
        for n in range(30)
    ]
    plain = proposed(*those).schema["properties"]
    assert all(not {"enum", "minimum", "maximum", "pattern"} & rule.keys() for rule in plain.values())
    listed = proposed(*those, enums=True).schema["properties"]
    assert sorted(listed["s"]["enum"]) == ["new", "paid"]
    assert sorted(listed["i"]["enum"]) == [0, 1]
    assert "enum" not in listed["free"] | listed["n"] | listed["d"]
    ranged = proposed(*those, ranges=True).schema["properties"]
    assert (ranged["n"]["minimum"], ranged["n"]["maximum"]) == (0, 29)
    assert (ranged["d"]["minimum"], ranged["d"]["maximum"]) == (Decimal128("0.50"), Decimal128("29.50"))
    assert "minimum" not in ranged["s"]
    assert "minimum" not in proposed({"n": 1}, {"n": float("nan")}, ranges=True).schema["properties"]["n"]


def test_names_that_no_rule_can_say_are_left_out() -> None:
    proposal = proposed({"a.b": 1, "": 2, "o": {"$x": 1}, "c": 3})
    assert list(proposal.schema["properties"]) == ["o", "c"]
    assert proposal.schema["properties"]["o"] == {"bsonType": "object"}
    assert "not all fields" in proposal.comments["properties",]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(documents() | deprecated_documents(), min_size=1, max_size=8), st.booleans(), st.booleans())
async def test_each_document_of_the_sample_fits(
    db: Database, those: list[dict[str, Any]], enums: bool, ranges: bool
) -> None:
    """On the server too, and after the way through a manifest's text."""
    await db.drop_collection("c")
    raws = [extjson.encode({**document, "_id": ObjectId()}) for document in those * 3]
    try:
        await db["c"].insert_many([RawBSONDocument(raw) for raw in raws])
    except OperationFailure as error:
        # Newer servers look into compressed columns (a subtype of binary data), and these are none.
        assume(error.code != NON_CONFORMANT)
        raise
    seen = await sample(db, "c", 1000)
    assert seen.count == len(raws)
    proposal = propose(seen, enums=enums, ranges=ranges)
    expression = {"$jsonSchema": proposal.schema}
    assert problems(expression) == []
    assert await db["c"].count_documents({"$nor": [expression]}) == 0
    text = manifest.dump_yaml(extjson.to_json_value({"collections": {"c": {"validator": expression}}}))
    (loaded,) = manifest.load(["-"], io.BytesIO(text.encode()))
    assert loaded.validator is not None
    assert await db["c"].count_documents({"$nor": [loaded.validator.expression]}) == 0


def test_the_manifest_can_be_applied_as_it_is(cli: Runner, sync_db: SyncDatabase, tmp_path: Path) -> None:
    sync_db.create_collection("users", capped=True, size=4096)
    sync_db["users"].create_index("email", unique=True)
    sync_db["users"].insert_many([{"_id": n, "email": f"{n}@x", "age": n} for n in range(10)])
    done = cli("schema", "infer", "users", "--ranges")
    assert done.code == 0
    assert done.stdout.startswith("# A proposal, from 10 documents of users: read it and change it")
    assert "# in all 10: string 10" in done.stdout
    file = tmp_path / "users.yaml"
    file.write_text(done.stdout)
    plan = cli("schema", "plan", str(file), "-o", "json").json()
    changes = [(c["kind"], c["action"]) for c in plan["changes"] if c["action"] != "keep"]
    assert changes == [("validator", "create")]
    assert cli("schema", "apply", str(file)).code == 0
    shown = cli("validators", "show", "users", "-o", "json").json()
    assert (shown["validationLevel"], shown["validationAction"]) == ("moderate", "warn")
    assert shown["validator"]["$jsonSchema"]["properties"]["age"] == {
        "bsonType": "int",
        "minimum": 0,
        "maximum": 9,
    }
    assert cli("validators", "check", "users").code == 0
    again = cli("schema", "infer", "users", "-o", "json")
    assert list(again.json()["collections"]["users"]) == [
        *("capped", "size", "validator", "validationLevel", "validationAction", "indexes")
    ]
    assert "has a validator" in again.stderr


def test_a_sample_is_no_more_than_was_asked_for(cli: Runner, sync_db: SyncDatabase) -> None:
    sync_db["c"].insert_many([{"n": n} for n in range(50)])
    assert "from 7 documents" in cli("schema", "infer", "c", "--sample", "7").stdout


def test_what_there_is_nothing_to_infer_from(cli: Runner, sync_db: SyncDatabase) -> None:
    sync_db.create_collection("empty")
    sync_db.create_collection("seen", viewOn="empty", pipeline=[])
    assert cli("schema", "infer", "nope").code == 5
    empty = cli("schema", "infer", "empty")
    assert (empty.code, "is empty" in empty.stderr) == (1, True)
    view = cli("schema", "infer", "seen")
    assert (view.code, "is a view" in view.stderr) == (2, True)
    assert cli("schema", "infer", "empty", "-o", "csv").code == 2
