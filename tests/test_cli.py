"""The front door: options on either side of the command, help for everything, and one exit code an error."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import typer
from conftest import command
from test_errors import tree

from motorctl import __version__, program
from motorctl.commands import ENTRIES, SECTIONS, ping
from motorctl.errors import DuplicateKeyError, ExitCode, MotorctlError
from motorctl.global_options import OPTIONS
from motorctl.help import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Runner
    from typer._click import Command as ClickCommand

HEAVY = ("motor", "pymongo", "bson", "pydantic", "rich")
"""What `--help` and completion must not import."""


def commands() -> Iterator[tuple[str, ClickCommand]]:
    """Every command and group below the root, by what is typed after `motorctl`."""
    root = program.root()
    context = root.make_context(PROGRAM, [], resilient_parsing=True)
    for name in root.list_commands(context):
        found = root.get_command(context, name)
        assert found is not None
        if not isinstance(found, program.Group) or not found.has_own:
            yield name, found
        if isinstance(found, program.Group):
            # `motorctl import FILE` is a command beside `motorctl import status`.
            yield from (
                (f"{name} {verb}" if verb != name else name, below) for verb, below in found.commands.items()
            )


COMMANDS = dict(commands())
LEAVES = {path: found for path, found in COMMANDS.items() if not isinstance(found, program.Group)}
GROUPS = {path: found for path, found in COMMANDS.items() if isinstance(found, program.Group)}


# Help


def test_the_commands_are_those_of_the_contract() -> None:
    assert set(ENTRIES) >= set(
        """ping local schema indexes validators students users import export revenue aggregate demo config
        completion doctor help accounts transfer orders inventory explain slow""".split()
    )


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("path", ["", *COMMANDS])
def test_help(cli: Runner, path: str, flag: str) -> None:
    result = cli(*path.split(), flag, connected=False)
    assert (result.code, result.stderr) == (0, "")
    assert result.stdout.startswith(f"Usage: motorctl {path}".rstrip())
    prose = [line for line in result.stdout.splitlines() if "motorctl " not in line]
    assert max(map(len, prose)) <= 80


@pytest.mark.parametrize("path", LEAVES)
def test_help_begins_with_a_sentence_and_ends_with_examples(path: str) -> None:
    first, *_ = (LEAVES[path].help or "").splitlines()
    assert first[:1].isupper()
    assert len(examples(path)) >= 1


def test_help_of_a_group_shows_whole_sentences(cli: Runner) -> None:
    for path, group in GROUPS.items():
        shown = " ".join(cli(path, "--help").stdout.split())
        for found in group.commands.values():
            assert found.get_short_help_str(limit=1000) in shown


def test_the_root_help_lists_sections_options_and_exit_codes(cli: Runner) -> None:
    shown = cli("--help").stdout
    assert [section for section in SECTIONS if f"\n{section}:\n" not in shown] == []
    assert [option.flags[0] for option in OPTIONS if option.flags[0].split("/")[0] not in shown] == []
    assert [
        name for option in OPTIONS for name in option.environment if name not in shown.replace("\n", " ")
    ] == []
    assert "Exit codes: 0 done" in shown


def test_no_arguments_is_help(cli: Runner) -> None:
    assert cli() == cli("--help")


def test_version(cli: Runner) -> None:
    assert cli("--version").stdout == f"motorctl {__version__}\n"


@pytest.mark.parametrize("path", GROUPS)
def test_a_group_alone_says_which_verbs_it_has(cli: Runner, path: str) -> None:
    result = cli(path)
    assert (result.code, result.stdout) == (2, "")
    verbs = ", ".join(GROUPS[path].commands)
    assert result.stderr == (
        f"error: motorctl {path}: which command?\nhint: one of {verbs}; `motorctl {path} --help` tells more\n"
    )


# Examples


def examples(path: str) -> list[str]:
    """The lines under `Example:` in a command's help."""
    _, found, after = (COMMANDS[path].help or "").partition("Example:\n")
    assert found, f"{path} has no Example:"
    return [line.strip() for line in after.partition("\n\n")[0].splitlines()]


