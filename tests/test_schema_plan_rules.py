"""The plan's rules that need no server: versions that aren't at hand, names, leftovers, search indexes, the order."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from motorctl.core.schema import Change, Collection, Index, SearchIndex, Server, Validator, in_sync, plan
from motorctl.core.schema.compare import shorten_creation_options
from motorctl.core.schema.model import CREATION_OPTIONS, INDEX_OPTIONS
from motorctl.core.schema.planning.capabilities import COLLECTIONS, INDEXES, SEARCH_INDEXES, VALIDATORS

OLD, NEW = Server((4, 4)), Server((8, 0))
SERIES = {"timeField": "t", "metaField": "m"}


def one(changes: list[Change], kind: str = "index") -> Change:
    (change,) = [change for change in changes if change.kind == kind]
    return change


def there(*collections: Collection) -> dict[str, Collection]:
    return {collection.name: collection for collection in collections}


def changed(before: dict[str, Any], after: dict[str, Any], server: Server = NEW) -> Change:
    """Plan the change of a collection's options."""
    return one(plan(there(Collection("c", before)), [Collection("c", after)], server=server), "collection")


def reasons(change: Change) -> list[str]:
    return [blocker.reason for blocker in change.blockers]


# -- the table --------------------------------------------------------------------------------------------


def test_each_option_has_its_rule() -> None:
    assert INDEXES.keys() == {"keys", "name", *INDEX_OPTIONS}
    assert COLLECTIONS.keys() == CREATION_OPTIONS.keys()
    assert VALIDATORS.keys() == Validator({}).document().keys()
    assert {"name", *SEARCH_INDEXES} == {field.name for field in fields(SearchIndex)}


def test_what_is_refused_says_the_way_out() -> None:
    refused = {name: rule for name, rule in COLLECTIONS.items() if rule.in_place is None}
    assert all(rule.otherwise == "refused" and rule.way_out for rule in refused.values())


# -- versions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "since"),
    [
        ({"timeseries": SERIES}, (5, 0)),
        ({"clusteredIndex": {"key": {"_id": 1}, "unique": True}}, (5, 3)),
        ({"changeStreamPreAndPostImages": {"enabled": True}}, (6, 0)),
        ({"timeseries": {**SERIES, "bucketMaxSpanSeconds": 300, "bucketRoundingSeconds": 300}}, (6, 3)),
    ],
)
def test_an_option_needs_its_version(options: dict[str, Any], since: tuple[int, int]) -> None:
    for version in [(4, 4), (5, 0), (5, 3), (6, 0), (6, 3), (7, 0), (8, 0)]:
        (change,) = plan({}, [Collection("c", options)], server=Server(version))
        assert (change.status == "planned") is (version >= since)
        assert bool(change.commands) is (version >= since)
    (change,) = plan({}, [Collection("c", options)], server=OLD)
    assert f"needs MongoDB {since[0]}.{since[1]} or later, this is MongoDB 4.4" in change.blockers[-1].message


@pytest.mark.parametrize(
    ("index", "since"),
    [
        (Index({"a": 1}, None, {"prepareUnique": True}), (6, 0)),
        (Index({"a": 1, "$**": 1}, None, {"wildcardProjection": {"a": 0}}), (7, 0)),
    ],
)
def test_an_index_needs_its_version(index: Index, since: tuple[int, int]) -> None:
    for version in [(4, 4), (5, 0), (6, 0), (7, 0), (8, 0)]:
        change = one(plan({}, [Collection("c", {}, None, (index,))], server=Server(version)))
        assert (change.status == "planned") is (version >= since)


@pytest.mark.parametrize(
    ("before", "after", "since"),
    [
        ({}, {"unique": True}, (6, 0)),
        ({}, {"prepareUnique": True}, (6, 0)),
        ({}, {"expireAfterSeconds": 60}, (5, 1)),
        ({"expireAfterSeconds": 60}, {"expireAfterSeconds": 90}, (4, 4)),
        ({}, {"hidden": True}, (4, 4)),
    ],
)
def test_from_when_on_an_index_is_changed_in_place(
    before: dict[str, Any], after: dict[str, Any], since: tuple[int, int]
) -> None:
    current = there(Collection("c", {}, None, (Index({"a": 1}, "a_1", before),)))
    for version in [(4, 4), (5, 0), (5, 1), (6, 0), (8, 0)]:
        wanted = [Collection("c", {}, None, (Index({"a": 1}, "a_1", after),))]
        change = one(plan(current, wanted, server=Server(version)))
        assert (change.action == "modify") is (version >= since)


