"""The front door: arguments -> App, error -> exit code.

Owns what was typed of the global options, and the one place where an error becomes two lines and a number. Knows
no noun; connects to nothing. Importing it, `--help` and completion load none of motor, pymongo, pydantic and rich:
a test holds that.
"""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Any

import typer
from typer._click import exceptions as click  # Typer's own copy of Click: see pyproject.toml on its version

from motorctl import settings
from motorctl.errors import ExitCode, MotorctlError, UsageError
from motorctl.global_options import BY_NAME, PICTURES
from motorctl.help import PROGRAM
from motorctl.near import nearest, translated, verb
from motorctl.program import Group, root
from motorctl.streams import Streams

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from typer._click import Context

    from motorctl.app import App
    from motorctl.diagnostics import Diagnostics, Overheard


class InterruptedByUserError(MotorctlError):
    """Ctrl-C: raised once everything has been cleaned up."""

    exit_code = ExitCode.INTERRUPTED
    code = "interrupted"


class Run:
    """One run while it is being parsed: what was typed of the global options, then the App of it."""

    def __init__(self, argv: Sequence[str], environ: Mapping[str, str], streams: Streams) -> None:
        self.argv = argv
        self.environ = environ
        self.streams = streams
        self.flags: dict[str, Any] = {}
        self.app: App | None = None
        self._overheard: Overheard | None = None

    def start(self, *, draws: bool) -> App:
        """Build the App from what was typed, for a command that `draws` pictures or doesn't.

        Raises ConfigurationError; UsageError for a picture of what has none: here, before anything is done.
        """
        # What only a command needs, and neither help nor completion.
        from motorctl.app import App
        from motorctl.diagnostics import Diagnostics, Overheard
        from motorctl.output import Output, no_picture

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
        if sys.stderr is self.streams.stderr:
            sys.stderr = self._overheard = Overheard(self.streams.stderr, diagnostics)
        if chosen.output in PICTURES:
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

    def end(self) -> None:
        """Give stderr back to whoever has called the program."""
        if self._overheard is not None:
            self._overheard.finish()
            if sys.stderr is self._overheard:
                sys.stderr = self.streams.stderr
            self._overheard = None

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
        from motorctl.diagnostics import Diagnostics

        plain = bool(self.environ.get("NO_COLOR")) or "--no-color" in self.argv
        return Diagnostics(
            self.streams.stderr,
            as_json=self._typed("log_format", "--log-format", "MOTORCTL_LOG_FORMAT") == "json",
            color=False if plain else None,
            secrets=self._early_secrets,
        )

    def _early_secrets(self) -> tuple[str, ...]:
        """The secrets of each connection string that is typed or in the environment."""
        from motorctl import redaction

        given = [self._typed("uri", "--uri", "")]
        given += [self.environ.get(variable) for variable in BY_NAME["uri"].environment]
        given += [word for word in self.argv if "://" in word]
        return tuple(secret for uri in given if uri for secret in redaction.secrets_in(str(uri)))

    def _typed(self, name: str, flag: str, variable: str) -> Any:
        """Find a global option even where parsing stopped before it."""
        if name in self.flags:
            return self.flags[name]
        option = BY_NAME[name]
        for index, word in enumerate(self.argv):
            head, equals, value = word.partition("=")
            if head in option.flags:
                following = self.argv[index + 1] if index + 1 < len(self.argv) else ""
                return True if option.kind is bool else value if equals else following
            if word.startswith(flag) and not flag.startswith("--") and not word.startswith("--"):
                return word[2:]
        return self.environ.get(variable)


