"""`motorctl completion`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from motorctl.errors import UsageError

if TYPE_CHECKING:
    from motorctl.app import App

group = typer.Typer()

SHELLS = ("bash", "zsh", "fish", "powershell")


@group.command("completion")
def completion(
    ctx: typer.Context,
    shell: Annotated[
        str, typer.Argument(metavar="bash|zsh|fish|powershell", autocompletion=lambda: list(SHELLS))
    ],
) -> None:
    """Print the completion script of a shell.

    Example:
      source <(motorctl completion bash)
      motorctl completion zsh > "${fpath[1]}/_motorctl"
      motorctl completion fish > ~/.config/fish/completions/motorctl.fish
      motorctl completion powershell >> $PROFILE
    """
    from typer._completion_shared import get_completion_script

    from motorctl.near import near

    if shell not in SHELLS:
        raise UsageError(f"{shell!r} is not one of {', '.join(SHELLS)}", hint=near(shell, SHELLS))
    app: App = ctx.obj
    app.output.text(
        get_completion_script(prog_name="motorctl", complete_var="_MOTORCTL_COMPLETE", shell=shell)
    )
