"""README's recipes for CI systems, run as far as a machine without them can: their motorctl lines, for real."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ruamel.yaml import YAML

if TYPE_CHECKING:
    from pymongo.database import Database as SyncDatabase

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def recipe(name: str) -> str:
    """Return the block of README whose first line names the file."""
    (found,) = re.findall(
        rf"^```(?:yaml|make)\n# {re.escape(name)}\n(.*?)^```", README, re.MULTILINE | re.DOTALL
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
