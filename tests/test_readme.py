"""README's tour, typed as it stands into a shell on a machine without a server: each output in it is what comes out.

What differs from run to run (ids, times, speeds, the width that they give a column) is told apart from what doesn't.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
TOUR = README.partition("\n## The tour\n")[2].partition("\n## ")[0]
MARK = "=== step "

VARYING = (
    (r"\b[0-9a-f]{24}\b", "ID"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d\.\d+)?Z", "TIME"),
    (r"\d[\d.,]* (ms|s)\b", "A TIME"),
    (r"(?m)^(running|pid|uptime|data|log|database|memory)\s.*", r"\1 ..."),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),  # the next one, if somebody has it
    (r"[\d,]+ documents a second", "N documents a second"),
    # Milliseconds of a stage, the last figure of its line; and what a mark says of the slowest one.
    (r"(?m)^((?:LIMIT|FETCH|IXSCAN|SORT|COLLSCAN)\b.*?)\s+\d+( <- worst)?$", r"\1"),
    (r" <- worst", ""),
    (r" +", " "),
    (r"(?m) $", ""),
)


def steps() -> list[tuple[str, str]]:
    """Return the tour's commands with the outputs below them, in the order of the page."""
    found: list[tuple[str, str]] = []
    for block in re.findall(r"^```console\n(.*?)^```", TOUR, re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


def plain(text: str) -> str:
    for pattern, word in VARYING:
        text = re.sub(pattern, word, text)
    return text.strip()


def expected(output: str) -> str:
    """Return a pattern: a line of three dots stands for any lines."""
    return ".*".join(re.escape(part.strip()) for part in plain(output).split("\n...")).strip()


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Type the whole tour into one shell, in an empty home; return what came after each command, by its number."""
    home = tmp_path_factory.mktemp("newcomer")
    shim = home / "bin" / "motorctl"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m motorctl "$@"\n')
    shim.chmod(0o755)
    script = "exec 2>&1\n"
    for number, (command, _) in enumerate(steps()):
        script += f"\necho '{MARK}{number}'\n{command}\n"
    variables = {
        name: os.environ[name] for name in ("LANG", "PYTHONPATH", "TZ", "TMPDIR") if name in os.environ
    }
    environment = {**variables, "HOME": str(home), "PATH": f"{shim.parent}{os.pathsep}{os.environ['PATH']}"}
    try:
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=home,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            timeout=150,
            check=False,
        )
        parts = re.split(rf"^{MARK}(\d+)\n", done.stdout, flags=re.MULTILINE)
        yield dict(zip(parts[1::2], parts[2::2], strict=True))
    finally:
        subprocess.run([shim, "local", "stop"], env=environment, check=False, capture_output=True)
        shutil.rmtree(home, ignore_errors=True)


@pytest.mark.parametrize(
    "number", range(len(steps())), ids=[f"{n}: {s[0][:60]}" for n, s in enumerate(steps())]
)
def test_what_the_tour_shows_is_what_comes_out(outputs: dict[str, str], number: int) -> None:
    command, shown = steps()[number]
    found = outputs[str(number)]

    assert re.fullmatch(expected(shown), plain(found), re.DOTALL), f"{command}\n{found}"


def test_there_is_a_tour() -> None:
    assert len(steps()) > 20