def invocations(line: str) -> list[list[str]]:
    """The argument lists that a shell would give to motorctl for a line."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    pipelines: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= set("();<>|&"):
            pipelines.append([])
        elif pipelines[-1] or not re.fullmatch(r"[A-Z_]+=.*", word):
            pipelines[-1].append(word)
    return [words[1:] for words in pipelines if words[:1] == [PROGRAM]]


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Commands stop after they were parsed and their settings loaded; their paths are collected here."""
    paths: list[str] = []

    def invoke(self: program.Command, ctx: Any) -> None:  # noqa: ARG001 - Click's signature
        ctx.find_root().obj.start(draws=program._draws(ctx))
        paths.append(ctx.command_path)

    monkeypatch.setattr(program.Command, "invoke", invoke)
    return paths


@pytest.mark.parametrize("path", LEAVES)
def test_every_example_is_understood(cli: Runner, parsed: list[str], path: str) -> None:
    for line in examples(path):
        found = invocations(line)
        assert found, f"no motorctl in: {line}"
        for words in found:
            result = cli(*words, connected=False)
            assert (result.code, result.stderr) == (0, ""), line
    assert f"motorctl {path}" in parsed


# Global options


@pytest.mark.parametrize(
    "words",
    [
        ["-o", "json", "config", "show"],
        ["config", "-o", "json", "show"],
        ["config", "show", "-o", "json"],
        ["config", "show", "--output=json"],
        ["config", "show", "-ojson"],
        ["-o", "csv", "config", "-o", "table", "show", "-o", "json"],
    ],
)
def test_global_options_stand_anywhere_and_the_last_wins(cli: Runner, words: list[str]) -> None:
    rows = {row["setting"]: row for row in cli(*words).json()}
    assert rows["output"] == {"setting": "output", "value": "json", "source": "flag --output"}


@pytest.mark.parametrize("path", LEAVES)
def test_every_command_takes_every_global_option(path: str) -> None:
    """None is hidden behind an option of the command's own."""
    found = LEAVES[path]
    context = found.make_context(path, [], resilient_parsing=True)
    names = [param.name for param in found.get_params(context)]
    assert [option.name for option in OPTIONS if option.name not in names] == []


def test_switches_have_both_ways(cli: Runner) -> None:
    rows = {
        r["setting"]: r["value"]
        for r in cli("config", "show", "-o", "json", "--no-stable-api", "-v", "-y").json()
    }
    assert (rows["stable_api"], rows["verbose"], rows["yes"]) == (False, True, True)