@pytest.mark.parametrize("option", ["unique", "expireAfterSeconds"])
@pytest.mark.parametrize("keys", [{"$**": 1}, {"a.$**": 1}, {"a": "hashed"}])
def test_what_a_server_dies_of_is_never_sent(option: str, keys: dict[str, Any]) -> None:
    current = there(Collection("c", {}, None, (Index(keys, "x"),)))
    wanted = [Collection("c", {}, None, (Index(keys, "x", {option: 60 if option != "unique" else True}),))]
    change = one(plan(current, wanted, server=Server((6, 0))))
    assert change.action == "rebuild"
    assert all("collMod" not in command for command in change.commands)
    assert bool(change.blockers) is not bool(change.commands)


def test_an_index_becomes_unique_in_steps() -> None:
    current = there(Collection("c", {}, None, (Index({"a": 1}, "a_1", {"expireAfterSeconds": 5}),)))
    wanted = [
        Collection(
            "c", {}, None, (Index({"a": 1}, None, {"expireAfterSeconds": 9, "unique": True, "hidden": True}),)
        )
    ]
    assert one(plan(current, wanted)).commands == (
        {"collMod": "c", "index": {"name": "a_1", "expireAfterSeconds": 9, "hidden": True}},
        {"collMod": "c", "index": {"name": "a_1", "prepareUnique": True}},
        {"collMod": "c", "index": {"name": "a_1", "unique": True}},
    )


def test_a_prepared_index_becomes_unique_in_one() -> None:
    current = there(Collection("c", {}, None, (Index({"a": 1}, "a_1", {"prepareUnique": True}),)))
    wanted = [Collection("c", {}, None, (Index({"a": 1}, None, {"unique": True}),))]
    assert one(plan(current, wanted)).commands == (
        {"collMod": "c", "index": {"name": "a_1", "unique": True}},
    )


def test_before_5_0_indexes_of_the_same_keys_stand_in_each_others_way() -> None:
    pair = (Index({"a": 1}), Index({"a": 1}, "filtered", {"partialFilterExpression": {"b": 1}}))
    changes = plan({}, [Collection("c", {}, None, pair)], server=OLD)
    assert [change.status for change in changes] == ["planned", "planned", "blocked"]
    assert changes[2].blockers[0].message == (
        "index filtered beside a_1 of c, which has the same keys, needs MongoDB 5.0 or later, this is MongoDB 4.4"
    )
    assert all(
        not change.blockers for change in plan({}, [Collection("c", {}, None, pair)], server=Server((5, 0)))
    )


# -- options ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "sent"),
    [
        (
            {"timeseries": SERIES},
            {"timeseries": {**SERIES, "bucketMaxSpanSeconds": 7200, "bucketRoundingSeconds": 7200}},
            {"timeseries": {"bucketMaxSpanSeconds": 7200, "bucketRoundingSeconds": 7200}},
        ),
        (
            {"timeseries": {**SERIES, "bucketMaxSpanSeconds": 300, "bucketRoundingSeconds": 300}},
            {"timeseries": {**SERIES, "granularity": "minutes"}},
            {"timeseries": {"granularity": "minutes"}},
        ),
        ({"capped": True, "size": 4096}, {"size": 8192, "max": 5}, {"cappedSize": 8192, "cappedMax": 5}),
        ({"viewOn": "a", "pipeline": [1]}, {"viewOn": "b"}, {"viewOn": "b", "pipeline": []}),
        ({"viewOn": "a", "pipeline": [1]}, {"viewOn": "a"}, {"viewOn": "a", "pipeline": []}),
        (
            {"timeseries": SERIES, "expireAfterSeconds": 5},
            {"expireAfterSeconds": "off"},
            {"expireAfterSeconds": "off"},
        ),
    ],
)
def test_options_as_collmod_takes_them(
    before: dict[str, Any], after: dict[str, Any], sent: dict[str, Any]
) -> None:
    change = changed(before, after)
    assert (change.status, change.commands) == ("planned", ({"collMod": "c", **sent},))


