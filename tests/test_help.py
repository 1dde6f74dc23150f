"""Help: topics that say what the program does, each command's help with all that a user needs, and the reference."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest
import reference
import shells
from test_cli import COMMANDS, GROUPS, LEAVES

from motorctl import topics
from motorctl.commands import ENTRIES
from motorctl.errors import ExitCode
from motorctl.global_options import FORMATS, OPTIONS, PICTURES
from motorctl.settings import DEFAULT_URI

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Runner

# Topics


def test_help_alone_lists_the_topics(cli: Runner) -> None:
    result = cli("help", connected=False)
    assert (result.code, result.stderr) == (0, "")
    for name, (sentence, _) in topics.TOPICS.items():
        assert re.search(rf"^  motorctl help {name} +{re.escape(sentence)}$", result.stdout, re.MULTILINE)


@pytest.mark.parametrize("topic", topics.TOPICS)
def test_a_topic_fits_80_columns_whatever_the_terminal(cli: Runner, topic: str) -> None:
    narrow, wide = cli("help", topic, columns=60, tty=True), cli("help", topic, columns=200)
    assert (narrow.code, narrow.stderr) == (0, "")
    assert narrow.stdout == wide.stdout
    assert max(map(len, narrow.stdout.splitlines())) <= 80
    assert narrow.stdout.endswith("\n")


def test_exit_codes_are_those_of_the_program(cli: Runner) -> None:
    shown = cli("help", "exit-codes").stdout
    assert re.findall(r"^  (\d+) ", shown, re.MULTILINE) == [str(int(code)) for code in ExitCode]
    assert [code for code in ExitCode if code not in topics.CODES] == []
    assert topics.exit_codes_in_a_line() in " ".join(cli("--help").stdout.split())


def test_the_script_of_the_exit_codes_does_what_it_says(motorctl: Runner, tmp_path: Path) -> None:
    """It is run as it stands, against a schema that is as it should be, one that isn't, and no server."""
    script = topics.TOPICS["exit-codes"][1]().partition("In a script:\n")[2]
    assert script
    place = tmp_path / "bin"
    place.mkdir()
    ends = {}
    for code in (0, 3, 8, 2):
        (place / "motorctl").write_text(f"#!/bin/sh\nexit {code}\n")
        (place / "motorctl").chmod(0o755)
        done = subprocess.run(
            ["bash", "-c", script],
            env={"PATH": f"{place}:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        ends[code] = (done.returncode, done.stdout, done.stderr)
    assert ends == {0: (0, "", ""), 3: (75, "", ""), 8: (0, "the schema has drifted\n", ""), 2: (1, "", "")}
    assert motorctl("schema", "check", "--builtin", "college", "-q").code == 8


def test_formats_are_those_of_the_program(cli: Runner) -> None:
    shown = cli("help", "formats").stdout
    assert re.findall(r"^  (\w+) +[A-Z]", shown, re.MULTILINE) == [*FORMATS, *PICTURES]


def test_the_document_in_formats_is_what_export_writes(cli: Runner) -> None:
    text = "".join(
        line
        for line in cli("help", "formats").stdout.splitlines()
        if re.match(r"  ?[ {]", line) and '"' in line
    )
    document = re.search(r"\{\"_id\".*\}\}", text)
    assert document is not None
    compact = " ".join(document[0].split())
    assert cli("import", "-", "--into", "samples", stdin=compact).code == 0
    exported = cli("export", "samples").stdout
    assert exported.replace(" ", "").strip() == compact.replace(" ", "")


def test_connection_names_every_variable_and_a_profile_that_works(cli: Runner, tmp_path: Path) -> None:
    shown = cli("help", "connection").stdout
    variables = {variable for option in OPTIONS for variable in option.environment}
    assert [name for name in variables if not re.search(rf"^  {name} ", shown, re.MULTILINE)] == []
    assert DEFAULT_URI in shown.replace("\n", " ")
    profile = re.search(r"^  default_profile.*?ca\.pem\"$", shown, re.MULTILINE | re.DOTALL)
    assert profile is not None
    (tmp_path / "c.toml").write_text(profile[0].replace('"local"', '"production"'))
    read = cli("config", "show", "--config", str(tmp_path / "c.toml"), "-o", "json", connected=False)
    assert read.code in (0, 2)
    assert "/run/secrets/mongodb-uri" in read.stdout + read.stderr
    for uri in re.findall(r"^  (mongodb\S+)$", shown, re.MULTILINE):
        assert cli("config", "show", "--uri", uri, connected=False).code == 0, uri


@pytest.mark.parametrize("path", ["students list", "schema", "import", "slow", "ping", "help"])
def test_help_of_a_command_is_its_help(cli: Runner, path: str) -> None:
    assert cli("help", *path.split()) == cli(*path.split(), "--help")
    assert cli("help", *path.split()).code == 0


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["frmats"], "no such topic or command: frmats", "did you mean 'formats'?"),
        (["exit-codes", "x"], "no such topic or command: exit-codes x", "did you mean 'exit-codes'?"),
        (["zzz"], "no such topic or command: zzz", "`motorctl help` lists the topics"),
        (["students", "lst"], "no such command 'lst'", "did you mean 'list'?"),
    ],
)
def test_help_that_there_is_not(cli: Runner, words: list[str], message: str, hint: str) -> None:
    result = cli("help", *words)
    assert (result.code, result.stdout) == (2, "")
    error, step = result.stderr.splitlines()
    assert error == f"error: {message}"
    assert step.startswith(f"hint: {hint}")


