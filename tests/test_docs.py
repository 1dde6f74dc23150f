"""README and docs say what the program does: their lines parse, its tables are the program's, its commands are CI's."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest

from motorctl import arguments, cli, config_file, program, retry, settings, silence
from motorctl.core import transactions
from motorctl.errors import ExitCode
from motorctl.manifest import sources
from motorctl.streams import Streams

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}


def typed() -> list[str]:
    """Return each motorctl command line in the blocks of README and docs, continuation lines joined."""
    # The examples of docs/commands.md are run, all of them, by test_examples.py.
    pages = "\n".join([README, *(text for name, text in PAGES.items() if name != "commands.md")])
    blocks = re.findall(r"^```(?:sh|console)\n(.*?)^```", pages, re.MULTILINE | re.DOTALL)
    text = "\n".join(blocks).replace("\\\n", " ")
    return [m.group(1) for m in re.finditer(r"^(?:\$ )?\s*(motorctl .*)$", text, re.MULTILINE)]


@pytest.mark.parametrize("line", typed())
def test_every_command_that_is_shown_is_one(line: str) -> None:
    words = shlex.split(re.split(r" [|<>] | > ", line)[0], comments=True)[1:]
    root = program.root()
    run = cli.Run(words, {}, Streams.standard())
    with root.make_context("motorctl", list(words), obj=run) as context:
        name, command, rest = root.resolve_command(context, [*context._protected_args, *context.args])
        assert command is not None
        with command.make_context(name, rest, parent=context) as inner:
            if isinstance(command, program.Group):
                verb, leaf, rest = command.resolve_command(inner, [*inner._protected_args, *inner.args])
                assert leaf is not None
                leaf.make_context(verb, rest, parent=inner).close()


def test_there_are_commands_to_check() -> None:
    assert len(typed()) > 15


def test_the_exit_codes_in_readme_are_the_programs() -> None:
    section = README.partition("\n## Exit codes\n")[2].partition("\n## ")[0]
    codes = re.findall(r"^\| ([\d /]+) \|", section, re.MULTILINE)

    assert [int(c) for row in codes for c in row.split(" / ")] == [int(code) for code in ExitCode]


def test_ci_runs_the_test_command_of_readme() -> None:
    (line,) = [
        line for line in (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines() if "pytest" in line
    ]

    assert line in README.splitlines()


@pytest.mark.parametrize(
    "page", ["README.md", *(f"docs/{name}" for name in PAGES), ".github/CONTRIBUTING.md"]
)
def test_every_link_leads_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(
        r"\]\(([^)\s]+)\)", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    ):
        if "://" not in target:
            path, _, heading = target.partition("#")
            found = (ROOT / page).parent / path if path else ROOT / page
            assert found.exists(), target
            if heading:
                titles = re.findall(r"^#+ (.*)", found.read_text(encoding="utf-8"), re.MULTILINE)
                assert heading in {
                    re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles
                }, target


def test_the_numbers_that_are_promised_are_the_programs() -> None:
    document = importlib.import_module("motorctl.manifest.document")
    page = " ".join(PAGES["guarantees.md"].split())
    for said in (
        f"{sources._LARGEST >> 20} MiB and {document._MOST_VALUES:,} values",
        f"argument {arguments.LARGEST >> 20} MiB",
        f"configuration {config_file.LARGEST_CONFIG >> 10} KiB",
        f"URI file {settings.LARGEST_URI >> 10} KiB",
        f"waited for {silence.ANSWER_SECONDS:g} seconds",
        f"in all ({settings.load({}, {}).retries})",
        f"at most {retry.TOTAL_SECONDS:g} s",
        f"at most {transactions.LONGEST:g} s",
    ):
        assert said in page
