"""`explain suite`, and the gates of one query: what is asked of plans, on a real server whose indexes come and go."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pymongo
import pytest
from conftest import free_port
from test_explain_gates import collscan, fetch, ixscan, plan

from motorctl import suite_file
from motorctl.core.explain import junit
from motorctl.core.explain.gates import Gate
from motorctl.core.explain.query import Query
from motorctl.core.explain.suite import Case, Expect, Outcome, judge, select
from motorctl.errors import ManifestError, MotorctlError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Result, Runner
    from pymongo.database import Database as SyncDatabase

    Documents = SyncDatabase[dict[str, Any]]

DAY = datetime(2026, 3, 1, tzinfo=UTC)
ORDERS = 900
EMBEDDED = "embedded"

SUITE = """\
defaults:
  fail_on: [collscan, "ratio:10"]
queries:
  - name: newest completed
    find: orders
    filter: {status: completed, created_at: {$gte: {$date: "2026-03-01T00:00:00Z"}}}
    sort: {created_at: -1}
    fail_on: collscan,sort,ratio:2
    expect: {index: {status: 1, created_at: 1}, verdict: ixscan, returned: 300}
  - name: how many are pending
    count: orders
    filter: {status: pending}
    expect: {covered: true}
  - name: the statuses
    distinct: orders
    key: status
  - name: per user
    aggregate: orders
    pipeline:
      - $match: {status: completed}
      - $group: {_id: $user_id, orders: {$sum: 1}}
      - $lookup: {from: users, localField: _id, foreignField: _id, as: user}
    fail_on: [keys:2000]
