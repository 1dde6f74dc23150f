"""The front door: global options -> App, the table of commands (loaded when used), error -> exit code.

Owns the parsing of what is the same for each command and the one place where an error becomes two
lines and a number. Knows no noun but by name; connects to nothing. Importing it, `--help` and
completion load none of motor, pymongo, pydantic and rich: a test holds that.
"""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import typer.main
from typer._click import exceptions as click  # Typer's own copy of Click: see pyproject.toml on its version
from typer.core import TyperCommand, TyperGroup, TyperOption

from motorctl import __version__, redaction, settings
from motorctl.app import App, Streams
from motorctl.diagnostics import Diagnostics
from motorctl.errors import ExitCode, MotorctlError, UsageError
from motorctl.help import PROGRAM, Help
from motorctl.near import near, nearest
from motorctl.output import Output, cannot_write, no_picture

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from typer._click import Command as ClickCommand
    from typer._click import Context, HelpFormatter, Parameter


class Entry(NamedTuple):
    """A command group by name: its module in `commands`, its line in `--help`, its verbs that draw pictures."""

    name: str
    help: str
    module: str
    draws: tuple[str, ...] = ()


SECTIONS: Mapping[str, tuple[Entry, ...]] = {
    "Server": (
        Entry("ping", "Is the server there, and what is it?", "ping"),
        Entry("local", "Run a real mongod on this machine, for trying and testing.", "local"),
    ),
    "Schema": (
        Entry("schema", "Collections, validators and indexes as code: plan, check, apply.", "schema"),
        Entry("indexes", "List, create, hide and drop indexes; watch them being built.", "indexes"),
        Entry(
            "validators", "Show, set and try validators; find the documents that violate one.", "validators"
        ),
    ),
    "Data": (
        Entry("students", "Create, look at and change students.", "students"),
        Entry("users", "Create, look at and change users.", "users"),
        Entry("import", "Import NDJSON, JSON or CSV; every record is accounted for.", "import_"),
        Entry("export", "Export a collection as NDJSON, JSON or CSV.", "export"),
    ),
    "Transactions": (
        Entry("accounts", "Open, look at, freeze and close accounts; their statements.", "accounts"),
        Entry("transfer", "Move money once, or not at all: send, batch, reverse, verify.", "transfer"),
        Entry("orders", "Place orders against the stock; complete, cancel, refund them.", "orders"),
        Entry("inventory", "What is sold, at which price, and how many are there.", "inventory"),
    ),
    "Reports": (
        Entry(
            "revenue",
            "Revenue by period, by customer and by product.",
            "revenue",
            ("over-time", "by-customer", "by-product"),
        ),
        Entry("aggregate", "Run any aggregation pipeline.", "aggregate"),
    ),
    "Queries": (
        Entry("explain", "How the server runs a query, what would help it, and gates for CI.", "explain"),
        Entry("slow", "Which queries are slow, by their shape.", "slow"),
    ),
    "This program": (
        Entry("demo", "A tour on real commands, in under a minute.", "demo"),
        Entry("config", "Where each setting comes from.", "config"),
        Entry("completion", "Print a shell's completion script.", "completion"),
    ),
}
ENTRIES = {entry.name: entry for entries in SECTIONS.values() for entry in entries}


class InterruptedByUserError(MotorctlError):
    """Ctrl-C: raised once everything has been cleaned up."""

    exit_code = ExitCode.INTERRUPTED
    code = "interrupted"