# Wrong usage


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["studnts"], "no such command 'studnts'", "did you mean 'students'?"),
        (["zzz"], "no such command 'zzz'", "`motorctl --help` lists the commands"),
        (["students", "lst"], "no such command 'lst'", "did you mean 'list'?"),
        (["orders", "show", "x"], "no such command 'show'", "did you mean 'get'?"),
        (["users", "add"], "no such command 'add'", "did you mean 'create'?"),
        (["use", "shop"], "no such command 'use'", "--db NAME, or the database in --uri"),
        (["find", "orders"], "no such command 'find'", "`motorctl export COLLECTION --filter JSON`"),
        (["version"], "no such command 'version'", "`motorctl --version`"),
        (["revenue", "over-time", "--out", "a.html"], "no such option: --out", "here it is -o FORMAT > FILE"),
        (["students", "list", "--fliter", "x"], "no such option: --fliter", "did you mean '--filter'?"),
        (["ping", "--outptu", "json"], "no such option: --outptu", "did you mean '--output'?"),
        (["--tiemout", "5", "ping"], "no such option: --tiemout", "did you mean '--timeout'?"),
        (["users", "list", "x"], "got unexpected extra argument(s) (x)", "`motorctl users list --help` shows what it takes"),
        (["aggregate", "orders", "[{$match:", "{}}]"], "got unexpected extra argument(s) ({}}])", "JSON is one argument"),
        (["import", "a.csv", "-c", "a"], "no such option: -c", "here it is --into COLLECTION"),
        (["import", "a.csv", "--into", "a", "--headerline"], "no such option: --headerline", "leave it out"),
        (["import", "a.csv", "--into", "a", "--type", "csv"], "no such option: --type", "here it is --format"),
        (["ping", "--host", "db"], "no such option: --host", "here it is --uri mongodb://HOST/DATABASE"),
        (["ping", "-u", "ada"], "no such option: -u", "here it is --uri mongodb://USER@HOST/DATABASE"),
        (["ping", "-c", "5"], "no such option: -c", "`motorctl ping --help` shows what it takes"),
        (["users", "list", "--format", "json"], "no such option: --format", "here it is -o json"),
        (["export", "orders", "-o", "a.csv"], "--output: 'a.csv' is not one of", "it is a format, not a file"),
        (["ping", "--count", "many"], "invalid value for '--count' / '-n'", "`motorctl ping --help` shows what it takes"),
        (["export", "-c", "a"], "no such option: -c", "leave it out: the collection is an argument"),
        (["export", "a", "-q", '{"n": 1}'], "got unexpected extra argument(s)", "a filter goes behind --filter"),
        (["export", "a", "--noHeaderLine"], "no such option: --noHeaderLine", "here it is --no-header"),
        (["transfer", "send", "a", "b", "-5"], "no such option: -5", "an amount has no sign"),
        (["ping", "db.example.com"], "got unexpected extra argument(s) (db.example.com)", "the server is named by --uri"),
        (["users", "update", "a", "--active", "false"], "got unexpected extra argument(s) (false)", "a switch takes no"),
        (["import", "a.csv"], "missing option '--into'", "--into COLLECTION: where the documents go"),
        (["schema", "diff", "db", "ci"], "there is no file ci", "db:ci is the database of that name"),
        (["completion"], "missing argument", "`motorctl completion --help` shows what it takes"),
        (["completion", "bsh"], "'bsh' is not one of bash, zsh, fish, powershell", "did you mean 'bash'?"),
        (["ping", "--until", "primry"], "--until: 'primry' is not one of", "did you mean 'primary'?"),
        (["-v"], "motorctl: which command?", "one of ping, doctor, local, "),
        (["-o", "jso", "ping"], "--output: 'jso' is not one of", "did you mean 'json'?"),
    ],
)  # fmt: skip
def test_wrong_usage_is_exit_2_with_the_next_step(
    cli: Runner, words: list[str], message: str, hint: str
) -> None:
    result = cli(*words)
    assert (result.code, result.stdout) == (2, "")
    error, step = result.stderr.splitlines()
    assert error.startswith(f"error: {message}")
    assert step.startswith(f"hint: {hint}")


@pytest.mark.parametrize(
    "words",
    [
        ["ping", "--bad", "-o", "json"],
        ["-ojson", "ping", "--bad"],
        ["--output=json", "ping", "--bad"],
        ["ping", "-o", "ndjson", "--bad"],
    ],
)
def test_wrong_usage_for_machines(cli: Runner, words: list[str]) -> None:
    """Also where parsing stopped before it came to `-o json`."""
    result = cli(*words)
    assert result.code == 2
    assert len(result.stderr.splitlines()) == 1
    assert result.error()["code"] == "usage"
    assert (result.error()["exit"], result.error()["message"]) == (2, "no such option: --bad")


def test_the_form_of_errors_from_the_environment(cli: Runner) -> None:
    assert cli("pnig", env={"MOTORCTL_OUTPUT": "json"}).error()["hint"] == "did you mean 'ping'?"
    logged = json.loads(cli("pnig", "--log-format", "json").stderr)
    assert (logged["level"], logged["error"]["exit"]) == ("error", 2)


# Errors of commands


