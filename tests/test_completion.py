"""Completion: the files in `completions/` are the program's own, and a TAB gives the right words.

After a change that is meant: `motorctl completion bash > completions/motorctl.bash`, and so on.
bash itself runs its script here; zsh, fish and PowerShell are answered as their scripts ask.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import command

from motorctl.cli import ENTRIES
from motorctl.commands.completion import SHELLS
from motorctl.settings import FORMATS, OPTIONS, PICTURES

if TYPE_CHECKING:
    from conftest import Runner

FILES = {"bash": "motorctl.bash", "zsh": "_motorctl", "fish": "motorctl.fish", "powershell": "motorctl.ps1"}
COMPLETIONS = Path(__file__).parent.parent / "completions"

LINES: dict[str, set[str]] = {
    # what stands on the line, the last word unfinished: the words offered
    "": set(ENTRIES),
    "st": {"students"},
    "zzz": set(),
    "students ": {"create", "get", "list", "update", "delete", "upsert", "count"},
    "students li": {"list"},
    "local st": {"start", "stop", "status"},
    "-o ": {*FORMATS, *PICTURES},
    "revenue by-customer -o ": {*FORMATS, *PICTURES},
    "students list -o ": set(FORMATS),
    "students list --output j": {"json"},
    "--log-format ": {"text", "json"},
    "completion ": set(SHELLS),
    "completion z": {"zsh"},
    "students list --filt": {"--filter"},
    "--uri": {"--uri", "--uri-file"},
    "ping --stable": {"--stable-api"},
}  # fmt: skip


@pytest.mark.parametrize("shell", SHELLS)
def test_the_files_are_what_the_program_prints(cli: Runner, shell: str) -> None:
    printed = cli("completion", shell)
    assert (printed.code, printed.stderr) == (0, "")
    assert (COMPLETIONS / FILES[shell]).read_text(encoding="utf-8") == printed.stdout


def test_there_is_a_file_for_each_shell_and_no_other() -> None:
    assert {path.name for path in COMPLETIONS.iterdir()} == set(FILES.values())


def test_zsh_finds_its_file_by_the_first_line() -> None:
    assert (COMPLETIONS / "_motorctl").read_text().startswith("#compdef motorctl\n")


def test_bash_understands_its_script() -> None:
    subprocess.run(["bash", "-n", str(COMPLETIONS / "motorctl.bash")], check=True)


def in_bash(line: str) -> set[str]:
    """Let bash complete a line with its script, and return what it would offer."""
    words = ["motorctl", *line.split(" ")]
    script = (
        f"source {COMPLETIONS / 'motorctl.bash'}\n"
        'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))\n'
        "complete -p motorctl | grep -q -- '-F _motorctl_completion' || exit 9\n"
        "_motorctl_completion motorctl\n"
        "printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    scripts = str(Path(sys.executable).parent)
    done = subprocess.run(
        ["bash", "--norc", "-c", script, "bash", *words],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"},
    )
    assert done.stderr == ""
    return set(done.stdout.split())


def asked(environ: dict[str, str]) -> str:
    done = subprocess.run(
        command(), capture_output=True, text=True, check=False, env={**os.environ, **environ}
    )
    assert done.stderr == ""
    return done.stdout


def in_zsh(line: str) -> set[str]:
    answer = asked({"_MOTORCTL_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": f"motorctl {line}"})
    if answer == "_files\n":
        return set()
    head, tail = "_arguments '*: :((", "))'\n"
    assert answer.startswith(head)
    assert answer.endswith(tail)
    return {item.split('"')[1] for item in answer.removeprefix(head).removesuffix(tail).split("\n")}


def in_fish(line: str) -> set[str]:
    answer = asked(
        {
            "_MOTORCTL_COMPLETE": "complete_fish",
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
            "_TYPER_COMPLETE_ARGS": f"motorctl {line}",
        }
    )
    return {item.split("\t")[0] for item in answer.splitlines() if item}


def in_powershell(line: str) -> set[str]:
    answer = asked(
        {
            "_MOTORCTL_COMPLETE": "complete_powershell",
            "_TYPER_COMPLETE_ARGS": f"motorctl {line}",
            "_TYPER_COMPLETE_WORD_TO_COMPLETE": line.rpartition(" ")[2],
        }
    )
    return {item.split(":::")[0] for item in answer.splitlines() if item}


@pytest.mark.parametrize("shell", [in_bash, in_zsh, in_fish, in_powershell])
@pytest.mark.parametrize("line", LINES)
def test_a_tab_offers_the_right_words(shell: object, line: str) -> None:
    assert callable(shell)
    assert shell(line) == LINES[line]


def test_every_option_is_offered() -> None:
    offered = in_bash("students list --")
    assert {flag for option in OPTIONS for flag in option.flags[0].split("/")} <= offered
    assert {"--filter", "--sort", "--all", "--help"} <= offered


def test_an_unknown_shell_is_refused(cli: Runner) -> None:
    result = cli("completion", "tcsh")
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: 'tcsh' is not one of bash, zsh, fish, powershell\n")
