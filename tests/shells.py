"""Real shells on a pseudo-terminal: keys in, the arguments of the line that comes of them out."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SECONDS = 30
"""A shell that takes longer has hung."""

# The first process of a session may take a terminal for its own. Not by preexec_fn: the tests have threads.
TAKE = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[2:])"
STARTS = {
    "bash": ("bash", "--norc", "--noprofile", "-i"),
    "zsh": ("zsh", "-f", "-i"),
    "fish": ("fish", "--no-config", "-i"),
}
# What is typed first. `args` prints the words of its line, so that a test sees what the shell makes of it; the
# marks are put together there, so that the line itself, echoed, isn't taken for an answer.
PREPARED = {
    "bash": r"""PS1=; bind 'set enable-bracketed-paste off' 'set completion-query-items 0' 'set page-completions off'
args() { printf '\n%s%s' '<<' BEGIN; printf '[%s]' "$@"; printf '%s%s\n' END '>>'; }
source <(motorctl completion bash)
""",
    "zsh": r"""PS1= PROMPT_EOL_MARK=; unsetopt zle_bracketed_paste beep; unset zle_bracketed_paste; bindkey -e
args() { printf '\n%s%s' '<<' BEGIN; printf '[%s]' "$@"; printf '%s%s\n' END '>>'; }
autoload -Uz compinit; compinit -u -D; source <(motorctl completion zsh)
""",
    "fish": r"""function fish_prompt; end; function fish_greeting; end
function args; printf '\n%s%s' '<<' BEGIN; printf '[%s]' $argv; printf '%s%s\n' END '>>'; end
motorctl completion fish | source
""",
}


def installed(shell: str) -> str:
    """Return the shell, or skip the test and say why."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} isn't installed here")
    return shell


class Shell:
    """An interactive shell with the completion script loaded, in a folder."""

    def __init__(self, name: str, folder: Path, environ: Mapping[str, str]) -> None:
        self.name = name
        self._terminal, theirs = pty.openpty()
        scripts = folder / ".bin"
        scripts.mkdir()
        program = scripts / "motorctl"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m motorctl "$@"\n')
        program.chmod(0o755)
        self.process = subprocess.Popen(
            [sys.executable, "-c", TAKE, shutil.which(name) or name, *STARTS[name]],
            cwd=folder,
            env={
                **os.environ, **environ, "HOME": str(folder), "TERM": "xterm", "XDG_DATA_HOME": str(folder / ".data"),
                "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
            },
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        self.screen = ""
        self._send(PREPARED[name])
        assert self.arguments("args ready\n") == ["ready"]

    def complete(self, line: str) -> list[str]:
        """Type a line with its tabs, go to its beginning, make it the arguments of `args`, and run it."""
        return self.arguments(f"{line}\x01args \n")

    def arguments(self, keys: str) -> list[str]:
        """Type keys, and return the arguments of the `args` that they run."""
        begun = len(self.screen)
        self._send(keys)
        deadline = time.monotonic() + SECONDS
        while not (found := re.search(r"<<BEGIN(.*)END>>", self.screen[begun:], re.DOTALL)):
            assert time.monotonic() < deadline, f"{self.name} shows:\n{self.screen[begun:]}"
            if select.select([self._terminal], [], [], 0.1)[0]:
                self.screen += os.read(self._terminal, 65536).decode(errors="replace")
        return re.findall(r"\[(.*?)\]", found[1], re.DOTALL)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._terminal)

    def _send(self, keys: Sequence[str] | str) -> None:
        os.write(self._terminal, "".join(keys).encode())
