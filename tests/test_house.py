"""The rules of the house as tests: lint, format, types, import contracts, small rooms."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "motorctl"
SOURCES = sorted(PACKAGE.rglob("*.py"))

CHECKS = {
    "lint": ["-m", "ruff", "check", "--no-cache", "--output-format", "concise"],
    "format": ["-m", "ruff", "format", "--check", "--no-cache"],
    "types": ["-m", "mypy"],
    "contracts": ["-c", "from importlinter.cli import lint_imports_command as run; run(['--no-cache'])"],
}


@pytest.mark.parametrize("check", CHECKS)
def test_the_whole_project_passes(check: str) -> None:
    # Without the coverage of this run: a type checker has enough to do.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    done = subprocess.run(
        [sys.executable, *CHECKS[check]], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{check}:\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(("room", "limit"), [("commands", 260), ("core", 420)])
def test_small_rooms(room: str, limit: int) -> None:
    lengths = {
        str(path.relative_to(PACKAGE)): len(path.read_text(encoding="utf-8").splitlines())
        for path in (PACKAGE / room).rglob("*.py")
    }
    longest = max(lengths, key=lengths.__getitem__)
    assert lengths[longest] <= limit, f"{longest} has {lengths[longest]} lines: it is two nouns"


def test_no_room_for_odds_and_ends() -> None:
    names = {path.stem for path in SOURCES}
    assert not names & {"utils", "util", "helpers", "helper", "common", "manager", "service", "misc"}


def test_only_one_asyncio_run() -> None:
    found = [
        path.name
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "asyncio.run"
    ]
    assert found == ["app.py"]


def test_nothing_prints_but_the_edges() -> None:
    edges = {"output.py", "diagnostics.py", "cli.py", "__main__.py"}
    for path in SOURCES:
        code = ast.parse(path.read_text(encoding="utf-8"))
        names = {ast.unparse(node.func) for node in ast.walk(code) if isinstance(node, ast.Call)}
        wrong = {"print", "typer.echo", "typer.secho", "sys.stdout.write", "sys.stderr.write"}
        assert path.name in edges or not names & wrong, path


def test_no_file_names_the_place_where_it_was_written() -> None:
    """Paths and registries of one machine mean nothing on another."""
    places = {f"{ROOT}/", f"{ROOT.parent}/shared"}
    if sys.prefix != sys.base_prefix:
        places.add(f"{sys.prefix}/")
    for name in ("PIP_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "GOPROXY"):
        host = urlsplit(os.environ.get(name, "")).hostname
        if host and host not in ("pypi.org", "proxy.golang.org"):
            places.add(host)
    for path in project_files():
        text = path.read_bytes().decode(errors="replace")
        assert [place for place in places if place in text] == [], path
        assert not re.search(
            r"--(?:extra-)?index-url|/home/\w+/|/Users/\w+/|C:\\Users", text
        ) or path == Path(__file__), path


def project_files() -> list[Path]:
    """What a clone holds: everything but caches and other hidden work."""
    hidden = re.compile(r"\.(?!github|ci)|__pycache__|.*\.egg-info$|dist$|htmlcov$")
    return [
        path
        for path in ROOT.rglob("*")
        if path.is_file() and not any(hidden.match(part) for part in path.relative_to(ROOT).parts)
    ]