@pytest.fixture
def raising(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Make `motorctl ping` raise."""

    def arrange(error: BaseException) -> None:
        def callback(ctx: typer.Context) -> None:  # noqa: ARG001 - Typer's signature
            raise error

        monkeypatch.setattr(ping.group.registered_commands[0], "callback", callback)

    return arrange


# But one that words its sentence itself: that is in test_explain_shapes.py.
@pytest.mark.parametrize("kind", [kind for kind in tree() if kind.__init__ is MotorctlError.__init__])
def test_each_error_has_its_exit_code(
    cli: Runner, raising: Callable[[BaseException], None], kind: type[MotorctlError]
) -> None:
    raising(kind("it did not work", hint="try again", field="email"))
    result = cli("ping")
    assert (result.code, result.stdout) == (int(kind.exit_code), "")
    assert result.stderr == "error: it did not work\nhint: try again\n"
    assert cli("ping", "-o", "json").error() == {
        "code": kind.code,
        "exit": int(kind.exit_code),
        "message": "it did not work",
        "hint": "try again",
        "field": "email",
    }


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("first\nsecond"), "unexpected ValueError: first second"),
        (AssertionError(), "unexpected AssertionError"),
        (RecursionError("too deep"), "unexpected RecursionError: too deep"),
    ],
)
def test_a_defect_is_one_line_and_exit_1(
    cli: Runner, raising: Callable[[BaseException], None], error: Exception, line: str
) -> None:
    raising(error)
    result = cli("ping")
    assert (result.code, result.stdout) == (1, "")
    assert result.stderr.splitlines() == [
        f"error: {line}",
        "hint: a defect of motorctl, or an answer that no MongoDB gives: --debug shows where; please report it",
    ]


def test_the_system_s_errors_are_sentences(cli: Runner, raising: Callable[[BaseException], None]) -> None:
    raising(FileNotFoundError(2, "No such file or directory", "a.csv"))
    result = cli("ping")
    assert (result.code, result.stderr) == (1, "error: no such file or directory: a.csv\n")


def test_ctrl_c_is_130(cli: Runner, raising: Callable[[BaseException], None]) -> None:
    for error in (KeyboardInterrupt(), typer.Abort()):
        raising(error)
        result = cli("ping")
        assert (result.code, result.stderr) == (130, "error: stopped by Ctrl-C\n")


def test_a_closed_pipe_is_quiet(cli: Runner, raising: Callable[[BaseException], None]) -> None:
    raising(BrokenPipeError(32, "Broken pipe"))
    result = cli("ping")
    assert (result.code, result.stdout, result.stderr) == (0, "", "")


def test_an_exit_code_that_a_command_returns(cli: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def callback(ctx: typer.Context) -> ExitCode:
        ctx.obj.output.emit({"in_sync": False})
        return ExitCode.DIFFERENCE

    monkeypatch.setattr(ping.group.registered_commands[0], "callback", callback)
    result = cli("ping", "-o", "json")
    assert (result.code, result.json(), result.stderr) == (8, {"in_sync": False}, "")


# --debug

UNREACHABLE = ("--uri", "mongodb://ada:s3cr3t%40word@127.0.0.1:1/", "--timeout", "0.2")


def test_an_unreachable_server_shows_no_traceback(cli: Runner) -> None:
    result = cli("ping", *UNREACHABLE)
    assert result.code == 3
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("extra", [[], ["-o", "json"], ["--log-format", "json"]])
@pytest.mark.parametrize("switch", ["flag", "environment", "profile"])
def test_debug_shows_the_traceback_without_passwords(
    cli: Runner, tmp_path: Any, switch: str, extra: list[str]
) -> None:
    (tmp_path / "c.toml").write_text("[profiles.dev]\ndebug = true\n")
    words = {
        "flag": ["--debug"],
        "environment": [],
        "profile": ["--config", str(tmp_path / "c.toml"), "-p", "dev"],
    }
    env = {"MOTORCTL_DEBUG": "1"} if switch == "environment" else {}
    result = cli("ping", *UNREACHABLE, *words[switch], *extra, env=env)
    assert result.code == 3
    assert "Traceback" in result.stderr
    assert "ServerSelectionTimeoutError" in result.stderr
    assert "s3cr3t" not in result.stderr
    if "--log-format" in extra:
        assert [json.loads(line)["level"] for line in result.stderr.splitlines()] == ["debug", "error"]


def test_debug_off_is_off(cli: Runner) -> None:
    assert "Traceback" not in cli("ping", *UNREACHABLE, env={"MOTORCTL_DEBUG": "no"}).stderr


def test_debug_shows_a_defect_without_passwords(
    cli: Runner, raising: Callable[[BaseException], None]
) -> None:
    raising(RuntimeError("cannot use 's3cr3t@word' at mongodb://ada:s3cr3t@word@h/shop"))
    result = cli("ping", *UNREACHABLE, "--debug")
    assert result.code == 1
    assert "RuntimeError: cannot use '***' at mongodb://ada:***@h/shop" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: unexpected RuntimeError: ")


def test_an_error_before_the_settings_shows_no_password(cli: Runner) -> None:
    result = cli("ping", "two words", "--uri", "mongodb://ada:two words@h/shop")
    assert result.code == 2
    assert "two words" not in result.stderr


# Processes


def test_python_m_motorctl(motorctl: Runner) -> None:
    assert motorctl("--version").stdout == f"motorctl {__version__}\n"
    result = motorctl("ping", "-o", "json")
    assert (result.code, result.stderr) == (0, "")
    assert result.json()["ok"] is True


def test_a_refusal_of_the_data_keeps_its_code_through_the_process(motorctl: Runner) -> None:
    assert motorctl("students", "get", "64b7f0c2a1b2c3d4e5f60718").code == 5
    assert motorctl("students", "get", "no-id").code == 2


def loaded(arguments: list[str], environ: dict[str, str] | None = None) -> tuple[str, list[str]]:
    """Run the program in a fresh interpreter; return its stdout and the heavy packages it imported."""
    runner = (
        "import sys\n"
        "from motorctl.cli import main\n"
        "for words in sys.argv[1].split('|'):\n"
        "    try: main(words.split())\n"
        "    except SystemExit: pass\n"
        f"heavy = [name for name in {HEAVY} if sys.modules.get(name)]\n"
        "sys.stdout.flush()\n"
        "print(*heavy, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", runner, "|".join(arguments)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **(environ or {})},
    )
    return done.stdout, done.stderr.split()


def test_the_runner_sees_what_is_heavy() -> None:
    _, heavy = loaded(["ping --timeout 0.1 --uri mongodb://127.0.0.1:1 -q -o csv"])
    assert set(heavy) >= {"motor", "pymongo", "bson"}


@pytest.mark.parametrize(
    "words", ["", "--help", "--version", "students --help", "import -h", "completion bash", "config path"]
)
def test_start_up_imports_nothing_heavy(words: str) -> None:
    shown, heavy = loaded([words])
    assert shown
    assert heavy == []


def test_no_help_imports_anything_heavy() -> None:
    shown, heavy = loaded([f"{path} --help" for path in COMMANDS])
    assert shown.count("Usage: motorctl") == len(COMMANDS)
    assert heavy == []


def test_the_installed_script_is_the_program() -> None:
    done = subprocess.run(command("--version"), capture_output=True, text=True, check=True)
    script = os.path.join(os.path.dirname(sys.executable), "motorctl")  # noqa: PTH118, PTH120 - as a user would build it
    assert (
        subprocess.run([script, "--version"], capture_output=True, text=True, check=True).stdout
        == done.stdout
    )


def test_errors_with_facts_reach_machines(cli: Runner, raising: Callable[[BaseException], None]) -> None:
    raising(DuplicateKeyError("email is taken", field="email", at=complex(1, 2)))
    assert cli("ping", "-o", "json").error()["at"] == "(1+2j)"
