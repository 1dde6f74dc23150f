"""`motorctl help`: a topic, or what `motorctl COMMAND --help` prints."""

from __future__ import annotations

from typing import Annotated

import typer
from typer.core import TyperCommand

from motorctl.errors import UsageError

group = typer.Typer()


class WithoutSettings(TyperCommand):
    """Help is there when the settings are what is wrong: no App is started for it."""

    starts_app = False


@group.command("help", cls=WithoutSettings)
def help_(
    ctx: typer.Context,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[TOPIC|COMMAND...]", help="What to tell about.")
    ] = None,
) -> None:
    """Tell about a topic that concerns all commands, or about one command.

    The topics are exit-codes, output, connection and formats; without a word it lists them. Of a command
    it prints what its --help does. Reads no settings and connects to nothing.

    Example:
      motorctl help
      motorctl help exit-codes
      motorctl help connection
      motorctl help schema apply
    """
    from motorctl.near import near
    from motorctl.topics import TOPICS

    root = ctx.find_root()
    stdout = root.obj.streams.stdout
    first, *others = words or [""]
    if not first:
        width = max(map(len, TOPICS))
        stdout.write("Topics:\n")
        stdout.writelines(f"  motorctl help {name:{width}}  {line}\n" for name, (line, _) in TOPICS.items())
        stdout.write("\n`motorctl --help` lists the commands, `motorctl COMMAND --help` tells about one.\n")
    elif first in TOPICS and not others:
        stdout.write(TOPICS[first][1]() + "\n")
    else:
        commands = root.command
        known = [*TOPICS, *commands.list_commands(root)]  # type: ignore[attr-defined]  # the root is a group
        if first not in known or first in TOPICS:
            asked = " ".join([first, *others])
            raise UsageError(
                f"no such topic or command: {asked}",
                hint=near(first, known) or "`motorctl help` lists the topics, `motorctl --help` the commands",
            )
        # --help is looked at before anything else: nothing of the command runs.
        with commands.make_context("motorctl", [first, *others, "--help"], obj=root.obj) as context:
            commands.invoke(context)
