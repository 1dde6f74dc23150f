"""The program as a process that has a terminal of its own, and a stdin that is something else.

For questions: what is typed goes to the terminal, what stands on its screen comes back. Needs a pseudo-terminal.
"""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import termios
import time

from conftest import Result, command, until

__all__ = ["Asked"]


class Asked:
    """The program as a process with a terminal of its own, whose stdin is something else."""

    def __init__(self, *arguments: str, stdin: bytes = b"", terminal: bool = True) -> None:
        self._master, slave = pty.openpty()
        self.slave = slave
        # The first of a session may take a terminal for its own: its stderr, here.
        take = "import fcntl, os, sys, termios; fcntl.ioctl(2, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
        line = command(*arguments)
        self.process = subprocess.Popen(
            [sys.executable, "-c", take, *line] if terminal else line,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, "MOTORCTL_DB": "shop", "NO_COLOR": "1"},
        )
        assert self.process.stdin is not None
        self.process.stdin.write(stdin)
        self.process.stdin.close()
        self.screen = ""

    def read_until(self, wanted: str, seconds: float = 30) -> None:
        """Read the screen until something stands there."""
        deadline = time.monotonic() + seconds
        while wanted not in self.screen:
            assert time.monotonic() < deadline, f"not on the screen: {wanted!r}, but {self.screen!r}"
            self._read(0.05)

    def type(self, text: str) -> None:
        # What is typed while the terminal still echoes would be seen, whoever types it.
        until(lambda: not self.echoes, "the terminal does not echo")
        os.write(self._master, text.encode())

    @property
    def echoes(self) -> bool:
        return bool(termios.tcgetattr(self.slave)[3] & termios.ECHO)

    def end(self) -> Result:
        """Wait for the end; the screen is what it says, stderr included."""
        assert self.process.stdout is not None
        try:
            deadline = time.monotonic() + 30
            while self.process.poll() is None:
                assert time.monotonic() < deadline, self.screen
                self._read(0.02)
            self._read(0)
            assert self.echoes, "the terminal is left without echo"
            return Result(self.process.returncode, self.process.stdout.read().decode(), self.screen)
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            os.close(self._master)
            os.close(self.slave)

    def _read(self, seconds: float) -> None:
        while select.select([self._master], [], [], seconds)[0]:
            self.screen += os.read(self._master, 65536).decode()
            seconds = 0
