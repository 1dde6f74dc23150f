"""The recipes of README and docs, run as far as a machine without them can: their motorctl lines, for real."""

from __future__ import annotations

import configparser
import gzip
import json
import os
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pymongo
import pytest
import secured
from ruamel.yaml import YAML
from secured import as_user

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Runner, Server
    from pymongo.database import Database as SyncDatabase

ROOT = Path(__file__).parent.parent
TEXT = "\n".join(
    path.read_text(encoding="utf-8") for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
)


def recipe(name: str) -> str:
    """Return the block whose first line names the file."""
    (found,) = re.findall(
        rf"^```(?:yaml|make|sh|ini)\n# {re.escape(name)}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL
    )
    return str(found)


def parsed(text: str) -> Any:
    return YAML(typ="safe").load(text)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of a user: README's manifest in the folder schema, and motorctl on the PATH."""
    (tmp_path / "schema").mkdir()
    (tmp_path / "schema" / "shop.yaml").write_text(recipe("schema/shop.yaml"))
    shim = tmp_path / "bin" / "motorctl"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m motorctl "$@"\n')
    shim.chmod(0o755)
    return tmp_path


def run(line: str, project: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a line as a CI system's shell does: it ends at the first error, in a pipe too."""
    path = f"{project / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MOTORCTL_")}
    return subprocess.run(
        ["bash", "-eo", "pipefail", "-c", line],
        cwd=project,
        env={**environment, "PATH": path, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def with_database(uri: str, name: str) -> str:
    return uri.replace("/?", f"/{name}?")


def test_the_github_workflow(project: Path, server_uri: str, dbname: str) -> None:
    jobs = parsed(recipe(".github/workflows/schema.yml"))["jobs"]
    lines = {name: [step["run"] for step in job["steps"] if "run" in step] for name, job in jobs.items()}
    ours = {name: [line for line in steps if line.startswith("motorctl")] for name, steps in lines.items()}
    uri = with_database(server_uri, dbname)

    def job(name: str) -> int:
        assert ours[name]
        return max(run(line, project, MOTORCTL_URI=uri).returncode for line in ours[name])

    assert (job("drift"), job("plan")) == (8, 0)
    comment = (project / "plan.md").read_text()
    assert "users" in comment
    assert "email_1" in comment
    assert (job("apply"), job("drift"), job("apply")) == (0, 0, 0)
    rest = {line for name, steps in lines.items() for line in steps if line not in ours[name]}
    assert {line.split()[0] for line in rest} == {"pip", "gh"}


def test_the_gitlab_pipeline(project: Path, server_uri: str, dbname: str) -> None:
    jobs = parsed(recipe(".gitlab-ci.yml"))
    uri = with_database(server_uri, dbname)
    assert [jobs[name]["extends"] for name in jobs if name != ".schema"] == [".schema", ".schema"]

    (planned,) = [run(line, project, MOTORCTL_URI=uri) for line in jobs["schema plan"]["script"]]

    assert planned.returncode == 0
    assert (project / jobs["schema plan"]["artifacts"]["paths"][0]).read_text() == planned.stdout
    applied = [run(line, project, MOTORCTL_URI=uri).returncode for line in jobs["schema apply"]["script"]]
    assert applied == [0, 0]


def test_the_helm_hook(
    project: Path, server_uri: str, dbname: str, sync_db: SyncDatabase[dict[str, Any]], tmp_path: Path
) -> None:
    # What Helm does with a template, for the few words that this one uses.
    text = recipe("templates/schema.yaml").replace("{{ .Release.Name }}", "shop")
    files = json.dumps({"shop.yaml": recipe("schema/shop.yaml")})
    text = text.replace('data:\n{{ (.Files.Glob "schema/*.yaml").AsConfig | indent 2 }}', f"data: {files}")
    text = text.replace("{{ .Values.schema.image }}", "motorctl:1").replace(
        "{{ .Values.schema.secret }}", "uri"
    )
    assert "{{" not in text
    config, hook = YAML(typ="safe").load_all(text)
    spec = hook["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert [volume["name"] for volume in spec["volumes"]] == [m["name"] for m in container["volumeMounts"]]
    assert spec["volumes"][0]["configMap"]["name"] == config["metadata"]["name"]
    weights = [int(one["metadata"]["annotations"]["helm.sh/hook-weight"]) for one in (config, hook)]
    assert weights == sorted(weights)

    # The pod: what the volumes hold lies where they are mounted.
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    for volume in ("schema", "uri"):
        (tmp_path / mounts[volume].strip("/")).mkdir(exist_ok=True)
    for name, content in config["data"].items():
        (tmp_path / mounts["schema"].strip("/") / name).write_text(content)
    (tmp_path / "secrets" / "uri").write_text(with_database(server_uri, dbname))
    inside = [f"{tmp_path}{word}" if word == mounts["schema"] else word for word in container["command"]]
    variables = {one["name"]: f"{tmp_path}{one['value']}" for one in container["env"]}

    done = run(shlex.join(inside), project, **variables)

    assert done.returncode == 0, done.stderr
    assert {"users", "sessions", "weather"} <= set(sync_db.list_collection_names())


def test_the_makefile(project: Path, server_uri: str, dbname: str) -> None:
    text = recipe("Makefile")
    targets = dict(re.findall(r"^([\w-]+):\n\t(.*)$", text, re.MULTILINE))
    assert set(re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)[0].split()) == set(targets)
    uri = with_database(server_uri, dbname)
    codes = [
        run(targets[name], project, MOTORCTL_URI=uri).returncode
        for name in ("schema-plan", "schema-check", "schema-apply", "schema-check")
    ]
    assert codes == [0, 8, 0, 0]


def test_a_manifest_has_a_schema_for_editors(project: Path) -> None:
    shown = run("motorctl schema json-schema", project)
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)["properties"]["collections"]


def test_a_dropped_index_turns_the_gate_for_queries_red(
    project: Path, server_uri: str, dbname: str, sync_db: SyncDatabase[dict[str, Any]]
) -> None:
    job = parsed(recipe(".github/workflows/queries.yml"))["jobs"]["plans"]
    lines = [step["run"] for step in job["steps"] if step.get("run", "").startswith("motorctl")]
    assert "explain suite" in lines[-1]
    (project / "queries.yaml").write_text(recipe("queries.yaml"))
    (project / "seed").mkdir()
    users = [
        {
            "email": f"user{n}@example.com",
            "active": n % 2 == 0,
            "last_login": {"$date": f"2026-0{n % 4 + 1}-{n % 28 + 1:02}T00:00:00Z"},
        }
        for n in range(200)
    ]
    (project / "seed" / "users.ndjson").write_text("".join(f"{json.dumps(user)}\n" for user in users))
    uri = with_database(server_uri, dbname)

    def codes(*lines: str) -> list[int]:
        sync_db.client.drop_database(dbname)
        return [run(line, project, MOTORCTL_URI=uri).returncode for line in lines]

    assert codes(*lines) == [0, 0, 2], "a baseline is never made unasked"
    assert codes(*lines[:-1], f"{lines[-1]} --update-baseline", lines[-1]) == [0, 0, 0, 0]
    manifest = project / "schema" / "shop.yaml"
    kept, dropped = manifest.read_text(), re.compile(r"      - keys: \{last_login: 1\}\n.*\n")
    assert dropped.search(kept)
    manifest.write_text(dropped.sub("", kept))
    assert codes(*lines) == [0, 0, 8]
    report = (project / "report.xml").read_text()
    assert 'reads users as a whole, not by last_login_1; sorts in memory now"' in report
    assert report.count("<failure ") == 1
    manifest.write_text(kept)
    assert codes(*lines) == [0, 0, 0]


def test_a_batch_of_payments_by_cron(
    project: Path, server_uri: str, dbname: str, sync_db: SyncDatabase[dict[str, Any]]
) -> None:
    """The script as it stands: a file pays once, what is refused is mailed, and without a server it says 75."""
    mails, uri = mailing(project), uri_file(project, server_uri)
    script = recipe("send-payments.sh").replace("/etc/motorctl/uri", str(uri))
    script = script.replace("/srv/payments", str(project)).replace(
        "MOTORCTL_DB=shop", f"MOTORCTL_DB={dbname}"
    )
    (project / "send-payments.sh").write_text(script)
    ledger = sync_db["transfers"]
    sync_db["accounts"].insert_many([{"_id": name, "balance": 50} for name in ("alice", "bob")])

    def send(file: str = "", rows: str = "") -> int:
        """Put a file there, and run the script as cron does: with `sh`."""
        if file:
            (project / file).write_text(f"from,to,amount\n{rows}")
        done = run("sh send-payments.sh", project, MAILS=str(mails), XDG_CONFIG_HOME=str(project))
        assert done.stdout == "", done.stderr
        return done.returncode

    for _ in range(2):  # a second time: killed before it was moved away
        assert send("payments-1.csv", "alice,bob,12.50\nbob,alice,3.00\n") == 0
        assert not (project / "payments-1.csv").exists()
    assert (mails.exists(), ledger.count_documents({})) == (False, 2)

    sync_db["accounts"].update_one({"_id": "bob"}, {"$inc": {"balance": 1}})
    assert send("payments-2.csv", "alice,bob,2.00\nalice,bob,999.00\n") == 0
    said = mails.read_text()
    assert "payments-2: some were refused" in said
    assert "insufficient funds" in said
    assert "the books don't balance" in said
    assert ledger.count_documents({}) == 3
    assert send() == 0
    assert mails.read_text() == said, "nothing to send"

    uri.write_text("mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=200")
    assert send("payments-3.csv", "alice,bob,1.00\n") == 75
    assert (project / "payments-3.csv").exists()


def block(after: str, kind: str) -> str:
    """Return the first block of that kind behind these words."""
    found = re.search(rf"^```{kind}\n(.*?)^```", TEXT[TEXT.index(after) :], re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


def test_the_lines_about_money_and_stock_run_as_they_stand(cli: Runner) -> None:
    """The tour, the section's lines, and the batch's file, one after the other in one database."""
    tour = re.findall(r"^\$ (.*)", block("**Transfers**", "console"), re.MULTILINE)
    codes, user = [], ""
    for line in [*tour, *block("# Money and stock\n", "sh").splitlines()]:
        words = shlex.split(re.split(r" [|>] ", line.removeprefix("user=$("))[0], comments=True)
        done = cli(*(user if word == "$user" else word for word in words[1:]))
        codes.append(done.code)
        if line.startswith("user="):
            user = done.json()["id"]
    assert codes == [6 if line == "motorctl transfer send bob alice 99" else 0 for line in tour] + [0] * (
        len(codes) - len(tour)
    )
    sent = cli("transfer", "batch", "-", "--batch", "b", stdin=block("**A batch by cron.**", "csv"))
    assert (sent.code, "committed  2" in sent.stdout) == (0, True)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Server]:
    """A server with the user `root`."""
    with secured.guarded(tmp_path) as server:
        yield server


def test_the_role_of_the_payments_sends_and_changes_no_record(guarded: Server, cli: Runner) -> None:
    text = block("give the user of the job a role", "js").replace("passwordPrompt()", '"secret"')
    role, user = (
        json.loads(re.sub(r"(\w+):", r'"\1":', re.sub(r",\s*\]", "]", call)))
        for call in re.findall(r"^db\.create(?:Role|User)\((.*?)\)$", text, re.MULTILINE | re.DOTALL)
    )
    with pymongo.MongoClient[dict[str, Any]](as_user(guarded, "root")) as root:
        root.shop.command("createRole", role.pop("role"), **role)
        root.shop.command("createUser", user.pop("user"), **user)
        for side in ("from", "to"):
            root.shop.transfers.create_index([(side, 1), ("created_at", 1)])
        root.shop.accounts.insert_many([{"_id": name, "balance": 50} for name in ("alice", "bob")])
    uri = guarded.uri.replace("//", "//payments:secret@").replace("/?", "/shop?")

    def run_as_payments(*arguments: str, stdin: str = "") -> int:
        done = cli(*arguments, "--uri", uri, stdin=stdin, connected=False)
        assert "warning" not in done.stderr
        return done.code

    assert run_as_payments("transfer", "send", "alice", "bob", "1", "--key", "k") == 0
    assert run_as_payments("transfer", "reverse", "k") == 0
    batch = block("**A batch by cron.**", "csv")
    assert run_as_payments("transfer", "batch", "-", "--batch", "b", stdin=batch) == 0
    assert run_as_payments("transfer", "batch", "-", "--batch", "c", "--all-or-nothing", stdin=batch) == 0
    assert run_as_payments("transfer", "show", "k") == 0
    assert run_as_payments("transfer", "show", "absent") == 5
    assert run_as_payments("accounts", "statement", "alice") == 0
    assert run_as_payments("accounts", "freeze", "bob") == 0
    assert run_as_payments("transfer", "verify") == 0
    assert run_as_payments("accounts", "open") == 4
    with pymongo.MongoClient[dict[str, Any]](uri) as payments:
        ledger, accounts = payments.shop.transfers, payments.shop.accounts
        before = list(ledger.find())
        for forbidden in (
            lambda: ledger.update_one({"_id": "k"}, {"$set": {"amount": 2}}),
            lambda: ledger.replace_one({"_id": "k"}, {}, upsert=True),
            lambda: ledger.find_one_and_delete({"_id": "k"}),
            lambda: ledger.delete_many({}),
            ledger.drop,
            lambda: ledger.rename("other"),
            lambda: list(accounts.aggregate([{"$merge": "transfers"}])),
            lambda: accounts.delete_many({}),
        ):
            with pytest.raises(pymongo.errors.OperationFailure, match="not authorized"):
                forbidden()
        assert list(ledger.find()) == before
        assert len(before) == 6


# --- jobs ---------------------------------------------------------------------------------------------


def mailing(project: Path) -> Path:
    """Put a `mail` on the PATH that keeps what it is given, and return where."""
    mail = project / "bin" / "mail"
    mail.write_text('#!/bin/sh\n{ echo "$2"; cat; } >> "$MAILS"\n')
    mail.chmod(0o755)
    return project / "mails"


def uri_file(project: Path, uri: str) -> Path:
    path = project / "uri"
    path.write_text(uri)
    path.chmod(0o600)
    return path


def test_a_night_of_cron(
    project: Path, server_uri: str, dbname: str, sync_db: SyncDatabase[dict[str, Any]]
) -> None:
    mails, uri = mailing(project), uri_file(project, server_uri)
    script = recipe("nightly.sh").replace("/etc/motorctl/uri", str(uri)).replace("/srv/nightly", str(project))
    (project / "nightly.sh").write_text(script.replace("MOTORCTL_DB=shop", f"MOTORCTL_DB={dbname}"))
    (project / "in").mkdir()

    def night(name: str, *lines: str) -> int:
        (project / "in" / f"orders-{name}.ndjson.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
        return run("sh nightly.sh", project, MAILS=str(mails), XDG_CONFIG_HOME=str(project)).returncode

    order = '{"status": "completed", "amount": 5, "created_at": {"$date": "2026-11-20T00:00:00Z"}}'
    assert night("1", order, order) == 0
    assert "some were refused" not in mails.read_text()
    assert "| period |" in re.sub(" +", " ", mails.read_text())
    assert night("2", order, "five") == 0
    assert "orders: some were refused" in mails.read_text()
    assert sync_db["orders"].count_documents({}) == 3, "the first night's file is not imported again"
    uri.write_text("mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=200")
    assert night("3", order) == 75


def test_the_systemd_service(
    project: Path, server_uri: str, dbname: str, sync_db: SyncDatabase[dict[str, Any]]
) -> None:
    unit = configparser.ConfigParser(interpolation=None, comment_prefixes="#", strict=True)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # as Python's documents say to keep the case
    unit.read_string(recipe("/etc/systemd/system/motorctl-nightly.service"))
    line = (
        unit["Service"]["ExecStart"].replace("/opt/motorctl/bin/", "").replace("/srv/in", str(project / "in"))
    )
    variables = dict(pair.split("=", 1) for pair in unit["Service"]["Environment"].split())
    assert variables["MOTORCTL_URI_FILE"] == "%d/uri", "systemd's directory of credentials"
    variables |= {"MOTORCTL_URI_FILE": str(uri_file(project, server_uri)), "MOTORCTL_DB": dbname}
    (project / "in").mkdir()
    (project / "in" / "orders.ndjson").write_text('{"a": 1}\nfive\n')
    done = run(line, project, **variables)
    assert done.returncode == int(unit["Service"]["SuccessExitStatus"]) == 7, done.stderr
    assert sync_db["orders"].count_documents({}) == 1
    timer = configparser.ConfigParser(interpolation=None, comment_prefixes="#", strict=True)
    timer.read_string(recipe("/etc/systemd/system/motorctl-nightly.timer"))
    assert timer["Timer"]["OnCalendar"] == "*-*-* 02:15:00"


def test_the_kubernetes_job_imports_each_part_once(
    project: Path, server_uri: str, dbname: str, sync_db: SyncDatabase[dict[str, Any]]
) -> None:
    job = parsed(recipe("import-job.yaml"))["spec"]
    (container,) = job["template"]["spec"]["containers"]
    assert container["command"] == ["sh", "-c"]
    (line,) = container["args"]
    (project / "orders.ndjson").write_text("".join(f'{{"n": {n}}}\n' for n in range(100)))
    line = line.replace("/data/", f"{project}/")
    variables = {"MOTORCTL_URI_FILE": str(uri_file(project, server_uri)), "MOTORCTL_DB": dbname}
    with ThreadPoolExecutor(2) as pods:
        done = list(
            pods.map(
                lambda index: run(line, project, **variables, JOB_COMPLETION_INDEX=str(index)),
                range(job["completions"]),
            )
        )
    assert [pod.returncode for pod in done] == [0] * 8, [pod.stderr for pod in done]
    assert sorted(order["n"] for order in sync_db["orders"].find()) == list(range(100))


def test_the_nightly_look_for_drift_in_kubernetes(project: Path, server_uri: str, dbname: str) -> None:
    pod = parsed(recipe("drift-cronjob.yaml"))["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    assert mounts == {volume["name"] for volume in pod["volumes"]}
    line = shlex.join(["motorctl", *container["args"]]).replace("/schema ", f"{project}/schema ")
    variables = {"MOTORCTL_URI_FILE": str(uri_file(project, server_uri)), "MOTORCTL_DB": dbname}
    assert run(line, project, **variables).returncode == 8
    assert run("motorctl schema apply schema --yes", project, **variables).returncode == 0
    assert run(line, project, **variables).returncode == 0


def test_the_ansible_tasks(project: Path, server_uri: str, dbname: str) -> None:
    (play,) = parsed(recipe("motorctl.yml"))
    copy, look, apply = play["tasks"]
    assert copy["ansible.builtin.copy"]["dest"] == "/etc/motorctl/schema/"
    variables = {"MOTORCTL_URI_FILE": str(uri_file(project, server_uri)), "MOTORCTL_DB": dbname}

    def task(which: dict[str, Any]) -> int:
        line = which["ansible.builtin.command"].replace("/etc/motorctl/", f"{project}/")
        return run(line, project, **variables).returncode

    assert (task(look), task(apply), task(look)) == (8, 0, 0)
    assert look["failed_when"] == "drift.rc not in [0, 8]"