@dataclass
class Run:
    """One run while it is being parsed: what was typed of the global options, then the App of it."""

    argv: Sequence[str]
    environ: Mapping[str, str]
    streams: Streams
    flags: dict[str, Any] = field(default_factory=dict)
    app: App | None = None

    def start(self, *, draws: bool) -> App:
        """Build the App from what was typed, for a command that `draws` pictures or doesn't.

        Raises ConfigurationError; UsageError for a picture of what has none: here, before anything is done.
        """
        chosen = settings.load(self.flags, self.environ)
        diagnostics = Diagnostics(
            self.streams.stderr,
            answers=self.streams.stdin,
            verbose=chosen["verbose"],
            quiet=chosen["quiet"],
            as_json=chosen["log_format"] == "json",
            color=chosen["color"],
            yes=chosen.yes,
            secrets=chosen.secrets,
            before=self.streams.stdout.flush,
        )
        output = Output(self.streams.stdout, chosen.output, color=chosen["color"])
        self.app = App(chosen, self.streams, diagnostics, output)
        if chosen.output in settings.PICTURES:
            if not draws:
                raise no_picture(chosen.output, chosen.values["output"].source)
            if output.terminal:
                diagnostics.info(f"{chosen.output} is for a file: `> report.{chosen.output}` keeps it")
        return self.app

    @property
    def debug(self) -> bool:
        if self.app:
            return self.app.settings.debug
        return self._typed("debug", "--debug", "MOTORCTL_DEBUG") not in (None, "", "0", False)

    def report(self, error: MotorctlError, cause: BaseException | None = None) -> int:
        """Print an error once, in the form asked for, and return its exit code."""
        diagnostics = self.app.diagnostics if self.app else self._early_diagnostics()
        if self.debug:
            diagnostics.traceback(cause or error)
        asked = self.app.settings.output if self.app else self._typed("output", "-o", "MOTORCTL_OUTPUT")
        diagnostics.error(error, as_json=asked in ("json", "ndjson"))
        return int(error.exit_code)

    def _early_diagnostics(self) -> Diagnostics:
        """Diagnostics for an error that came before the settings stood."""
        plain = bool(self.environ.get("NO_COLOR")) or "--no-color" in self.argv
        return Diagnostics(
            self.streams.stderr,
            as_json=self._typed("log_format", "--log-format", "MOTORCTL_LOG_FORMAT") == "json",
            color=False if plain else None,
            secrets=self._early_secrets,
        )

    def _early_secrets(self) -> tuple[str, ...]:
        """The secrets of each connection string that is typed or in the environment."""
        given = [self._typed("uri", "--uri", "")]
        given += [self.environ.get(variable) for variable in settings.BY_NAME["uri"].environment]
        return tuple(secret for uri in given if uri for secret in redaction.secrets_in(str(uri)))

    def _typed(self, name: str, flag: str, variable: str) -> Any:
        """Find a global option even where parsing stopped before it."""
        if name in self.flags:
            return self.flags[name]
        option = settings.BY_NAME[name]
        for index, word in enumerate(self.argv):
            head, equals, value = word.partition("=")
            if head in option.flags:
                following = self.argv[index + 1] if index + 1 < len(self.argv) else ""
                return True if option.kind is bool else value if equals else following
            if word.startswith(flag) and not flag.startswith("--") and not word.startswith("--"):
                return word[2:]
        return self.environ.get(variable)


def _remember(ctx: Context, param: Parameter, value: Any) -> None:
    """Keep a global option that was typed; the one nearest to the command wins, being parsed last."""
    if value is not None and param.name and not ctx.resilient_parsing:
        ctx.find_root().obj.flags[param.name] = value


def _draws(ctx: Context) -> bool:
    """Tell whether the command of a context draws pictures. The root may yet become one that does."""
    path: list[str | None] = []
    context: Context | None = ctx
    while context is not None and context.parent is not None:
        path.insert(0, context.info_name)
        context = context.parent
    entry = ENTRIES.get(path[0] or "") if path else None
    if entry is None:
        return not path
    return bool(entry.draws) and (len(path) == 1 or path[1] in entry.draws)


def _choices(option: settings.Option) -> Callable[[Context, list[str], str], list[str]]:
    """Return what completes an option's value: of the formats, those that the command has."""

    def offered(ctx: Context, _args: list[str], _incomplete: str) -> list[str]:
        draws = option.name != "output" or _draws(ctx)
        return [choice for choice in option.choices if draws or choice not in settings.PICTURES]

    return offered


def _global_option(option: settings.Option) -> TyperOption:
    shown = option.help
    if option.environment:
        shown += f"  [env: {', '.join(option.environment)}]"
    if option.default is not None and option.kind is not bool and option.name != "wait":
        default = f"{option.default:g}" if option.kind is float else option.default
        shown += f"  [default: {default}]"
    return TyperOption(
        param_decls=[option.name, *option.flags],
        is_flag=option.kind is bool,
        type=None if option.kind is bool else str,
        metavar=option.metavar,
        help=shown,
        expose_value=False,
        callback=_remember,
        autocompletion=_choices(option) if option.choices else None,
    )


GLOBAL_OPTIONS = [_global_option(option) for option in settings.OPTIONS]


class _WithGlobals(Help):
    """What a command and a group have alike: the global options, and the looks of their help."""

    name: str | None

    def get_params(self, ctx: Context) -> list[Parameter]:
        own = super().get_params(ctx)  # type: ignore[misc]
        taken = {flag for param in own for flag in param.opts}
        return [*own, *(p for p in GLOBAL_OPTIONS if not taken & set(p.opts))]


