"""The program as Typer has it: the root with its groups, each imported when it is used, and the global options.

Owns what every command has alike, and what stands on a line of `--help`. Runs nothing itself: a command that is
invoked asks the `cli.Run` in its context to start the App. Imported by `--help`: none of motor, pymongo, pydantic and
rich.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

import typer.main
from typer.core import TyperCommand, TyperGroup, TyperOption

from motorctl import __version__
from motorctl.commands import ENTRIES, SECTIONS
from motorctl.errors import UsageError
from motorctl.global_options import OPTIONS
from motorctl.help import PROGRAM, Help
from motorctl.near import COMMANDS, near

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typer._click import Command as ClickCommand
    from typer._click import Context, HelpFormatter, Parameter

    from motorctl.commands import Entry
    from motorctl.global_options import Option


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


def _global_option(option: Option) -> TyperOption:
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
    )


GLOBAL_OPTIONS = [_global_option(option) for option in OPTIONS]


class _WithGlobals(Help):
    """What a command and a group have alike: the global options, and the looks of their help."""

    name: str | None

    def get_params(self, ctx: Context) -> list[Parameter]:
        own = super().get_params(ctx)  # type: ignore[misc]  # Click's, where this is mixed in
        taken = {flag for param in own for flag in param.opts}
        return [*own, *(p for p in GLOBAL_OPTIONS if not taken & set(p.opts))]


class Command(_WithGlobals, TyperCommand):
    """A command that starts its App when everything is parsed."""

    starts_app = True
    """Whether it needs one: what must work with broken settings doesn't, and gets the Run."""

    def invoke(self, ctx: Context) -> Any:
        if self.starts_app:
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

    def list_commands(self, ctx: Context) -> list[str]:  # noqa: ARG002 - Click's signature
        return list(ENTRIES)

    def get_command(self, ctx: Context, cmd_name: str) -> ClickCommand | None:  # noqa: ARG002 - Click's signature
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
                f"no such command {args[0]!r}",
                hint=COMMANDS.get(args[0])
                or near(args[0], ENTRIES)
                or f"`{PROGRAM} --help` lists the commands",
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

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        for title, entries in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(entry.name, entry.help) for entry in entries])
        with formatter.section("Global options (before or after the command)"):
            records = [p.get_help_record(ctx) for p in self.get_params(ctx)]
            formatter.write_dl([r for r in records if r])
        from motorctl.topics import exit_codes_in_a_line

        formatter.write_paragraph()
        formatter.write_text(exit_codes_in_a_line() + f" `{PROGRAM} help exit-codes` tells more.")


def load(entry: Entry) -> ClickCommand:
    """Import a command module and return its group, or its command where it has but one, of the noun's name."""
    group = importlib.import_module(f"motorctl.commands.{entry.module}").group
    for command in group.registered_commands:
        command.cls = _ours(command.cls)
    group.info.cls = Group
    group.info.name = entry.name
    group.info.help = group.info.help or entry.help
    group.info.no_args_is_help = False  # `_usage` says which verbs there are, in one line
    verbs = _Verbs(group)
    if set(verbs) == {entry.name}:
        return verbs[entry.name]
    bare = copy.copy(group)
    bare.registered_commands = []
    loaded = typer.main.get_group(bare)
    loaded.commands = verbs
    return loaded


class _Verbs(MutableMapping[str, "ClickCommand"]):
    """The commands of a Typer group by name, each made when it is asked for.

    Typer reads the signature of each function twice, some milliseconds a command; a run needs one of them.
    """

    def __init__(self, group: typer.Typer) -> None:
        self._markup = group.rich_markup_mode
        self._functions = {str(info.name): info for info in group.registered_commands}
        self._made: dict[str, ClickCommand] = {}

    def __getitem__(self, name: str) -> ClickCommand:
        if name not in self._made:
            self._made[name] = typer.main.get_command_from_info(
                self._functions[name], pretty_exceptions_short=False, rich_markup_mode=self._markup
            )
        return self._made[name]

    def __setitem__(self, name: str, command: ClickCommand) -> None:
        self._made[name] = command

    def __delitem__(self, name: str) -> None:
        self._functions.pop(name, None)
        self._made.pop(name, None)

    def __contains__(self, name: object) -> bool:
        return name in self._functions or name in self._made

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*self._functions, *self._made)))

    def __len__(self) -> int:
        return len({*self._functions, *self._made})


def _ours(asked: type[TyperCommand] | None) -> type[Command]:
    """Return the class of a command: ours, and on top of it the one that its module asks for."""
    if asked is None or asked is TyperCommand:
        return Command
    return asked if issubclass(asked, Command) else type(asked.__name__, (asked, Command), {})


def _version(ctx: Context, param: Parameter, value: bool | None) -> None:  # noqa: ARG001 - Click's signature
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
