"""What a release hands out: archives that hold what they should, the same each time, and programs that run.

The programs are the one of this environment and those that MOTORCTL_TEST_PROGRAMS names: an installed wheel, the
single file. `.ci/release` does.
"""

from __future__ import annotations

import email
import json
import os
import runpy
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import command

import motorctl
from motorctl.core import mongod

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pymongo

    SyncDatabase = pymongo.database.Database[dict[str, Any]]

ROOT = Path(__file__).parent.parent
NAMED = [name for name in os.environ.get("MOTORCTL_TEST_PROGRAMS", "").split(os.pathsep) if name]
PROGRAMS = {"this environment": command(), **{Path(name).name: [name] for name in NAMED}}
SOURCE = (
    ".ci",
    ".github",
    "docs",
    "motorctl",
    "tests",
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "pyproject.toml",
)
LITTER = ("__pycache__", ".pyc", ".orig", ".rej", ".swp", "~", ".DS_Store")
RECORDS = 60_000


# --- archives ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Built:
    """One build of a copy of the tree."""

    source: Path
    wheel: Path
    sdist: Path

    def in_wheel(self) -> set[str]:
        with zipfile.ZipFile(self.wheel) as archive:
            return set(archive.namelist())

    def in_sdist(self) -> set[str]:
        with tarfile.open(self.sdist) as archive:
            return {name.partition("/")[2] for name in archive.getnames()}


def build(source: Path, out: Path, *targets: str) -> list[Path]:
    """Build the targets of a source tree with the project's own backend; return the archives, in their order."""
    made = []
    for target in targets:
        done = subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(out)],
            cwd=source,
            env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        made.append(max(out.iterdir(), key=lambda path: path.stat().st_mtime_ns))
    return made


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Built, Built]]:
    """Two builds of the same files: elsewhere, later, with other rights, and with litter beside them."""
    done = []
    for number, mode in enumerate((0o644, 0o600)):
        home = tmp_path_factory.mktemp(f"build{number}")
        source = home / "source"
        source.mkdir()
        for name in SOURCE:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, source / name)
        for path in source.rglob("*.py"):
            path.chmod(mode)
            os.utime(path, (10**9 + number, 10**9 + number))
        if number:
            (source / "passwords.txt").write_text("not for others")
            (source / ".venv").mkdir()
            (source / ".venv" / "pyvenv.cfg").write_text("")
        wheel, sdist = build(source, home / "dist", "wheel", "sdist")
        done.append(Built(source, wheel, sdist))
    yield done[0], done[1]
    for built in done:
        shutil.rmtree(built.source.parent)


def test_the_same_files_make_the_same_archives(builds: tuple[Built, Built]) -> None:
    first, second = builds
    assert first.wheel.name == second.wheel.name == f"motorctl-{motorctl.__version__}-py3-none-any.whl"
    assert first.wheel.read_bytes() == second.wheel.read_bytes()
    assert first.sdist.read_bytes() == second.sdist.read_bytes()


