"""Completion: a TAB gives the right words, at once, asks the server for names alone, and says no word too many.

bash, zsh and fish complete lines here themselves, on a terminal. PowerShell is asked for as its script asks, and what
the script does with the answer is read: it can't be installed from a package registry.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import shells
from conftest import command
from test_cli import LEAVES

from motorctl import completion
from motorctl.commands import ENTRIES
from motorctl.commands.completion import SCRIPTS
from motorctl.completion import asking, line
from motorctl.global_options import FORMATS, OPTIONS, PICTURES
from motorctl.program import GLOBAL_OPTIONS
from motorctl.topics import TOPICS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Runner
    from pymongo.database import Database as SyncDatabase

    Documents = SyncDatabase[dict[str, Any]]

COMPLETIONS = Path(__file__).parent.parent / "completions"
BREAKS = "\"'@><=;|&(:"
"""bash's own COMP_WORDBREAKS, but for white space."""


def offered(typed: str, environ: dict[str, str] | None = None) -> list[str]:
    """Return the words that fit at the end of a line, as zsh is given them: nothing is quoted, nothing left out."""
    return [found.partition("\t")[0] for found in answered("zsh", typed, environ)[1:]]


def answered(shell: str, typed: str, environ: dict[str, str] | None = None) -> list[str]:
    """Return all that a shell is told at the end of a line."""
    line_of = {completion.LINE: f"motorctl {typed}"}
    return completion.answer([shell], {**os.environ, **line_of, **(environ or {})}).splitlines()


# The scripts


@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_script_is_what_the_program_prints(cli: Runner, shell: str) -> None:
    printed = cli("completion", shell)
    assert (printed.code, printed.stderr) == (0, "")
    assert (COMPLETIONS / SCRIPTS[shell]).read_text(encoding="utf-8") == printed.stdout


def test_zsh_finds_its_file_by_the_first_line() -> None:
    assert (COMPLETIONS / "_motorctl").read_text().startswith("#compdef motorctl\n")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_understands_its_script(shell: str) -> None:
    subprocess.run([shells.installed(shell), "-n", str(COMPLETIONS / SCRIPTS[shell])], check=True)


def test_an_unknown_shell_is_refused(cli: Runner) -> None:
    result = cli("completion", "tcsh")
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: 'tcsh' is not one of bash, zsh, fish, powershell\n")


# Words

LINES: dict[str, set[str]] = {
    # what stands on the line, the last word unfinished: the words offered
    "": set(ENTRIES),
    "st": {"students"},
    "zzz": set(),
    "zzz li": set(),
    "students ": {"create", "get", "list", "update", "delete", "upsert", "count"},
    "students li": {"list"},
    "local st": {"start", "stop", "status"},
    "slow ": {"list", "profile"},
    "-o ": {*FORMATS, *PICTURES},
    "-oj": set(),
    "-d shop st": {"students"},
    "--uri=mongodb://a/b st": {"students"},
    "-vq st": {"students"},
    "-vojson st": {"students"},
    "students --yes li": {"list"},
    "revenue by-customer -o ": {*FORMATS, *PICTURES},
    "students list -o ": set(FORMATS),
    "students list --output j": {"json"},
    "students list --output=j": {"--output=json"},
    "students list --output=": {f"--output={name}" for name in FORMATS},
    "--log-format ": {"text", "json"},
    "completion ": set(SCRIPTS),
    "completion z": {"zsh"},
    "completion zsh zz": set(),
    "students list --filt": {"--filter"},
    "students list -- --filt": set(),
    "students list --filter --so": set(),
    "--uri": {"--uri", "--uri-file"},
    "ping --no-st": {"--no-stable-api"},
    "ping --until p": {"primary"},
    "users create --in": {"--inactive"},
    "slow profile ": {"on", "off", "status"},
    "slow --source ": {"auto", "profiler", "current", "query-stats"},
    "orders list --status c": {"completed", "cancelled"},
    "accounts list --status ": {"open", "frozen", "closed"},
    "import a.csv --mode ": {"insert", "upsert", "merge", "replace", "skip", "delete"},
    "import st": {"status"},
    "import a.csv st": set(),
    "schema init ": {"college", "shop"},
    "schema plan --builtin s": {"shop"},
    "schema diff builtin:c": {"builtin:college"},
    "export x --read-preference n": {"nearest"},
    "revenue over-time --tz Europe/Berl": {"Europe/Berlin"},
    "help ": {*TOPICS, *ENTRIES},
    "help ex": {"exit-codes", "export", "explain"},
    "help schema pl": {"plan"},
    "help exit-codes ": set(),
}  # fmt: skip