def test_help_is_there_when_the_settings_are_what_is_wrong(cli: Runner, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[broken")
    environ = {"MOTORCTL_CONFIG": str(tmp_path / "c.toml"), "MOTORCTL_TIMEOUT": "soon"}
    assert cli("ping", env=environ).code == 2
    for words in (["help"], ["help", "connection"], ["help", "config", "show"], ["config", "show", "--help"]):
        assert cli(*words, env=environ).code == 0, words


# Each command's help

READS_OR_WRITES = re.compile(
    r"\b(reads?|writ(es?|ten|ing)|chang(es?|ed|ing)|delet(es?|ed)|drops?|creates?|sets?|stops?|starts?|prints?|shows?"
    r"|adds?|removes?|connects?|puts?|stays?|steps?|takes?|moves?|nothing)\b",
    re.IGNORECASE,
)
CODES_TOLD = {
    # commands whose exit codes mean something of their own: those that their help has to name
    "schema check": {8}, "schema diff": {8}, "schema apply": {1, 8}, "validators check": {8}, "validators try": {8},
    "explain suite": {8}, "explain find": {8}, "accounts statement": {8}, "transfer verify": {8},
    "transfer send": {3, 5, 6, 9}, "transfer show": {0, 5, 9}, "transfer reverse": {5, 6}, "transfer batch": {3, 7, 9},
    "orders place": {5, 6, 9}, "orders complete": {6}, "orders cancel": {6}, "orders refund": {6}, "orders get": {5},
    "inventory add": {6}, "inventory set": {5, 6, 9}, "inventory get": {5}, "accounts open": {6}, "accounts get": {5},
    "accounts freeze": {6}, "accounts close": {6}, "import": {7}, "export": {5}, "students get": {5},
    "students create": {2, 6}, "users create": {2, 6}, "users get": {5}, "indexes create": {1, 6}, "indexes drop": {5},
    "students update": {5, 6}, "users update": {5, 6},
    "students delete": {5}, "users delete": {5}, "ping": {3}, "doctor": {2, 3, 4}, "local uri": {5},
    "import forget": {5}, "import status": {5}, "indexes hide": {5}, "indexes unhide": {5},
}  # fmt: skip


def text_of(path: str) -> str:
    """A command's help without its examples."""
    return " ".join((LEAVES[path].help or "").partition("Example:\n")[0].split())


@pytest.mark.parametrize("path", LEAVES)
def test_help_says_what_happens_to_data(path: str) -> None:
    assert READS_OR_WRITES.search(text_of(path))


@pytest.mark.parametrize("path", CODES_TOLD)
def test_help_names_the_exit_codes_that_are_special(path: str) -> None:
    options = " ".join(getattr(param, "help", "") or "" for param in LEAVES[path].params)
    told = {
        int(code) for code in re.findall(r"(?<![\d.,:/-])\d(?![\d,.:%]\d|\w|-)", f"{text_of(path)} {options}")
    }
    assert CODES_TOLD[path] <= told


@pytest.mark.parametrize("path", LEAVES)
def test_every_option_and_argument_says_what_it_is_for(path: str) -> None:
    silent = [
        p.name for p in LEAVES[path].params if not getattr(p, "hidden", False) and not getattr(p, "help", "")
    ]
    assert silent == []


@pytest.mark.parametrize("path", COMMANDS)
def test_usage_has_no_braces(cli: Runner, path: str) -> None:
    usage = cli(*path.split(), "--help").stdout.partition("\n\n")[0]
    assert "{" not in usage
    assert usage.startswith(f"Usage: motorctl {path}")


def test_the_groups_are_nouns_with_verbs() -> None:
    assert all(len(group.commands) > 1 for group in GROUPS.values())


# The reference


def test_the_reference_is_up_to_date() -> None:
    """If not: `python tests/reference.py` writes it."""
    assert reference.stale() == []


def test_a_stale_reference_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = reference.ROOT
    files = {tmp_path / path.relative_to(here): text for path, text in reference.files().items()}
    monkeypatch.setattr(reference, "ROOT", tmp_path)
    monkeypatch.setattr(reference, "files", lambda: files)
    assert reference.main(["--check"]) == 1
    assert reference.main([]) == 0
    assert reference.main(["--check"]) == 0
    (tmp_path / "docs/man/motorctl-gone.1").touch()
    (tmp_path / "docs/commands.md").write_text("")
    capsys.readouterr()
    assert reference.main(["--check"]) == 1
    assert (
        capsys.readouterr().out
        == "not up to date: docs/commands.md\nnot up to date: docs/man/motorctl-gone.1\n"
    )
    assert reference.main([]) == 0
    assert not (tmp_path / "docs/man/motorctl-gone.1").exists()


def test_the_reference_has_every_command_and_no_broken_link() -> None:
    page = reference.markdown()
    titles = re.findall(r"^##+ (.*)$", page, re.MULTILINE)
    assert [path for path in COMMANDS if f"motorctl {path}" not in titles] == []
    anchors = {title.lower().replace(" ", "-") for title in titles}
    assert [link for link in re.findall(r"\]\(#([\w-]+)\)", page) if link not in anchors] == []


def test_each_name_has_a_man_page_that_says_what_help_says() -> None:
    pages = reference.man_pages()
    assert set(pages) == {"motorctl.1", *(f"motorctl-{name}.1" for name in ENTRIES)}
    for path, leaf in LEAVES.items():
        page = pages[f"motorctl-{path.split()[0]}.1"].replace("\\-", "-")
        for param in leaf.params:
            shown = [flag for flag in getattr(param, "opts", []) if flag.startswith("--")]
            assert getattr(param, "hidden", False) or not shown or shown[0] in page, (path, shown)
    assert all(max(map(len, page.splitlines())) < 2000 for page in pages.values())


def test_man_pages_are_roff_without_a_fault(tmp_path: Path) -> None:
    checker = shells.installed("mandoc")
    for name, page in reference.man_pages().items():
        (tmp_path / name).write_text(page)
    done = subprocess.run(
        [checker, "-T", "lint", "-W", "warning", *map(str, sorted(tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        check=False,
    )
    # A date would change the page with each day on which it is written.
    assert [found for found in done.stdout.splitlines() if "missing date" not in found] == []
    shown = subprocess.run(
        [checker, "-T", "ascii", str(tmp_path / "motorctl-students.1")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "--page-size N" in re.sub(r".\x08", "", shown)