def test_the_wheel_of_the_sdist_is_the_wheel(builds: tuple[Built, Built], tmp_path: Path) -> None:
    with tarfile.open(builds[0].sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    (wheel,) = build(unpacked, tmp_path / "dist", "wheel")
    assert wheel.read_bytes() == builds[0].wheel.read_bytes()


def test_the_wheel_holds_the_package_and_the_manual(builds: tuple[Built, Built]) -> None:
    names = builds[0].in_wheel()
    source = builds[0].source
    package = {str(path.relative_to(source)) for path in (source / "motorctl").rglob("*") if path.is_file()}
    assert {name for name in names if name.startswith("motorctl/")} == package
    assert package >= {"motorctl/py.typed", "motorctl/schemas/shop.yaml", "motorctl/pictures/page.css"}
    info, data = (f"motorctl-{motorctl.__version__}.{kind}" for kind in ("dist-info", "data/data/share"))
    manual = {f"{data}/man/man1/{path.name}" for path in (source / "docs" / "man").iterdir()}
    assert f"{data}/man/man1/motorctl.1" in manual
    assert names - package == manual | {
        f"{info}/METADATA",
        f"{info}/WHEEL",
        f"{info}/RECORD",
        f"{info}/entry_points.txt",
        f"{info}/licenses/LICENSE",
    }


def test_the_sdist_holds_the_tests_and_documents_and_no_litter(builds: tuple[Built, Built]) -> None:
    names = builds[1].in_sdist()
    assert names >= {"LICENSE", "PKG-INFO", "README.md", "CHANGELOG.md", "pyproject.toml"}
    assert names >= {"tests/conftest.py", "docs/man/motorctl.1", ".ci/release", ".ci/constraints.txt"}
    assert not [name for name in names if name.endswith(LITTER) or any(part in name for part in LITTER[:1])]
    assert not {"passwords.txt", ".venv/pyvenv.cfg"} & names


def test_the_metadata_is_what_an_index_shows(builds: tuple[Built, Built]) -> None:
    with zipfile.ZipFile(builds[0].wheel) as archive:
        text = archive.read(f"motorctl-{motorctl.__version__}.dist-info/METADATA").decode()
        points = archive.read(f"motorctl-{motorctl.__version__}.dist-info/entry_points.txt").decode()
    found = email.message_from_string(text)
    assert (found["Name"], found["Version"]) == ("motorctl", motorctl.__version__)
    assert (found["License-Expression"], found["Requires-Python"]) == ("Apache-2.0", ">=3.11")
    assert found["Description-Content-Type"] == "text/markdown"
    assert (ROOT / "README.md").read_text(encoding="utf-8").strip() in text
    needed = [line for line in found.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert {line.partition(">")[0].partition("[")[0].partition("<")[0] for line in needed} >= {
        "motor",
        "pymongo",
    }
    assert points.split() == ["[console_scripts]", "motorctl", "=", "motorctl.__main__:main"]


def test_the_image_is_built_from_what_the_ignore_file_lets_through() -> None:
    """Each file that the container file's build needs is let through by name: a stray secret never is."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    let_through = {line[1:] for line in rules if line.startswith("!")}
    assert all((ROOT / name).exists() for name in let_through)
    assert let_through >= {
        "motorctl",
        "pyproject.toml",
        "README.md",
        "LICENSE",
        ".ci/constraints.txt",
        "docs/man",
    }


# --- the checklist -----------------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository of its own with what the quick steps of the checklist look at."""
    home = tmp_path / "checkout"
    (home / "motorctl").mkdir(parents=True)
    (home / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "release", home / ".ci" / "release")
    (home / "motorctl" / "__init__.py").write_text('__version__ = "1.2.3"\n')
    (home / "CHANGELOG.md").write_text("# Changelog\n\n## 1.2.3 (2026-11-20)\n\n## 1.2.2 (2026-10-01)\n")
    (home / ".gitignore").write_text("dist/\n")
    git(home, "init", "-q")
    git(home, "add", ".")
    git(home, "commit", "-q", "-m", "All of it")
    return home


def git(home: Path, *arguments: str) -> None:
    who = ("-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, *arguments], cwd=home, check=True, capture_output=True)


def release(home: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, str(home / ".ci" / "release"), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_checklist_says_ok_for_each_step(checkout: Path) -> None:
    code, said = release(checkout, "--only", "tree", "changelog")
    assert code == 0, said
    shown = [line.split()[:2] for line in said.splitlines()]
    assert shown[:2] == [["ok", "tree"], ["ok", "changelog"]]
    assert "left out  tests" in said


@pytest.mark.parametrize(
    ("broken", "step", "words"),
    [
        (("stray.txt", "x"), "tree", "stray.txt"),
        (("CHANGELOG.md", "# Changelog\n\n## 1.2.3 (unreleased)\n"), "changelog", "1.2.3 (unreleased)"),
        (("CHANGELOG.md", "# Changelog\n\n## 1.2.2 (2026-10-01)\n"), "changelog", "has: 1.2.2"),
        (("motorctl/__init__.py", "version = 1\n"), "changelog", "no __version__"),
    ],
)
def test_the_checklist_fails_with_the_step_that_fails(
    checkout: Path, broken: tuple[str, str], step: str, words: str
) -> None:
    name, text = broken
    (checkout / name).write_text(text)
    code, said = release(checkout, "--only", step)
    assert code == 1
    assert f"failed    {step}:" in said
    assert words in said
    assert said.splitlines()[-1].startswith(f"failed: {step}")


def test_a_version_that_is_tagged_is_not_released_again(checkout: Path) -> None:
    git(checkout, "tag", "v1.2.3")
    code, said = release(checkout, "--only", "changelog")
    assert (code, "v1.2.3 is there already" in said) == (1, True)


def test_a_build_that_differs_from_the_other_fails(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison is of bytes: a backend that writes the time into its archive is found out."""
    program = runpy.run_path(str(checkout / ".ci" / "release"), run_name="release")
    (checkout / "dist" / "log").mkdir(parents=True)
    steps = program["Release"](checkout / "dist" / "log")
    steps.name = "build"
    numbers = iter("12")

    def built(*words: object, **_variables: str) -> None:
        if "build" in words:
            out = Path(str(words[words.index("--outdir") + 1]))
            out.mkdir()
            (out / "motorctl-1.2.3.tar.gz").write_text(next(numbers))

    monkeypatch.setattr(steps, "_run", built)
    monkeypatch.setattr(steps, "_check_out", lambda *_: None)
    with pytest.raises(program["StepError"], match=r"the second build differs: motorctl-1.2.3.tar.gz"):
        steps.build()


# --- programs ----------------------------------------------------------------------------------------


@pytest.fixture(params=PROGRAMS)
def program(request: pytest.FixtureRequest, server_uri: str, dbname: str, tmp_path: Path) -> Program:
    return Program(PROGRAMS[request.param], {"MOTORCTL_URI": server_uri, "MOTORCTL_DB": dbname}, tmp_path)


@dataclass(frozen=True)
class Program:
    """One way in which the program is installed, run somewhere else than in its source."""

    words: list[str]
    env: dict[str, str]
    home: Path

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run(
            [*self.words, *arguments],
            cwd=self.home,
            env={**os.environ, **self.env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def test_it_knows_its_version_and_its_commands(program: Program) -> None:
    assert program("--version") == f"motorctl {motorctl.__version__}\n"
    assert "Administer MongoDB" in program("--help")
    assert "Example:" in program("import", "--help")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_it_has_its_completion_scripts(program: Program, shell: str) -> None:
    assert "motorctl" in program("completion", shell)


def test_it_has_the_shipped_manifests(program: Program) -> None:
    assert "students:" in program("schema", "init", "college")
    report = json.loads(program("schema", "apply", "--builtin", "shop", "-o", "json"))
    assert {change["collection"] for change in report["changes"]} >= {"orders", "accounts"}
    assert json.loads(program("schema", "check", "--builtin", "shop", "-o", "json"))["in_sync"]


def test_its_workers_start_and_read_a_file(program: Program, sync_db: SyncDatabase) -> None:
    """They are processes of the same interpreter that find the same packages, compiled ones too."""
    file = program.home / "many.ndjson"
    file.write_text("".join(f'{{"n": {n}, "text": "{"x" * 100}"}}\n' for n in range(RECORDS)))
    summary = json.loads(program("import", str(file), "--into", "many", "--workers", "2", "-o", "json"))
    assert (summary["read"], summary["inserted"], summary["rejected"]) == (RECORDS, RECORDS, 0)
    assert sync_db.many.count_documents({}) == RECORDS


def test_it_draws_a_page(program: Program) -> None:
    assert "<svg" in program("revenue", "over-time", "-o", "html")


def test_it_runs_a_server_of_its_own(program: Program) -> None:
    binary = str(mongod.find_mongod().path)
    here = Program(program.words, {"MOTORCTL_LOCAL_DIR": str(program.home / "local")}, program.home)
    here("local", "start", "--mongod", binary)
    try:
        report = json.loads(here("ping", "--until", "transactions", "-o", "json"))
    finally:
        here("local", "stop")
    assert (report["topology"], report["transactions"]) == ("replica_set", True)