@pytest.mark.parametrize("typed", LINES)
def test_a_tab_offers_the_right_words(typed: str) -> None:
    found = offered(typed)
    assert set(found) == LINES[typed]
    assert len(found) == len(set(found))


@pytest.mark.parametrize("path", LEAVES)
def test_every_option_of_every_command_is_offered(path: str) -> None:
    flags = {
        flag
        for param in [*LEAVES[path].params, *GLOBAL_OPTIONS]
        if param.param_type_name == "option" and not getattr(param, "hidden", False)
        for flag in [*param.opts, *param.secondary_opts]
        if flag.startswith("--")
    }
    assert set(offered(f"{path} --")) == flags | {"--help"}


def test_a_command_without_arguments_offers_its_options() -> None:
    assert set(offered("ping ")) == set(offered("ping --"))


def test_words_come_with_what_they_mean() -> None:
    assert "list\tList students: a page, or all of them." in answered("fish", "students l")
    assert "--filter\tA filter in Extended JSON." in answered("zsh", "students list --f")


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("schema apply ", "files"),
        ("transfer batch pay", "files"),
        ("import ", "files"),
        ("--uri-file ", "files"),
        ("export orders --out ", "files"),
        ("students list ", "words"),
        ("students list --filter ", "words"),
    ],
)
def test_files_are_left_to_the_shell(typed: str, first: str) -> None:
    assert answered("zsh", typed)[0] == first


def test_files_behind_an_at_sign_or_an_equals_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "one.json").touch()
    (tmp_path / "a.json").touch()
    (tmp_path / ".hidden").touch()
    assert answered("zsh", "users list --filter @") == ["words", "@a.json", "@dir/"]
    assert answered("zsh", "users list --filter @d") == ["nospace", "@dir/"]
    assert answered("zsh", "users list --filter @dir/") == ["words", "@dir/one.json"]
    assert answered("zsh", "export x --out=a") == ["words", "--out=a.json"]
    assert answered("zsh", "users list --filter @none/") == ["words"]


@pytest.mark.parametrize("shell", ["tcsh", "", "complete_bash"])
def test_what_no_script_asks_has_no_answer(shell: str) -> None:
    assert completion.answer([shell], {}) == ""


# Names from the server and from the configuration file