"""


def fill(db: Documents) -> None:
    statuses = ("completed", "pending", "cancelled")
    db["users"].insert_many([{"_id": n, "name": f"user {n}"} for n in range(10)])
    db["orders"].insert_many(
        [
            {
                "status": statuses[n % 3],
                "user_id": n % 10,
                "amount": n,
                "created_at": DAY + timedelta(hours=n),
            }
            for n in range(ORDERS)
        ]
    )
    db["orders"].create_index([("status", 1), ("created_at", 1)])


@pytest.fixture
def shop(sync_db: Documents) -> Documents:
    fill(sync_db)
    return sync_db


Explain = "Callable[..., Result]"


@pytest.fixture
def explain(cli: Runner, tmp_path: Path) -> Callable[..., Result]:
    """Run `explain suite` on a text as its file."""

    def run(text: str, *arguments: str, **options: Any) -> Result:
        file = tmp_path / "queries.yaml"
        file.write_text(text)
        return cli("explain", "suite", str(file), *arguments, **options)

    return run


def words(result: Result) -> list[str]:
    return [line.split()[0] for line in result.stdout.splitlines()]


# -- the gate ---------------------------------------------------------------------------------------------


def test_a_suite_is_green_with_its_indexes(explain: Callable[..., Result], shop: Documents) -> None:
    done = explain(SUITE)

    assert (done.code, words(done)) == (0, ["ok"] * 4), done.stdout + done.stderr
    assert done.stdout.splitlines()[:2] == [
        "ok      newest completed: orders by status_1_created_at_1 (300 keys, 300 documents, 300 returned)",
        "ok      how many are pending: orders by status_1_created_at_1 (301 keys, 0 documents)",
    ]
    assert re.fullmatch(rf"{shop.name} at \S+: 4 ok\n", done.stderr)


def test_a_dropped_index_turns_the_gate_red(explain: Callable[..., Result], shop: Documents) -> None:
    shop["orders"].drop_index("status_1_created_at_1")

    done = explain(SUITE)

    assert (done.code, words(done)) == (8, ["FAILED", "FAILED", "FAILED", "ok"])
    assert done.stdout.splitlines()[0] == (
        "FAILED  newest completed: orders is read as a whole; sorted in memory, not by an index; "
        "900 examined to find 300 in orders as a whole: a ratio of 3 (limit 2); "
        "index is none, not {status: 1, created_at: 1}; verdict is collscan, not ixscan"
    )
    assert "1 ok, 3 failed" in done.stderr


def test_the_rows_are_whole_in_json(explain: Callable[..., Result], shop: Documents) -> None:
    shop["orders"].drop_index("status_1_created_at_1")

    (row,) = explain(SUITE, "--only", "newest*", "--fail-on", "collscan", "-o", "json").json()

    assert row.pop("ms") >= 0
    assert row == {
        "name": "newest completed",
        "ok": False,
        "verdict": "collscan",
        "index": None,
        "returned": 300,
        "keys_examined": 0,
        "docs_examined": ORDERS,
        "in_memory_sort": True,
        "failures": [
            {
                "gate": "collscan",
                "limit": None,
                "measured": 1,
                "stage": "COLLSCAN",
                "message": "orders is read as a whole",
            },
            {
                "gate": "expect.index",
                "limit": "{status: 1, created_at: 1}",
                "measured": None,
                "stage": None,
                "message": "index is none, not {status: 1, created_at: 1}",
            },
            {
                "gate": "expect.verdict",
                "limit": "ixscan",
                "measured": "collscan",
                "stage": None,
                "message": "verdict is collscan, not ixscan",
            },
        ],
        "better": [],
        "notes": [],
        "error": None,
    }


@pytest.mark.parametrize("format", ["ndjson", "csv", "markdown"])
@pytest.mark.usefixtures("shop")
def test_every_format_has_a_line_a_query(explain: Callable[..., Result], format: str) -> None:
    lines = explain(SUITE, "-o", format).stdout.splitlines()
    assert len(lines) - 4 == {"ndjson": 0, "csv": 1, "markdown": 2}[format]
    assert all("newest completed" not in line for line in lines[-3:])
    assert "status_1_created_at_1" in lines[-4]


def test_a_terminal_of_80_columns_cuts_nothing(explain: Callable[..., Result], shop: Documents) -> None:
    shop["orders"].drop_index("status_1_created_at_1")
    piped, shown = explain(SUITE), explain(SUITE, tty=True, columns=80)
    assert max(map(len, shown.stdout.splitlines())) <= 80
    assert " ".join(shown.stdout.split()) == " ".join(piped.stdout.split())


@pytest.mark.usefixtures("shop")
def test_the_file_may_be_stdin(cli: Runner) -> None:
    done = cli("explain", "suite", "-", stdin=json.dumps({"queries": [{"name": "a", "find": "users"}]}))
    assert (done.code, "nothing is asked of 'a'" in done.stderr) == (2, True)
    done = cli("explain", "suite", "-", "--fail-on", "sort", stdin="queries: [{name: a, find: users}]")
    assert done.code == 0, done.stderr


@pytest.mark.usefixtures("shop")
def test_no_run_plans_only(explain: Callable[..., Result], shop: Documents) -> None:
    refused = explain(SUITE, "--no-run")
    assert refused.code == 2
    assert "'newest completed': ratio:2 can't be judged without running the query" in refused.stderr
    returned = "queries: [{name: a, find: users, expect: {returned: 10}}]"
    assert "expect.returned can't be judged" in explain(returned, "--no-run").stderr

    text = SUITE.replace(", returned: 300", "")
    planned = explain(text, "--no-run", "--fail-on", "collscan,sort", "--only", "newest*", "-o", "json")
    assert planned.code == 0, planned.stderr
    assert planned.json()[0]["keys_examined"] is None
    shop["orders"].drop_index("status_1_created_at_1")
    assert explain(text, "--no-run", "--fail-on", "collscan,sort", "--only", "newest*").code == 8


@pytest.mark.usefixtures("shop")
def test_a_gate_of_time_tries_until_it_is_kept(explain: Callable[..., Result], shop: Documents) -> None:
    def tries(*arguments: str) -> tuple[int, int]:
        shop["system.profile"].drop()
        shop.command("profile", 2)
        slow = "queries: [{name: slow, find: users, filter: {$where: 'sleep(3) || true'}, fail_on: ms:5}]"
        done = explain(slow, *arguments)
        shop.command("profile", 0)
        return done.code, shop["system.profile"].count_documents({"command.explain": {"$exists": True}})

    assert tries() == (8, 3)
    assert tries("--runs", "2") == (8, 2)
    shop["users"].delete_many({"_id": {"$gt": 0}})
    assert tries("--fail-on", "ms:10000") == (0, 1)


def test_a_query_that_takes_too_long_is_an_error(explain: Callable[..., Result], shop: Documents) -> None:
    assert shop["users"].count_documents({}) == 10
    slow = (
        "queries:\n- {name: slow, find: users, filter: {$where: 'sleep(300) || true'}, fail_on: collscan}\n"
        "- {name: quick, find: users, filter: {_id: 1}, fail_on: collscan}"
    )
    done = explain(slow, "--max-time", "0.2")
    assert done.code == 3, done.stderr
    assert words(done) == ["error", "ok"]
    assert "time limit" in done.stdout


@pytest.mark.parametrize("text", ["collscan", "sort", "ratio:10", "keys:5", "docs:5", "ms:1000"])
def test_an_unseeded_database_is_an_error_and_no_pass(
    explain: Callable[..., Result], sync_db: Documents, text: str
) -> None:
    suite = f"queries: [{{name: a, find: orders, filter: {{status: a}}, fail_on: '{text}'}}]"
    absent = explain(suite)
    assert (absent.code, words(absent)) == (1, ["error"])
    assert "orders is empty, or isn't there" in absent.stdout
    assert "hint: seed the database first" in absent.stderr
    sync_db["orders"].create_index("status")
    assert (explain(suite).code, words(explain(suite))) == (1, ["error"])
    sync_db["orders"].insert_one({"status": "a"})
    assert explain(suite).code == 0


def test_min_documents_says_when_figures_mean_something(
    explain: Callable[..., Result], shop: Documents
) -> None:
    text = "defaults: {min_documents: 901}\n" + SUITE.partition('\n  fail_on: [collscan, "ratio:10"]\n')[2]
    done = explain(text, "--fail-on", "collscan")
    assert (done.code, words(done)) == (1, ["error"] * 4)
    assert "orders holds 900 documents, and 901 documents are needed" in done.stdout
    shop["orders"].insert_one({"status": "new"})
    assert words(explain(text, "--fail-on", "collscan", "--only", "the statuses")) == ["ok"]


def test_an_index_that_finds_nothing_is_told(explain: Callable[..., Result], shop: Documents) -> None:
    text = "queries: [{name: a, find: orders, filter: {status: lost}, fail_on: ratio:1}]"
    assert shop["orders"].count_documents({"status": "lost"}) == 0
    assert explain(text).stdout.endswith("; it found nothing: its figures show little\n")


@pytest.mark.usefixtures("shop")
def test_a_query_that_the_server_refuses_fails_alone(explain: Callable[..., Result]) -> None:
    broken = SUITE + "  - {name: broken, find: orders, filter: {$nonsense: 1}}\n"
    done = explain(broken)
    assert (done.code, words(done)) == (1, ["ok"] * 4 + ["error"])
    assert "unknown top level operator: $nonsense" in done.stdout
    assert "4 ok, 1 error" in done.stderr


@pytest.mark.usefixtures("shop")
def test_what_the_server_refuses_shows_no_value(explain: Callable[..., Result]) -> None:
    done = explain(
        "queries: [{name: a, find: orders, filter: {email: ada@example.com}, hint: gone, fail_on: sort}]",
        "-o", "json",
    )  # fmt: skip
    assert done.code == 1
    assert done.json()[0]["error"]["message"].startswith("hint provided does not correspond")
    assert "ada@" not in done.stdout + done.stderr


def test_an_error_is_told_to_machines_on_stderr(explain: Callable[..., Result], shop: Documents) -> None:
    uri = f"mongodb://127.0.0.1:{free_port()}/"
    options = ("--timeout", "0.2", "--retries", "1", "-o", "json")
    lost = explain(SUITE, *options, env={"MOTORCTL_URI": uri})
    assert (lost.code, len(lost.json())) == (3, 4)
    error = lost.error()
    assert (error["code"], error["exit"], len(error["queries"])) == ("unreachable", 3, 4)
    assert error["message"].startswith("newest completed: no server reached")
    assert "(and 3 more of 4 were not judged)" in error["message"]
    assert lost.stderr.count("is mongod running there?") == 1

    empty = "  - {name: a, find: nothing}\n  - {name: b, find: orders, hint: gone}\n"
    mixed = explain(SUITE + empty, "-o", "json")
    assert (mixed.code, mixed.error()["queries"]) == (1, ["a", "b"])
    shop["orders"].drop_indexes()
    both = explain(SUITE + empty, "-o", "json")
    assert (both.code, '"error"' in both.stderr) == (8, False)


def test_a_time_series_is_counted_in_documents_not_in_buckets(
    explain: Callable[..., Result], sync_db: Documents
) -> None:
    sync_db.create_collection("weather", timeseries={"timeField": "at", "metaField": "place"})
    sync_db["weather"].insert_many([{"at": DAY, "place": n % 3, "t": n} for n in range(300)])
    text = "queries: [{{name: a, find: weather, filter: {{place: 1}}, fail_on: sort, min_documents: {}}}]"
    assert words(explain(text.format(300))) == ["ok"]
    short = explain(text.format(301))
    assert "weather holds 300 documents, and 301 documents are needed" in short.stdout


@pytest.mark.usefixtures("shop")
def test_a_pipeline_that_reads_no_collection_needs_no_documents(explain: Callable[..., Result]) -> None:
    done = explain(
        "queries:\n"
        "  - {name: a, aggregate: ., pipeline: [{$documents: [{a: 1}]}], fail_on: collscan}\n"
        "  - {name: b, aggregate: orders, pipeline: [{$indexStats: {}}], fail_on: collscan}\n"
    )
    assert (done.code, done.stdout) == (0, "ok      a: nothing is read\nok      b: nothing is read\n")


def test_only_takes_names_and_patterns() -> None:
    cases = [Case(name, Query("find", "c")) for name in ("a one", "a two", "b [1]")]
    assert [case.name for case in select(cases, ["a *"])] == ["a one", "a two"]
    assert [case.name for case in select(cases, ["b*", "a two"])] == ["a two", "b [1]"]
    with pytest.raises(UsageError, match="--only a tow: no query of the suite is called so") as raised:
        select(cases, ["a tow"])
    assert raised.value.hint == "did you mean 'a two'?"


# -- the baseline -----------------------------------------------------------------------------------------


def test_a_baseline_is_never_made_unasked(explain: Callable[..., Result], tmp_path: Path) -> None:
    file = tmp_path / "plans.json"
    done = explain(SUITE, "--baseline", str(file))
    assert (done.code, file.exists()) == (2, False)
    assert f"--baseline: {file} doesn't exist" in done.stderr
    assert "--update-baseline" in done.stderr
    assert explain(SUITE, "--update-baseline").code == 2


@pytest.fixture
def recorded(explain: Callable[..., Result], shop: Documents, tmp_path: Path) -> Path:
    """A baseline of the suite on the seeded database."""
    assert shop["orders"].count_documents({}) == ORDERS
    file = tmp_path / "plans.json"
    done = explain(SUITE, "--baseline", str(file), "--update-baseline")
    assert done.code == 0, done.stderr
    assert "baseline: added 'newest completed': orders by status_1_created_at_1" in done.stderr
    return file


def test_a_baseline_that_is_kept_is_green(explain: Callable[..., Result], recorded: Path) -> None:
    before = recorded.read_bytes()
    assert explain(SUITE, "--baseline", str(recorded)).code == 0
    again = explain(SUITE, "--baseline", str(recorded), "--update-baseline")
    assert f"baseline: {recorded} stays as it is" in again.stderr
    assert recorded.read_bytes() == before


def test_more_data_of_the_same_kind_is_no_worse_plan(
    explain: Callable[..., Result], shop: Documents, recorded: Path
) -> None:
    more = [{"status": ("completed", "pending")[n % 2], "created_at": DAY, "user_id": 1} for n in range(700)]
    shop["orders"].insert_many(more)
    done = explain(SUITE.replace(", returned: 300", ""), "--baseline", str(recorded))
    assert done.code == 0, done.stdout


def test_a_dropped_index_is_worse_than_the_baseline(
    explain: Callable[..., Result], shop: Documents, recorded: Path
) -> None:
    before = recorded.read_bytes()
    shop["orders"].drop_index("status_1_created_at_1")
    done = explain(SUITE, "--baseline", str(recorded), "--only", "how*", "--fail-on", "collscan")
    assert done.code == 8
    assert "how many are pending: covered is no, not yes; reads orders as a whole, not by" in done.stdout
    assert recorded.read_bytes() == before


def test_an_index_under_another_name_is_said_and_green(
    explain: Callable[..., Result], shop: Documents, recorded: Path
) -> None:
    shop["orders"].drop_index("status_1_created_at_1")
    shop["orders"].create_index([("status", 1), ("created_at", 1)], name="renamed")
    done = explain(SUITE, "--baseline", str(recorded))
    assert done.code == 0, done.stdout
    assert "status_1_created_at_1 of orders is now called renamed" in done.stdout


def test_a_better_plan_is_told_and_green(
    explain: Callable[..., Result], shop: Documents, tmp_path: Path
) -> None:
    text = "queries: [{name: cheap, find: orders, filter: {amount: {$lt: 5}}}]"
    file = tmp_path / "plans.json"
    assert explain(text, "--baseline", str(file), "--update-baseline").code == 0
    shop["orders"].create_index("amount")
    done = explain(text, "--baseline", str(file))
    assert done.code == 0
    assert "doesn't read orders as a whole any more" in done.stdout


def test_a_query_that_nobody_reviewed_fails(explain: Callable[..., Result], recorded: Path) -> None:
    text = SUITE + "  - {name: new one, find: users, filter: {_id: 1}}\n"
    done = explain(text, "--baseline", str(recorded))
    assert (done.code, words(done)) == (8, ["ok"] * 4 + ["FAILED"])
    assert "new one: isn't in the baseline: --update-baseline records it" in done.stdout


def test_an_entry_without_a_query_is_told_and_removed(explain: Callable[..., Result], recorded: Path) -> None:
    text = SUITE.replace("the statuses", "all statuses")
    told = explain(text, "--baseline", str(recorded), "--only", "newest*")
    assert told.code == 0
    assert "the baseline has 'the statuses', and no query is called so" in told.stderr
    updated = explain(text, "--baseline", str(recorded), "--update-baseline")
    assert "baseline: removed 'the statuses'" in updated.stderr
    assert "baseline: added 'all statuses'" in updated.stderr
    assert set(json.loads(recorded.read_text())["queries"]) == {
        "newest completed",
        "how many are pending",
        "all statuses",
        "per user",
    }


def test_an_error_leaves_its_entry_alone(
    explain: Callable[..., Result], shop: Documents, recorded: Path
) -> None:
    before = json.loads(recorded.read_text())["queries"]
    shop["orders"].drop()
    done = explain(SUITE, "--baseline", str(recorded), "--update-baseline")
    assert (done.code, words(done)) == (1, ["error"] * 4)
    assert json.loads(recorded.read_text())["queries"] == before


def test_a_baseline_holds_no_value_of_a_query(
    explain: Callable[..., Result], shop: Documents, tmp_path: Path
) -> None:
    assert shop["users"].count_documents({}) == 10
    shop["users"].create_index("email")
    text = "queries: [{name: a, find: users, filter: {email: ada@example.com}}]"
    file = tmp_path / "plans.json"
    assert explain(text, "--baseline", str(file), "--update-baseline").code == 0
    assert "ada" not in file.read_text()
    assert "email_1" in file.read_text()


def test_a_damaged_baseline_is_refused_before_anything_runs(
    explain: Callable[..., Result], tmp_path: Path
) -> None:
    file = tmp_path / "plans.json"
    file.write_text('{"version": 1,\n "queries": [}')
    done = explain(SUITE, "--baseline", str(file), connected=False)
    assert (done.code, f"{file}:2:" in done.stderr) == (2, True)


@pytest.mark.parametrize("server", [EMBEDDED, *os.environ.get("MOTORCTL_TEST_SERVERS", "").split()])
def test_one_baseline_holds_on_every_server(
    explain: Callable[..., Result], recorded: Path, dbname: str, server_uri: str, server: str
) -> None:
    """What this server's plans are called is no difference to that one's: the engines differ, too."""
    uri, dbname = server_uri if server == EMBEDDED else server, f"{dbname}_other"
    with pymongo.MongoClient[dict[str, Any]](uri) as client:
        fill(client[dbname])
        try:
            old = client.server_info()["versionArray"] < [5, 0]
            done = explain(
                SUITE,
                "--baseline",
                str(recorded),
                "--no-stable-api",
                env={"MOTORCTL_URI": uri, "MOTORCTL_DB": dbname},
            )
        finally:
            client.drop_database(dbname)
    assert done.code == 0, done.stdout
    assert ("users by" in done.stdout) != old


# -- one query --------------------------------------------------------------------------------------------


def test_gates_of_one_query(cli: Runner, shop: Documents) -> None:
    query = ("explain", "find", "orders", "--filter", '{"status": "pending"}')
    kept = cli(*query, "--fail-on", "collscan,ratio:2")
    assert (kept.code, "no gate is broken" in kept.stderr) == (0, True)
    shop["orders"].drop_index("status_1_created_at_1")
    broken = cli(*query, "--fail-on", "collscan,ratio:2", "-o", "json")
    assert broken.code == 8
    assert [one["gate"] for one in broken.json()["failures"]] == ["collscan", "ratio:2"]
    assert "collscan: orders is read as a whole" in broken.stderr
    assert cli(*query, "--fail-on", "collscan,kyes:3").code == 2
    assert cli(*query, "--fail-on", "keys:3", "--no-run").code == 2
    nowhere = cli("explain", "find", "nowhere", "--fail-on", "collscan")
    assert (nowhere.code, "nowhere is empty, or isn't there" in nowhere.stderr) == (1, True)


def test_a_baseline_of_single_queries_is_shared(cli: Runner, shop: Documents, tmp_path: Path) -> None:
    file = str(tmp_path / "plans.json")
    queries = [
        ("explain", "find", "orders", "--filter", '{"status": "pending"}', "--baseline", file),
        ("explain", "aggregate", "orders", '[{"$match": {"amount": 5}}]', "--baseline", file),
    ]
    for query in queries:
        assert cli(*query).code in (2, 8), "what isn't recorded doesn't pass"
        assert cli(*query, "--update-baseline").code == 0
    assert [cli(*query).code for query in queries] == [0, 0]
    assert set(json.loads((tmp_path / "plans.json").read_text())["queries"]) == {
        "find orders {status}",
        "aggregate orders $match {amount}",
    }
    shop["orders"].drop_index("status_1_created_at_1")
    worse = cli(*queries[0])
    assert (worse.code, cli(*queries[1]).code) == (8, 0)
    assert "baseline.scan: reads orders as a whole, not by status_1_created_at_1" in worse.stderr


# -- JUnit ------------------------------------------------------------------------------------------------


def test_a_report_has_a_case_a_query(explain: Callable[..., Result], shop: Documents, tmp_path: Path) -> None:
    shop["orders"].drop_index("status_1_created_at_1")
    file = tmp_path / "report.xml"
    text = SUITE + "  - {name: broken, find: orders, filter: {$nonsense: 1}}\n"

    done = explain(text, "--junit", str(file), "--fail-on", "collscan")

    assert done.code == 8
    top = ET.parse(file).getroot()
    (suite,) = top
    assert (top.tag, suite.tag) == ("testsuites", "testsuite")
    for one in (top, suite):
        assert [one.get(key) for key in ("tests", "failures", "errors")] == ["5", "4", "1"]
        assert float(one.get("time", "")) > 0
    properties = {one.get("name"): one.get("value") for one in suite.iter("property")}
    assert properties["database"] == shop.name
    assert re.match(r"\d+\.\d+", properties["server_version"] or "")
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    found = {
        name: next((one.tag for one in case if one.tag != "system-out"), None) for name, case in cases.items()
    }
    assert found == {
        "newest completed": "failure",
        "how many are pending": "failure",
        "the statuses": "failure",
        "per user": "failure",
        "broken": "error",
    }
    failure = cases["newest completed"].find("failure")
    assert failure is not None
    assert failure.get("type") == "collscan,expect.index,expect.verdict"
    assert (failure.text or "").splitlines()[0] == "collscan: orders is read as a whole"


def test_a_report_is_written_when_no_server_is_there(explain: Callable[..., Result], tmp_path: Path) -> None:
    file = tmp_path / "report.xml"
    uri = f"mongodb://127.0.0.1:{free_port()}/"
    done = explain(
        SUITE, "--junit", str(file), "--timeout", "0.2", "--retries", "1", env={"MOTORCTL_URI": uri}
    )
    assert (done.code, words(done)) == (3, ["error"] * 4)
    assert len(list(ET.parse(file).getroot().iter("error"))) == 4


@pytest.mark.usefixtures("shop")
def test_a_report_without_a_place_is_refused_before_anything_runs(
    explain: Callable[..., Result], tmp_path: Path
) -> None:
    for place in (tmp_path, tmp_path / "missing" / "report.xml"):
        done = explain(SUITE, "--junit", str(place), connected=False)
        assert (done.code, done.stdout) == (2, "")
    assert list(tmp_path.glob("*.part")) == []


def test_any_text_is_legal_xml() -> None:
    name = "tab\t nul\x00 esc\x1b[31m \ufffe <&>\"' é 𝄞\n"
    case = Case(name, Query("find", "c"))
    found = Outcome(case, error=MotorctlError(f"server said {name}", hint=name))
    ((suite,),) = (ET.fromstring(junit.document(name, [found], {"a": name})),)
    (shown,) = suite.iter("testcase")
    assert shown.get("name") == "tab\t nul\\x00 esc\\x1b[31m \\ufffe <&>\"' é 𝄞\n"
    error = shown.find("error")
    assert error is not None
    assert "hint: tab" in (error.text or "")


# -- judging, without a server ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expect", "texts"),
    [
        (Expect(index="status_1", verdict="ixscan", returned=31, covered=False), []),
        (Expect(index=(("status", 1),)), []),
        (Expect(index="city_1"), ["index is status_1, not city_1"]),
        (Expect(index=(("status", -1),)), ["index is {status: 1}, not {status: -1}"]),
        (Expect(verdict="express"), ["verdict is ixscan, not express"]),
        (Expect(returned=30), ["returned is 31, not 30"]),
        (Expect(returned=0), ["returned is 31, not 0"]),
        (Expect(covered=True), ["covered is no, not yes"]),
    ],
)
def test_what_is_expected_of_a_plan(expect: Expect, texts: list[str]) -> None:
    outcome = judge(Case("a", Query("find", "orders"), expect=expect), plan(fetch(ixscan())))
    assert [failure.text for failure in outcome.failures] == texts


def test_a_scan_that_the_baseline_names_is_said_once() -> None:
    from motorctl.core.explain.baseline import entry

    case = Case("a", Query("find", "orders"), (Gate("collscan"),))
    outcome = judge(case, plan(collscan()), entry(plan(fetch(ixscan()))))
    assert [failure.gate for failure in outcome.failures] == ["collscan", "baseline.scan"]
    assert outcome.text == "reads orders as a whole, not by status_1"


# -- the file ---------------------------------------------------------------------------------------------


def load(text: str, tmp_path: Path, **options: Any) -> list[Case]:
    (tmp_path / "s.yaml").write_text(text)
    return suite_file.load(str(tmp_path / "s.yaml"), **options)


def test_every_word_of_a_query_is_read(tmp_path: Path) -> None:
    text = """
    queries:
    - {name: " a ", find: c, filter: {_id: {$oid: 64b7f0c2a1b2c3d4e5f60718}}, sort: "-b,c", projection: {b: 1},
       skip: 1, limit: 2, hint: {b: 1}, collation: {locale: de}, let: {x: 1}, fail_on: [], min_documents: 0,
       expect: {index: i}}
    - {name: b, aggregate: c, pipeline: [{$match: {n: {$numberDecimal: "1.5"}}}], hint: i, fail_on: sort}
    - {name: c, distinct: c, key: k, filter: {a: 1}}
    - {name: d, count: c, limit: 5}
    """
    a, b, c, d = load(text, tmp_path)
    assert (a.name, a.gates, a.min_documents, a.expect) == ("a", (), 0, Expect(index="i"))
    assert str(a.query.filter["_id"]) == "64b7f0c2a1b2c3d4e5f60718"
    assert (a.query.sort, a.query.skip, a.query.limit, a.query.hint) == ({"b": -1, "c": 1}, 1, 2, {"b": 1})
    assert (a.query.projection, a.query.collation, a.query.let) == ({"b": 1}, {"locale": "de"}, {"x": 1})
    assert str(b.query.pipeline[0]["$match"]["n"]) == "1.5"
    assert (b.query.hint, b.gates) == ("i", (Gate("sort"),))
    assert c.query == Query("distinct", "c", {"a": 1}, key="k")
    assert d.query == Query("count", "c", limit=5)


def test_own_gates_stand_in_the_place_of_the_defaults(tmp_path: Path) -> None:
    text = "defaults: {fail_on: collscan, min_documents: 7}\nqueries: [{name: a, find: c}, {name: b, find: c, fail_on: 'keys:5', min_documents: 1}]"
    a, b = load(text, tmp_path)
    assert (a.gates, a.min_documents, b.gates, b.min_documents) == (
        (Gate("collscan"),),
        7,
        (Gate("keys", 5),),
        1,
    )
    assert [one.gates for one in load(text, tmp_path, fail_on=[Gate("sort")])] == [(Gate("sort"),)] * 2


@pytest.mark.parametrize(
    ("text", "place", "message", "hint"),
    [
        ("", (1, 1), "is empty", "a suite looks like"),
        ("- a", (1, 1), "a suite is a document, not a list", None),
        ("queries: []", (1, 1), "a suite without queries", None),
        ("querys: []", (1, 1), "unknown key querys in a suite", "did you mean 'queries'?"),
        ("queries: [1]", (1, 11), "a query is a document, not 1", None),
        ("queries:\n- {find: c}", (2, 3), "a query needs name", None),
        ("queries:\n- {name: a}", (2, 3), "a query says one of find, count, distinct, aggregate", "find: orders"),
        ("queries:\n- {name: a, find: c, count: c}", (2, 3), "not find and count", None),
        ("queries:\n- {name: a, find: c, filtre: {}}", (2, 22), "unknown key filtre in a query", "did you mean 'filter'?"),
        ("queries:\n- {name: a, count: c, sort: {a: 1}}", (2, 23), "sort is no word of count", "count takes filter, skip"),
        ("queries:\n- {name: a, distinct: c}", (2, 3), "distinct needs key", None),
        ("queries:\n- {name: a, aggregate: c}", (2, 3), "aggregate needs pipeline", None),
        ("queries:\n- {name: a, aggregate: c, pipeline: [{a: 1}]}", (2, 38), "a stage is a document with one key", None),
        ("queries:\n- {name: a, aggregate: c, pipeline: [{$out: x}]}", (2, 37), "$out writes", "leave $out out"),
        ("queries:\n- {name: a, find: c, filter: {_id: {$oid: x}}}", (2, 36), "$oid", None),
        ("queries:\n- {name: a, find: c, sort: 'a,,b'}", (2, 28), "is not a field", "sort: -created_at,name"),
        ("queries:\n- {name: a, find: c, fail_on: colscan}", (2, 31), "'colscan' is no gate", "did you mean 'collscan'?"),
        ("queries:\n- {name: a, find: c, fail_on: [keys]}", (2, 31), "keys needs a whole number", "keys:100"),
        ("defaults:\n  fail_on: [5]\nqueries: [{name: a, find: c}]", (2, 13), "fail_on is a string, not 5", None),
        ("queries:\n- {name: a, find: c, expect: {verdict: idxscan}}", (2, 40), "idxscan is none of ixscan", "did you mean 'ixscan'?"),
        ("queries:\n- {name: a, find: c, expect: {indx: a}}", (2, 31), "unknown key indx in expect", "did you mean 'index'?"),
        ("queries:\n- {name: a, count: c, expect: {returned: 1}}", (2, 32), "a count returns no documents", None),
        ("queries:\n- {name: a, find: c}\n- {name: a, find: d}", (3, 4), "two queries are called 'a'", None),
        ("queries:\n- {name: ' ', find: c}", (2, 10), "the name of a query is empty", None),
        ("queries:\n- {name: a, find: ''}", (2, 19), "the name of a collection is empty", None),
        ("queries:\n- {name: a, find: c, limit: -1}", (2, 29), "limit is from 0 to", None),
        ("queries:\n- {name: a, find: c, limit: '${N}'}", (2, 29), 'limit is a number, not "${N}"', None),
        ("queries: {", (1, 11), "", None),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_file(
    tmp_path: Path, text: str, place: tuple[int, int], message: str, hint: str | None
) -> None:
    with pytest.raises(ManifestError) as raised:
        load(text, tmp_path)
    assert message in raised.value.message
    if text:
        assert (raised.value.details["line"], raised.value.details["column"]) == place
    if hint is None:
        assert "--env" not in (raised.value.hint or "")
    else:
        assert hint in (raised.value.hint or "")


def test_a_file_that_is_not_there(cli: Runner, tmp_path: Path) -> None:
    done = cli("explain", "suite", str(tmp_path / "none.yaml"), connected=False)
    assert (done.code, "none.yaml doesn't exist" in done.stderr) == (2, True)
    assert "hint: a suite looks like" in done.stderr