def main(
    argv: Sequence[str] | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    begin: Callable[[], None] | None = None,
) -> int:
    """Run the program and return its exit code. Errors have been printed when this returns.

    `begin` is called first: it may raise KeyboardInterrupt, for a signal that came before.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    run = Run(arguments, os.environ if environ is None else environ, Streams.standard())
    try:
        if begin is not None:
            begin()
        return _run(run)
    except MotorctlError as error:
        return run.report(error, error)
    except KeyboardInterrupt as error:
        return run.report(_stopped(error), error)
    except BrokenPipeError:
        # The reader has what it wanted (`| head`): nothing went wrong, and there is nobody to tell.
        _silence(run.streams.stdout)
        return ExitCode.OK
    except OSError as error:
        if run.app is None and error.filename is None:
            # No command has begun: it is help or the version that could not be written.
            from motorctl.output import cannot_write

            _silence(run.streams.stdout)
            return run.report(cannot_write(error), error)
        place = f": {error.filename}" if error.filename else ""
        return run.report(MotorctlError(f"{(error.strerror or str(error)).lower()}{place}"), error)
    except Exception as error:  # noqa: BLE001 - the last place where a defect can be told in one line
        return run.report(_unexpected(error, debug=run.debug), error)
    finally:
        run.end()


def _unexpected(error: Exception, *, debug: bool) -> MotorctlError:
    """Say in a line what nobody has foreseen: a defect of ours, or an answer that the driver could not read."""
    text = " ".join(str(error).split())
    what = type(error).__name__ + (f": {text}" if text else "")
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    module = str(place.tb_frame.f_globals.get("__name__")) if place is not None else ""
    if module.partition(".")[0] in ("pymongo", "motor", "bson"):
        return MotorctlError(
            f"the driver can't read what the server answers: {what}",
            hint="is it MongoDB? `motorctl doctor` walks the road to it, --debug shows where it ended",
        )
    hint = (
        None
        if debug
        else "a defect of motorctl, or an answer that no MongoDB gives: --debug shows where; please report it"
    )
    return MotorctlError(f"unexpected {what}", hint=hint)


def _stopped(stop: KeyboardInterrupt) -> MotorctlError:
    from motorctl import signals

    if not isinstance(stop, signals.Terminated):
        return InterruptedByUserError("stopped by Ctrl-C")
    from motorctl.app import TerminatedError

    return TerminatedError(f"stopped by {stop}")


def _run(run: Run) -> int:
    program = root()
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
        from motorctl.output import cannot_write

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
    # Click's own types, in words.
    message = re.sub(r"not a valid int(eger)?( range)?$", "not a whole number", message)
    message = re.sub(r"not a valid float( range)?$", "not a number", message)
    hint = None
    context: Context | None = getattr(error, "ctx", None)
    group = context.command if context is not None and isinstance(context.command, Group) else None
    if context is not None and isinstance(error, click.NoSuchOption):
        message = f"no such option: {error.option_name}"
        hint = _option_hint(error.option_name, context)
    elif context is not None and group is not None and message == "Missing command":
        verbs = ", ".join(group.list_commands(context))
        message = f"{context.command_path}: which command?"
        hint = f"one of {verbs}; `{context.command_path} --help` tells more"
    elif context is not None and message.startswith("Got unexpected extra"):
        hint = _extra_hint(message, context)
    elif context is not None and isinstance(error, click.MissingParameter) and error.param is not None:
        (flag, *_), told = error.param.opts, getattr(error.param, "help", None)
        if flag.startswith("-") and told:
            hint = f"{flag} {error.param.make_metavar(context)}: {told[:1].lower()}{told[1:].rstrip('.')}"
    elif ". Did you mean" in message:
        message, _, hint = message.partition(". D")
        hint = "d" + hint
    if context is not None and group is not None and (found := re.match("No such command '(.+)'", message)):
        # What looks most like `show` isn't what it means.
        hint = verb(found[1], group.list_commands(context)) or hint
    if context is not None and hint is None:
        hint = f"`{context.command_path} --help` shows what it takes"
    return UsageError(message[:1].lower() + message[1:], hint=hint)


def _flags(context: Context) -> list[str]:
    params = context.command.get_params(context)
    return [flag for param in params for flag in (*param.opts, *param.secondary_opts)]


def _option_hint(option: str, context: Context) -> str | None:
    """Say what another tool's option is here, what was probably meant, or how a number below 0 is written."""
    known = _flags(context)
    if (hint := translated(option, known)) is not None:
        return hint
    if option.startswith("--"):
        # By their words: the dashes would make any two alike. One letter is like nothing.
        meant = nearest(option[2:], [flag[2:] for flag in known if flag.startswith("--")])
        return f"did you mean '--{meant}'?" if meant else None
    if not option[1:2].isdigit():
        return None
    if any(param.name == "amount" for param in context.command.get_params(context)):
        return "an amount has no sign: what goes the other way is a transfer the other way"
    return f"a number below 0 goes behind two dashes: -- {option}"


def _extra_hint(message: str, context: Context) -> str | None:
    """Say where a word belongs that stands where none does."""
    if re.search(r"\(\{.*\}\)$", message) and "--filter" in _flags(context):
        return "a filter goes behind --filter"  # mongoexport's -q; here that is --quiet
    if set("{}[]$") & set(message):
        return "JSON is one argument: quote it for the shell, in single quotes"
    if re.search(r"\((true|false|yes|no)\)$", message, re.IGNORECASE):
        return "a switch takes no value: it is said, or its opposite (--active, --inactive)"
    return (
        "the server is named by --uri mongodb://HOST" if context.command.name in ("ping", "doctor") else None
    )