@pytest.fixture
def names(sync_db: Documents, server_uri: str, dbname: str) -> dict[str, str]:
    """A database with names that a shell could misread; the environment that leads to it."""
    for name in ("orders", "order lines", "a:b", "it's", "evil`touch pwned`;touch pwned"):
        sync_db[name].insert_one({})
    sync_db["turn\x1b[31mred"].insert_one({})
    sync_db["two\nlines"].insert_one({})
    sync_db["turned\u202earound"].insert_one({})
    sync_db.orders.create_index([("a\x1b[31m\nb", 1)], name="risky")
    sync_db.command("create", "recent", viewOn="orders", pipeline=[])
    sync_db.orders.create_index([("user_id", 1), ("at", -1)])
    sync_db.accounts.insert_many(
        [{"_id": "alice"}, {"_id": "albert"}, {"_id": "bob"}, {"_id": 7}, {"_id": 'evil$(touch pwned)"*~'}]
    )
    sync_db.inventory.insert_one({"_id": "tea"})
    return {"MOTORCTL_URI": server_uri, "MOTORCTL_DB": dbname}


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is offered is tested here, not how long it takes: a busy machine may need more than the limit."""
    monkeypatch.setattr(asking, "SECONDS", 20)


def test_a_name_that_would_be_an_option_is_offered_where_it_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "values", lambda *_: [("--yes", ""), ("-v", ""), ("orders", "")])
    assert offered("export ", {}) == ["orders"]
    assert offered("export -- ", {}) == ["--yes", "-v", "orders"]


@pytest.mark.usefixtures("patient")
def test_names_come_from_the_server(names: dict[str, str], dbname: str) -> None:
    collections = offered("export ", names)
    assert collections == [
        "a:b", "accounts", "evil`touch pwned`;touch pwned", "inventory", "it's", "order lines",
        "orders", "recent",
    ]  # fmt: skip
    assert "recent\tview" in answered("zsh", "export rec", names)
    assert offered("export system.", names) == ["system.views"]
    assert offered("import a.csv --into ord", names) == ["order lines", "orders"]
    assert offered("schema plan --collection acc", names) == ["accounts"]
    assert answered("zsh", "indexes drop orders ", names) == [
        "words", "risky", "user_id_1_at_-1\tuser_id: 1, at: -1",
    ]  # fmt: skip
    assert offered("indexes drop nowhere ", names) == []
    assert offered("explain find orders --hint ", names) == ["risky", "user_id_1_at_-1"]
    assert offered("transfer send al", names) == ["albert", "alice"]
    assert offered("transfer send alice b", names) == ["bob"]
    assert offered("transfer send alice bob ", names) == []
    assert offered("transfer list --account=b", names) == ["--account=bob"]
    assert offered("inventory get ", names) == ["tea"]
    assert offered(f"--db {dbname[:-2]}", names) == [dbname]
    assert offered(f"schema diff db:{dbname[:-2]}", names) == [f"db:{dbname}"]


@pytest.mark.usefixtures("patient")
def test_the_server_is_the_one_on_the_line(
    names: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, db = names["MOTORCTL_URI"], names["MOTORCTL_DB"]
    (tmp_path / "uri").write_text(uri)
    (tmp_path / "c.toml").write_text(f'[profiles.dev]\nuri = "{uri}"\ndb = "{db}"\n[profiles.prod]\n')
    monkeypatch.setenv("ELSEWHERE", uri)
    nowhere = {"MOTORCTL_URI": "mongodb://127.0.0.1:1/x"}
    for typed in (
        f"export --uri '{uri}' -d {db} orde",
        f"--uri='{uri}' export -d{db} orde",
        f"export --uri $ELSEWHERE --db={db} orde",
        f"export --uri-file {tmp_path}/uri --db {db} orde",
    ):
        assert offered(typed, nowhere) == ["order lines", "orders"], typed
    profiles = {"MOTORCTL_CONFIG": str(tmp_path / "c.toml")}
    assert offered("export -p dev orde", profiles) == ["order lines", "orders"]
    assert offered("ping --profile ", profiles) == ["dev", "prod"]
    assert offered(f"ping --config {tmp_path}/c.toml -p d") == ["dev"]
    assert offered("schema diff pro", profiles) == ["profile:dev", "profile:prod"]


@pytest.mark.parametrize(
    "broken", [b"[profiles", b"\xff", b"profiles = 3\n", b"[profiles.dev]\nbad_key = 1\n"]
)
def test_a_broken_configuration_is_no_answer(tmp_path: Path, broken: bytes) -> None:
    (tmp_path / "c.toml").write_bytes(broken)
    environ = {"MOTORCTL_CONFIG": str(tmp_path / "c.toml"), "MOTORCTL_PROFILE": "dev"}
    assert set(offered("ping -p ", environ)) <= {"dev"}
    assert offered("export ", environ) == []
    assert offered("students li", environ) == ["list"]


@contextmanager
def silent_server() -> Iterator[tuple[str, list[Any]]]:
    """A port that takes connections and never says a word; its URI, and the connections it has had."""
    taken: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            try:
                while True:
                    taken.append(listener.accept())
            except OSError:
                return

        threading.Thread(target=accept, daemon=True).start()
        yield f"mongodb://ada:s3cr3t@127.0.0.1:{listener.getsockname()[1]}/shop", taken
        listener.shutdown(socket.SHUT_RDWR)
        for connection, _ in taken:
            connection.close()


def test_the_server_is_asked_only_for_names() -> None:
    with silent_server() as (uri, taken):
        for typed in [
            *LINES,
            "students list --",
            "export --out ",
            "export -",
            "schema apply ",
            "indexes drop -",
        ]:
            offered(typed, {"MOTORCTL_URI": uri})
        assert taken == []
        assert offered("export --ask-password ", {"MOTORCTL_URI": uri}) == []
        assert taken == []
        offered("export ", {"MOTORCTL_URI": uri})
        assert taken != []


def process(typed: str, **environ: str) -> tuple[float, subprocess.CompletedProcess[str]]:
    """Run the program as a script does, but with stderr kept; return the seconds it took, too."""
    begun = time.perf_counter()
    done = subprocess.run(
        command("__complete", "zsh"),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
        timeout=60,
        env={**os.environ, completion.LINE: f"motorctl {typed}", **environ},
    )
    return time.perf_counter() - begun, done


def test_a_server_that_says_nothing_is_waited_for_briefly() -> None:
    with silent_server() as (uri, taken):
        offered("export ", {"MOTORCTL_URI": "mongodb://127.0.0.1/?tls=7"})  # imports, and asks nobody
        begun = time.perf_counter()
        found = offered(
            "export ", {"MOTORCTL_URI": f"{uri}?connectTimeoutMS=60000&serverSelectionTimeoutMS=60000"}
        )
        took = time.perf_counter() - begun
    assert (found, bool(taken)) == ([], True)
    assert asking.SECONDS <= 0.3
    assert took < asking.SECONDS + 0.7


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://127.0.0.1:1/x",
        "mongodb://nobody:s3cr3t@{host}/x?authSource=admin",
        "mongodb://nobody@{host}/x",
        "mongodb://{host}/x?tls=true",
        "mongodb+srv://nowhere.invalid/x",
        "s3cr3t",
        "mongodb://a:s3cr3t/@h/x",
    ],
)
def test_what_goes_wrong_is_silence(uri: str, server_uri: str, capfd: pytest.CaptureFixture[str]) -> None:
    host = server_uri.partition("//")[2].partition("/")[0]
    assert answered("zsh", "export ", {"MOTORCTL_URI": uri.format(host=host)}) == ["words"]
    assert capfd.readouterr() == ("", "")


def test_a_process_that_finds_nothing_is_silent_too() -> None:
    _, done = process("export ", MOTORCTL_URI="mongodb://nobody:s3cr3t@127.0.0.1:1/x")
    assert (done.returncode, done.stdout, done.stderr) == (0, "words\n", "")


# Speed


def test_a_tab_loads_nothing_of_what_commands_need() -> None:
    script = (
        "import os, sys; sys.argv[1:] = ['__complete', 'zsh']\n"
        "os._exit = lambda code: (print(*sorted(sys.modules)), sys.exit(code))\n"
        "from motorctl.__main__ import main; main()"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{script}"],
                          capture_output=True, text=True, check=True,
                          env={completion.LINE: "motorctl students list --"})  # fmt: skip
    words, _, loaded = done.stdout.rstrip("\n").rpartition("\n")
    assert "--filter" in words
    assert "motorctl.completion.table" in loaded.split()
    assert not {"typer", "re", "json", "asyncio", "pathlib", "dataclasses", "motorctl.settings"} & set(
        loaded.split()
    )


def test_a_tab_takes_less_than_six_bare_interpreters() -> None:
    def bare() -> float:
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        return time.perf_counter() - begun

    process("students ")
    pairs = [(process("students ")[0], bare()) for _ in range(5)]
    assert statistics.median(ours for ours, _ in pairs) < 6 * statistics.median(base for _, base in pairs)


# The shells themselves


@pytest.fixture(scope="module", params=["bash", "zsh", "fish"])
def shell_name(request: pytest.FixtureRequest) -> str:
    return shells.installed(request.param)


@pytest.fixture
def shell(shell_name: str, names: dict[str, str], tmp_path: Path) -> Iterator[shells.Shell]:
    """A shell in a folder with files; its names come from a real server."""
    folder = tmp_path / "folder"
    (folder / "dir").mkdir(parents=True)
    for name in ("my schema.yaml", "data.json", "dir/one.csv"):
        (folder / name).touch()
    opened = shells.Shell(shell_name, folder, names)
    yield opened
    opened.end()


KEYS: dict[str, str] = {
    # keys on a line, and the command that stands there then
    "motorctl stud\tli\t": "motorctl students list",
    "motorctl students list --output=js\t": "motorctl students list --output=json",
    "motorctl ping --unt\tpri\t": "motorctl ping --until primary",
    "motorctl schema apply my\t": "motorctl schema apply 'my schema.yaml'",
    "motorctl import dir/o\t": "motorctl import dir/one.csv",
    "motorctl explain suite --baseline=da\t": "motorctl explain suite --baseline=data.json",
    "motorctl aggregate x @di\ton\t": "motorctl aggregate x @dir/one.csv",
    "motorctl schema diff buil\tcol\t": "motorctl schema diff builtin:college",
    "motorctl students create --name 'Ada -- L' --em\tx": "motorctl students create --name 'Ada -- L' --email x",
    # with names from the server
    "motorctl export a:\t": "motorctl export a:b",
    "motorctl export it\t": 'motorctl export "it\'s"',
    "motorctl export 'order \t": "motorctl export 'order lines'",
    "motorctl export order\\ \t": "motorctl export 'order lines'",
    "motorctl indexes drop orders u\t": "motorctl indexes drop orders user_id_1_at_-1",
    "motorctl transfer send bo\tali\t": "motorctl transfer send bob alice",
    "motorctl export ev\t": "motorctl export 'evil`touch pwned`;touch pwned'",
    "motorctl accounts get ev\t": "motorctl accounts get 'evil$(touch pwned)\"*~'",
}


def test_keys_in_a_real_shell(shell: shells.Shell, tmp_path: Path) -> None:
    wrong = {}
    for keys, expected in KEYS.items():
        # Names have 0.3 s, which a busy machine may need for something else: silence is tried again, words are not.
        for _ in range(5):
            found = shell.complete(keys)
            if found == shlex.split(expected) or found != untouched(keys):
                break
        if found != shlex.split(expected):
            wrong[keys] = found
    assert wrong == {}
    assert [path.name for path in tmp_path.rglob("pwned")] == []


def untouched(keys: str) -> list[str]:
    """The arguments of a line of which a TAB has made nothing."""
    plain = keys.replace("\t", "")
    try:
        return shlex.split(plain)
    except ValueError:
        return shlex.split(f"{plain}{plain[min(plain.find(q) for q in chr(34) + chr(39) if q in plain)]}")


def test_two_tabs_show_what_there_is(shell: shells.Shell) -> None:
    begun = len(shell.screen)
    shell.complete("motorctl students \t\t")
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shell.screen[begun:])
    assert [
        verb for verb in ("create", "update", "upsert", "get", "count", "delete") if verb not in shown
    ] == []


# Words as each shell writes them


@pytest.mark.parametrize(
    ("typed", "word", "written"),
    [
        ("motorctl export ", "it's", r"it\'s"),
        ("motorctl export ", "order lines", r"order\ lines"),
        ("motorctl export ", "größe", "größe"),
        ("motorctl export 'or", "order lines", "order lines"),
        ("motorctl export 'i", "it's", ""),
        ('motorctl export "a', "a$b", ""),
        ("motorctl export a:", "a:b", "b"),
        (r"motorctl export a\:", "a:b", "a:b"),
        ("motorctl -o=", "-o=json", "json"),
        ("motorctl export 'a:", "a:b", "a:b"),
        ("motorctl x a@", "a@b", "@b"),
    ],
)
def test_bash_replaces_what_follows_its_last_break(typed: str, word: str, written: str) -> None:
    assert line.for_bash(line.split_posix(typed), BREAKS, files=False)(word) == written


@pytest.mark.parametrize(
    ("typed", "words", "word"),
    [
        ("motorctl", [], ""),
        ("motorctl ", [], ""),
        ("motorctl a b", ["a"], "b"),
        ("motorctl 'a b' c", ["a b"], "c"),
        (r"motorctl a\ b c\ ", ["a b"], "c "),
        (r'motorctl "a\"b" "c\d', ['a"b'], r"c\d"),
        ("motorctl '' x", [""], "x"),
        ("motorctl '{\"a\": 1}' x", ['{"a": 1}'], "x"),
        ("motorctl a\\", [], "a"),
    ],
)
def test_a_line_is_split_as_bash_does(typed: str, words: list[str], word: str) -> None:
    found = line.split_posix(typed)
    assert (found.words, found.word if typed != "motorctl" else "") == (words, word)


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("students l", ["words", "list\tList students: a page, or all of them."]),
        ("'students' ''l", ["words", "list\tList students: a page, or all of them."]),
        ("completion p", ["words", "powershell"]),
        ("schema apply ", ["files"]),
        ("zzz ", ["words"]),
    ],
)
def test_powershell_is_answered_as_its_script_asks(typed: str, answer: list[str]) -> None:
    assert answered("powershell", typed) == answer


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("orders", "orders"),
        ("a b", "'a b'"),
        ("it's", "'it''s'"),
        ("x\u2019; calc; \u2018y", "'x\u2019\u2019; calc; \u2018\u2018y'"),
        ("\u201cx\u201d", "'\u201cx\u201d'"),
        ("@a.json", "'@a.json'"),
        ("a,b", "'a,b'"),
        ("$x", "'$x'"),
    ],
)
def test_powershell_s_words_are_quoted_where_they_must_be(word: str, written: str) -> None:
    assert line.for_powershell(word) == written
    assert line.split_powershell(f"motorctl x {written}").word == word


def test_powershell_s_script_does_what_the_answer_says() -> None:
    """No files where there are none to complete, no variable left behind, nothing on stderr."""
    script = (COMPLETIONS / SCRIPTS["powershell"]).read_text()
    assert "Register-ArgumentCompleter -Native -CommandName motorctl" in script
    assert "__complete powershell 2>$null" in script
    assert "if ($what -ne 'files') { '' }" in script
    assert "finally {\n        Remove-Item Env:_MOTORCTL_LINE" in script
    if found := shutil.which("pwsh"):
        parse = f"[scriptblock]::Create((Get-Content -Raw '{COMPLETIONS / SCRIPTS['powershell']}')) > $null"
        subprocess.run([found, "-NoProfile", "-Command", parse], check=True)


def test_every_setting_is_in_the_table() -> None:
    flags = {flag for option in OPTIONS for one in option.flags for flag in one.split("/")}
    assert {flag for flag in flags if flag.startswith("--")} <= set(offered("students list --"))