class Command(_WithGlobals, TyperCommand):
    """A command that starts its App when everything is parsed."""

    def invoke(self, ctx: Context) -> Any:
        ctx.obj = ctx.find_root().obj.start(draws=_draws(ctx))
        return super().invoke(ctx)


class Group(_WithGlobals, TyperGroup):
    """A noun with its verbs; one of them may have the noun's own name: it is what the noun itself does."""

    @property
    def has_own(self) -> bool:
        """Whether the noun is a command too."""
        return self.name in self.commands

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        """List the verbs with their whole first line: a cut sentence says nothing."""
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        with formatter.section("Commands"):
            formatter.write_dl([(name, c.get_short_help_str(limit=200)) for name, c in commands.items() if c])


class Root(Group):
    """The program: its commands are modules that are imported when they are used."""

    def list_commands(self, ctx: Context) -> list[str]:  # noqa: ARG002
        return list(ENTRIES)

    def get_command(self, ctx: Context, cmd_name: str) -> ClickCommand | None:  # noqa: ARG002
        if cmd_name not in ENTRIES:
            return None
        if cmd_name not in self.commands:
            self.commands[cmd_name] = load(ENTRIES[cmd_name])
        return self.commands[cmd_name]

    def resolve_command(
        self, ctx: Context, args: list[str]
    ) -> tuple[str | None, ClickCommand | None, list[str]]:
        if args and args[0] not in ENTRIES and not args[0].startswith("-") and not ctx.resilient_parsing:
            raise UsageError(
                f"no such command: {args[0]}",
                hint=near(args[0], ENTRIES) or f"`{PROGRAM} --help` lists the commands",
            )
        name, command, rest = super().resolve_command(ctx, args)
        if (
            isinstance(command, Group)
            and command.has_own
            and (rest[:1] == [name] or not set(rest[:1]) & set(command.commands))
        ):
            # What is no verb are the arguments of the command that has the noun's name.
            command = command.commands[str(name)]
        return name, command, rest

    def shell_complete(self, ctx: Context, incomplete: str) -> list[Any]:
        """Complete names from the table, so that no command is loaded for it."""
        from typer._click.shell_completion import CompletionItem

        if incomplete.startswith("-"):
            return TyperCommand.shell_complete(self, ctx, incomplete)
        return [
            CompletionItem(e.name, help=e.help) for e in ENTRIES.values() if e.name.startswith(incomplete)
        ]

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        for title, entries in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(entry.name, entry.help) for entry in entries])
        with formatter.section("Global options (before or after the command)"):
            records = [p.get_help_record(ctx) for p in self.get_params(ctx)]
            formatter.write_dl([r for r in records if r])
        formatter.write_paragraph()
        formatter.write_text(
            "Exit codes: 0 done, 1 failed, 2 usage, 3 no server, 4 not authorised, 5 not found, 6 refused by the "
            "data, 7 records rejected, 8 a check found a difference, 9 commit unknown, 130/143 stopped."
        )


def load(entry: Entry) -> ClickCommand:
    """Import a command module and return its group, or its command where it has but one, of the noun's name."""
    group = importlib.import_module(f"motorctl.commands.{entry.module}").group
    for command in group.registered_commands:
        command.cls = _ours(command.cls)
    group.info.cls = Group
    group.info.name = entry.name
    group.info.help = group.info.help or entry.help
    group.info.no_args_is_help = False  # `_usage` says which verbs there are, in one line
    loaded = typer.main.get_group(group)
    return loaded.commands[entry.name] if set(loaded.commands) == {entry.name} else loaded


def _ours(asked: type[TyperCommand] | None) -> type[Command]:
    """Return the class of a command: ours, and on top of it the one that its module asks for."""
    if asked is None or asked is TyperCommand:
        return Command
    return asked if issubclass(asked, Command) else type(asked.__name__, (asked, Command), {})


def _version(ctx: Context, param: Parameter, value: bool | None) -> None:  # noqa: ARG001
    if value and not ctx.resilient_parsing:
        ctx.find_root().obj.streams.stdout.write(f"{PROGRAM} {__version__}\n")
        ctx.exit()