def test_buckets_never_become_shorter() -> None:
    longer = {"timeseries": {**SERIES, "bucketMaxSpanSeconds": 7200, "bucketRoundingSeconds": 7200}}
    assert reasons(changed(longer, {"timeseries": SERIES})) == ["fixed"]
    # The span grows, the rounding doesn't.
    assert reasons(changed(longer, {"timeseries": {**SERIES, "granularity": "minutes"}})) == ["fixed"]


def test_a_server_that_writes_buckets_and_granularity_is_understood() -> None:
    options = {
        "timeseries": {
            **SERIES,
            "granularity": "seconds",
            "bucketMaxSpanSeconds": 3600,
            "bucketRoundingSeconds": 60,
        }
    }
    assert shorten_creation_options(options) == {"timeseries": SERIES}
    own = {"timeseries": {**SERIES, "bucketMaxSpanSeconds": 300, "bucketRoundingSeconds": 300}}
    assert shorten_creation_options(own) == own


def test_capping_names_the_way_out() -> None:
    change = changed({}, {"capped": True, "size": 4096})
    assert [blocker.message for blocker in change.blockers] == ["capped of c can't be changed in place"]
    assert "convertToCapped" in (change.blockers[0].hint or "")


# -- names ------------------------------------------------------------------------------------------------


def test_a_collection_comes_under_its_new_name_with_its_new_options() -> None:
    current = there(Collection("old", {"capped": True, "size": 4096}))
    wanted = [Collection("new", {"size": 8192}, renamed_from="old"), Collection("fresh")]
    changes = plan(current, wanted)
    assert [change.collection for change in changes] == ["new", "fresh"]
    assert (changes[0].action, changes[0].name) == ("modify", "new")
    assert changes[0].before == {"name": "old", "capped": True, "size": 4096}
    assert changes[0].commands == (
        {"renameCollection": "old", "to": "new"},
        {"collMod": "new", "cappedSize": 8192},
    )


def test_where_the_old_name_is_taken_again_by_the_manifest_both_are_its_own() -> None:
    wanted = [Collection("old"), Collection("new", renamed_from="old")]
    first = plan(there(Collection("old")), wanted)
    assert [(change.collection, change.action) for change in first] == [("new", "modify"), ("old", "create")]
    assert in_sync(plan(there(Collection("old"), Collection("new")), wanted))


def test_old_and_new_name_both_there_is_for_somebody_to_look_at() -> None:
    (change,) = plan(there(Collection("old"), Collection("new")), [Collection("new", renamed_from="old")])
    assert (change.status, reasons(change), change.commands) == ("blocked", ["name"], ())
    assert in_sync(plan(there(Collection("new")), [Collection("new", renamed_from="old")]))


def test_an_absent_collection_goes_last_and_without_prune() -> None:
    current = there(Collection("gone", {}, None, (Index({"a": 1}, "a_1"),)), Collection("kept"))
    wanted = [Collection("gone", absent=True), Collection("kept", {}, Validator({"a": 1}))]
    changes = [change for change in plan(current, wanted) if change.action != "keep"]
    assert [(change.collection, change.action) for change in changes] == [
        ("kept", "create"),
        ("gone", "drop"),
    ]
    assert in_sync(plan({}, [Collection("gone", absent=True)]))
    (system,) = plan(there(Collection("system.views")), [Collection("system.views", absent=True)])
    assert system.status == "blocked"


