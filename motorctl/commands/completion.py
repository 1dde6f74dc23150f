"""`motorctl completion`: prints a shell's script. What it offers then is `motorctl.completion`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from motorctl.errors import UsageError

if TYPE_CHECKING:
    from motorctl.app import App

group = typer.Typer()

SCRIPTS = {"bash": "motorctl.bash", "zsh": "_motorctl", "fish": "motorctl.fish", "powershell": "motorctl.ps1"}
"""Each shell's script in `motorctl.completion`, by the name that the shell looks for."""


@group.command("completion")
def completion(
    ctx: typer.Context,
    shell: Annotated[
        str,
        typer.Argument(
            metavar="bash|zsh|fish|powershell",
            help="Whose script. bash 4, zsh 5, fish 3, PowerShell 5.1, and later.",
            autocompletion=lambda: list(SCRIPTS),
        ),
    ],
) -> None:
    """Print the completion script of a shell.

    It completes commands, options, values and files without a connection. Names of databases, collections,
    indexes, accounts and products come from the server that the line and the environment name: it has 0.3
    seconds, is only read from, and one that doesn't answer, or wants a password that isn't there, is no
    error but no names. Profiles come from the configuration file.

    Example:
      source <(motorctl completion bash)
      motorctl completion zsh > "${fpath[1]}/_motorctl"
      motorctl completion fish > ~/.config/fish/completions/motorctl.fish
      motorctl completion powershell >> $PROFILE
    """
    from importlib import resources

    from motorctl.near import near

    if shell not in SCRIPTS:
        raise UsageError(f"{shell!r} is not one of {', '.join(SCRIPTS)}", hint=near(shell, SCRIPTS))
    app: App = ctx.obj
    script = resources.files("motorctl.completion") / "scripts" / SCRIPTS[shell]
    app.output.text(script.read_text(encoding="utf-8"))