def root() -> Root:
    """Build the root command. Cheap: nothing of a command is imported."""
    version = TyperOption(
        param_decls=["version", "--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_version,
        help="Print the version.",
    )
    return Root(
        name=PROGRAM,
        params=[version],
        help=f"Administer MongoDB from the command line.\n\nExample:\n  {PROGRAM} ping\n"
        f"  {PROGRAM} schema check --builtin shop\n  {PROGRAM} --help",
        context_settings={"max_content_width": 100},
    )


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> int:
    """Run the program and return its exit code. Errors have been printed when this returns."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    run = Run(arguments, os.environ if environ is None else environ, Streams.standard())
    try:
        return _run(run)
    except MotorctlError as error:
        return run.report(error, error)
    except KeyboardInterrupt as error:
        return run.report(InterruptedByUserError("stopped by Ctrl-C"), error)
    except BrokenPipeError:
        # The reader has what it wanted (`| head`): nothing went wrong, and there is nobody to tell.
        _silence(run.streams.stdout)
        return ExitCode.OK
    except OSError as error:
        if run.app is None and error.filename is None:
            # No command has begun: it is help or the version that could not be written.
            _silence(run.streams.stdout)
            return run.report(cannot_write(error), error)
        place = f": {error.filename}" if error.filename else ""
        return run.report(MotorctlError(f"{(error.strerror or str(error)).lower()}{place}"), error)
    except Exception as error:  # noqa: BLE001 - the last place where a defect can be told in one line
        hint = None if run.debug else "this is a defect of motorctl: --debug shows where; please report it"
        text = " ".join(str(error).split())
        message = f"unexpected {type(error).__name__}" + (f": {text}" if text else "")
        return run.report(MotorctlError(message, hint=hint), error)


def _run(run: Run) -> int:
    program = root()
    if run.environ.get("_MOTORCTL_COMPLETE"):
        _prepare_completion()
        program.main(args=[], prog_name=PROGRAM, obj=run)  # answers the shell and exits
    if not run.argv:
        run.streams.stdout.write(
            program.get_help(program.make_context(PROGRAM, [], resilient_parsing=True)) + "\n"
        )
        return _flush(run.streams)
    try:
        # Not by `program.main`, which would make Ctrl-C a silent 130 and a closed pipe a 1.
        with program.make_context(PROGRAM, list(run.argv), obj=run) as context:
            code = program.invoke(context)
    except typer.Exit as error:
        code = error.exit_code
    except click.ClickException as error:
        raise _usage(error) from error
    except typer.Abort as error:
        raise KeyboardInterrupt from error
    _flush(run.streams, reader_may_be_gone=True)
    return int(code or 0)


def _flush(streams: Streams, *, reader_may_be_gone: bool = False) -> int:
    """Push out what stdout still holds: a full disk shows itself here at the latest.

    A command that has come to its verdict keeps it, even if nobody reads its last lines.
    """
    try:
        streams.stdout.flush()
    except BrokenPipeError:
        if not reader_may_be_gone:
            raise
        _silence(streams.stdout)
    except OSError as error:
        _silence(streams.stdout)
        raise cannot_write(error) from error
    return 0


def _silence(stream: Any) -> None:
    """Point a broken stdout at nothing, so that the flush at the end has nothing to fail on."""
    try:
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, stream.fileno())
    except (OSError, ValueError):
        return


def _usage(error: click.ClickException) -> UsageError:
    """Say a parsing error in our form: one line, and where its help is."""
    message = error.format_message().rstrip(".")
    hint = None
    context: Context | None = getattr(error, "ctx", None)
    if isinstance(error, click.NoSuchOption):
        message = f"no such option: {error.option_name}"
        known = [flag for p in context.command.get_params(context) for flag in p.opts] if context else []
        # By their words: the dashes would make any two alike.
        meant = nearest(
            error.option_name.lstrip("-"), [flag.lstrip("-") for flag in known if flag.startswith("--")]
        )
        hint = f"did you mean '--{meant}'?" if meant else None
    elif message == "Missing command" and context and isinstance(context.command, Group):
        verbs = ", ".join(context.command.list_commands(context))
        message = f"{context.command_path}: which command?"
        hint = f"one of {verbs}; `{context.command_path} --help` tells more"
    elif ". Did you mean" in message:
        message, _, hint = message.partition(". D")
        hint = "d" + hint
    if context is not None and hint is None:
        hint = f"`{context.command_path} --help` shows what it takes"
    return UsageError(message[:1].lower() + message[1:], hint=hint)


def _prepare_completion() -> None:
    from typer._completion_classes import completion_init

    # Typer renders help texts through Rich for zsh and fish if it finds it: 50 ms at each TAB for plain text.
    sys.modules["rich"] = None  # type: ignore[assignment]
    completion_init()