def test_an_index_under_its_old_name_is_the_manifests_own() -> None:
    wanted = [Collection("c", {}, None, (Index({"a": 1}, None, {"sparse": True}, "old"),))]
    current = there(Collection("c", {}, None, (Index({"b": 1}, "old"),)))
    change = one(plan(current, wanted))
    assert (change.action, change.name, change.replaces) == ("rebuild", "a_1", ("old",))
    same = there(Collection("c", {}, None, (Index({"a": 1}, "old", {"sparse": True}),)))
    assert one(plan(same, wanted)).action == "rebuild"
    # An apply that was stopped between the two.
    both = there(
        Collection("c", {}, None, (Index({"a": 1}, "a_1", {"sparse": True}), Index({"b": 1}, "old")))
    )
    assert [change.action for change in plan(both, wanted) if change.kind == "index"] == ["keep", "drop"]
    assert one(plan({}, wanted)).action == "create"


def test_what_a_wanted_index_needs_is_not_dropped_as_unwanted() -> None:
    current = there(Collection("c", {}, None, (Index({"a": 1}, "a_1"),)))
    wanted = [Collection("c", {}, None, (Index({"a": 1}),), absent_indexes=(Index({"a": 1}),))]
    assert in_sync(plan(current, wanted))


def test_a_text_index_whose_name_another_wish_takes_makes_room_for_the_next_one() -> None:
    current = there(Collection("c", {}, None, (Index({"b": "text"}, "two"),)))
    wanted = [
        Collection(
            "c", {}, None, (Index({"$**": 1}, "two"), Index({"b": "text"}, None, {"weights": {"b": 2}}))
        )
    ]
    changes = [change for change in plan(current, wanted) if change.kind == "index"]
    assert [(c.action, c.name, c.replaces) for c in changes] == [
        ("rebuild", "two", ("two",)),
        ("rebuild", "b_text", ()),
    ]


# -- what is nobody's -------------------------------------------------------------------------------------


def test_what_an_interrupted_rebuild_left_goes_last() -> None:
    left = Index({"a": 1, "_id": 1}, "motorctl_temporary_a_1")
    current = there(Collection("c", {}, None, (left, Index({"b": 1}, "b_1"))), Collection("gone"))
    wanted = [Collection("c", {}, Validator({"a": 1}), (Index({"a": 1}),)), Collection("gone", absent=True)]
    changes = [change for change in plan(current, wanted) if change.action != "keep"]
    assert [change.name for change in changes] == ["a_1", "c", "gone", "motorctl_temporary_a_1"]


def test_a_leftover_that_the_server_takes_for_the_wanted_one_makes_room() -> None:
    current = there(Collection("c", {}, None, (Index({"a": 1}, "motorctl_temporary_a_1"),)))
    change = one(plan(current, [Collection("c", {}, None, (Index({"a": 1}),))]))
    assert (change.action, change.name, change.replaces) == ("rebuild", "a_1", ("motorctl_temporary_a_1",))


def test_the_index_that_a_server_gives_a_time_series_is_not_pruned() -> None:
    options = {"timeseries": SERIES}
    current = there(
        Collection("c", options, None, (Index({"m": 1, "t": 1}, "m_1_t_1"), Index({"m": 1}, "m_1")))
    )
    changes = [
        change for change in plan(current, [Collection("c", options)], prune=True) if change.kind == "index"
    ]
    assert [(change.name, change.action) for change in changes] == [("m_1_t_1", "keep"), ("m_1", "drop")]


@pytest.mark.parametrize("kind", ["text", "2d"])
def test_an_index_that_knows_no_collation_does_not_take_over_its_collections(kind: str) -> None:
    options = {"collation": {"locale": "en"}}
    wanted = Collection("c", options, None, (Index({"a": kind}),))
    change = one(plan({}, [wanted]))
    assert change.commands[0]["indexes"][0]["collation"] == {"locale": "simple"}
    simple = Index({"a": kind}, f"a_{kind}", {"collation": {"locale": "simple"}})
    assert in_sync(plan(there(Collection("c", options, None, (simple,))), [wanted]))


def test_hiding_waits_for_what_comes_instead() -> None:
    current = there(
        Collection("c", {}, None, (Index({"a": 1}, "a_1"), Index({"h": 1}, "h_1", {"hidden": True})))
    )
    wanted = [
        Collection(
            "c", {}, None, (Index({"a": 1}, None, {"hidden": True}), Index({"h": 1}), Index({"a": 1, "b": 1}))
        )
    ]
    changes = [change.name for change in plan(current, wanted) if change.kind == "index"]
    assert changes == ["h_1", "a_1_b_1", "a_1"]


