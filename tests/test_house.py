"""The rules of the house as tests: lint, format, types, dead code, import contracts, small rooms."""

from __future__ import annotations

import ast
import graphlib
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "motorctl"
SOURCES = sorted(PACKAGE.rglob("*.py"))
DRIVER_TYPES = {("motorctl.client", name) for name in ("Client", "Collection", "Database")}

CHECKS = {
    "lint": ["-m", "ruff", "check", "--no-cache", "--output-format", "concise"],
    "format": ["-m", "ruff", "format", "--check", "--no-cache"],
    "types": ["-m", "mypy"],
    "dead code": ["-m", "vulture"],
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


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_public_function_says_what_it_does(path: Path) -> None:
    # Not methods: a property of one line says it by its name, and what overrides is told of where it is declared.
    silent = [
        node.name
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert not silent


def test_no_rule_is_ignored_without_its_reason() -> None:
    reason = re.compile(
        r"# (?:noqa: [A-Z0-9, ]+ - |type: ignore\[[a-z-, ]+\]  # )\w|# type: ignore\[[a-z-, ]+\]  # noqa: \S+ - "
    )
    said = re.compile(r"# (?:noqa|type: ignore)\b.*")
    scripts = [ROOT / ".ci" / name for name in ("matrix", "release", "zipapp")]
    bare = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in [*SOURCES, *sorted((ROOT / "tests").rglob("*.py")), *scripts]
        if path != Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        for found in said.findall(line)
        if not reason.match(found)
    ]
    assert not bare


@pytest.mark.parametrize(("room", "limit"), [("commands", 260), ("core", 420), (".", 430)])
def test_small_rooms(room: str, limit: int) -> None:
    lengths = {
        str(path.relative_to(PACKAGE)): len(path.read_text(encoding="utf-8").splitlines())
        for path in (PACKAGE / room).rglob("*.py")
    }
    # Written by a program, a line a parameter.
    lengths.pop("completion/table.py", None)
    longest = max(lengths, key=lengths.__getitem__)
    assert lengths[longest] <= limit, f"{longest} has {lengths[longest]} lines: it is two nouns"


def test_no_room_for_odds_and_ends() -> None:
    names = {path.stem for path in SOURCES}
    assert not names & {"utils", "util", "helpers", "helper", "common", "manager", "service", "misc"}


def test_every_room_is_in_a_contract() -> None:
    """Of import-linter's: else a new module may import what it likes."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    named = {
        name
        for contract in contracts["contracts"]
        for place in ("layers", "source_modules", "forbidden_modules")
        for name in contract.get(place, ())
    }
    rooms = {".".join(_module(path).split(".")[:2]) for path in SOURCES}
    assert rooms - named == set()


def test_no_two_modules_need_each_other() -> None:
    """Not for a type either: the one that has it belongs below. The driver's types alone are asked upwards."""
    sorter: graphlib.TopologicalSorter[str] = graphlib.TopologicalSorter()
    names = {_module(path): path for path in SOURCES}
    for name, path in names.items():
        sorter.add(name, *(other for other in _imported(path) if other in names and other != name))
    sorter.prepare()


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                below = f"{node.module}.{alias.name}"
                found = below if _is_module(below) else str(node.module)
                if (found, alias.name) not in DRIVER_TYPES:
                    yield found


def _is_module(name: str) -> bool:
    place = ROOT.joinpath(*name.split("."))
    return place.is_dir() or place.with_suffix(".py").is_file()


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