# -- search indexes ---------------------------------------------------------------------------------------

SEARCH = SearchIndex("default", {"mappings": {"dynamic": True}})
FILLED = SearchIndex("default", {"mappings": {"dynamic": True, "fields": {}}, "analyzer": "lucene.standard"})


def searching(*indexes: SearchIndex) -> dict[str, Collection]:
    return there(Collection("c", search_indexes=indexes))


def test_search_indexes_are_created_changed_and_dropped() -> None:
    wanted = [Collection("c", search_indexes=(SEARCH,))]
    created = one(plan(searching(), wanted), "search_index")
    assert created.commands == ({"createSearchIndexes": "c", "indexes": [SEARCH.document()]},)
    assert one(plan(searching(FILLED), wanted), "search_index").action == "keep"
    other = SearchIndex("default", {"mappings": {"dynamic": False}})
    modified = one(plan(searching(other), wanted), "search_index")
    assert modified.commands == (
        {"updateSearchIndex": "c", "name": "default", "definition": SEARCH.definition},
    )
    none = [Collection("c", search_indexes=())]
    assert one(plan(searching(SEARCH), none), "search_index").status == "unmanaged"
    dropped = one(plan(searching(SEARCH), none, prune=True), "search_index")
    assert dropped.commands == ({"dropSearchIndex": "c", "name": "default"},)
    assert in_sync(plan(searching(SEARCH), [Collection("c")], prune=True))


def test_search_indexes_need_a_server_that_has_them() -> None:
    change = one(plan(there(Collection("c")), [Collection("c", search_indexes=(SEARCH,))]), "search_index")
    assert (change.status, reasons(change), change.commands) == ("blocked", ["version"], ())
    # A database with nothing in it doesn't tell.
    assert one(plan({}, [Collection("c", search_indexes=(SEARCH,))]), "search_index").status == "planned"


def test_a_search_index_keeps_its_type() -> None:
    wanted = [Collection("c", search_indexes=(SearchIndex("default", {}, "vectorSearch"),))]
    assert reasons(one(plan(searching(SEARCH), wanted), "search_index")) == ["fixed"]


@pytest.mark.parametrize(
    ("actual", "written", "same"),
    [
        ({"a": [1, {"b": 2, "c": 3}]}, {"a": [1, {"b": 2.0}]}, True),
        ({"a": [1, 2]}, {"a": [1]}, False),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({"a": {"b": 1}}, {"a": 1}, False),
        ({"a": "x"}, {"a": ["x"]}, False),
    ],
)
def test_what_search_fills_in_is_no_difference(actual: Any, written: Any, same: bool) -> None:
    wanted = [Collection("c", search_indexes=(SearchIndex("s", written),))]
    change = one(plan(searching(SearchIndex("s", actual)), wanted), "search_index")
    assert (change.action == "keep") is same


# -- the order --------------------------------------------------------------------------------------------


def test_a_validator_that_takes_more_goes_before_indexes_and_one_that_takes_less_after() -> None:
    strict = Validator({"$jsonSchema": {"required": ["a", "b"]}})
    loose = Validator({"$jsonSchema": {"required": ["a"]}})
    index = (Index({"a": 1}),)
    loosened = plan(there(Collection("c", {}, strict)), [Collection("c", {}, loose, index)])
    assert [change.kind for change in loosened] == ["collection", "validator", "index"]
    tightened = plan(there(Collection("c", {}, loose)), [Collection("c", {}, strict, index)])
    assert [change.kind for change in tightened] == ["collection", "index", "validator"]


def test_a_validator_that_must_not_be_there() -> None:
    none = [Collection("c", {}, Validator({}))]
    assert [change.kind for change in plan(there(Collection("c")), none)] == ["collection"]
    change = one(plan(there(Collection("c", {}, Validator({"a": 1}))), none), "validator")
    assert (change.action, change.status, change.commands) == (
        "drop",
        "planned",
        ({"collMod": "c", "validator": {}},),
    )
