"""Another system, as far as it can be pretended here: the program sees it, the libraries below see the truth.

Each import that a module of motorctl makes of `os`, `sys`, `signal`, `subprocess` or `ctypes` is answered with that
module without what is missing there, and with what behaves otherwise behaving so; a module that only POSIX has can't
be imported. What is pretended is what Python's library reference says of Windows and of macOS ("Availability",
`os.kill`, `subprocess.Popen`, `signal.signal`), and nothing of how files are locked, replaced and named there.

    python -c "import elsewhere; elsewhere.run('win32')" WORD...
"""

from __future__ import annotations

import asyncio
import builtins
import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

__all__ = ["run"]

POSIX_ONLY = {
    "os": """chown fchmod fchown fork forkpty getegid geteuid getgid getpgid getuid killpg lchown mkfifo openpty
        posix_spawn pread pwrite register_at_fork sched_getaffinity setsid statvfs sysconf uname wait wait3 wait4
        waitid WNOHANG O_NONBLOCK""",
    "signal": "SIGALRM SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGQUIT SIGTSTP SIGUSR1 SIGUSR2 alarm pthread_sigmask "
    "setitimer sigwait",
    "socket": "AF_UNIX",
    "time": "tzset clock_gettime",
}
MODULES = frozenset({"crypt", "fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"})
LINUX_ONLY = {"os": "sched_getaffinity memfd_create", "fcntl": "F_SETPIPE_SZ"}
_CTRL_C_EVENT, _CTRL_BREAK_EVENT = 0, 1


class _Seen(ModuleType):
    """A module as it is on another system: `missing` is not there, `other` is different, the rest is the module's."""

    def __init__(self, real: ModuleType, missing: str, **other: Any) -> None:
        super().__init__(real.__name__)
        vars(self).update(_real=real, _missing=frozenset(missing.split()), _other=other)

    def __getattr__(self, name: str) -> Any:
        if name in self._missing:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r} on this system")
        return self._other[name] if name in self._other else getattr(self._real, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._real, name, value)


def run(platform: str) -> None:
    """Run the program on a system: `win32` or `darwin`. Doesn't return."""
    # Whoever runs the tests in the background of a shell has it ignored, which nobody does on Windows.
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    pretend(platform)
    from motorctl.__main__ import main

    main()


def pretend(platform: str) -> None:
    """Let what is imported from now on by modules of motorctl find itself on another system."""
    seen = _windows() if platform == "win32" else _mac()
    gone = MODULES if platform == "win32" else frozenset()
    real = builtins.__import__

    def answer(
        name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
    ) -> ModuleType:
        ours = str((globals or {}).get("__name__", "")).startswith("motorctl")
        if ours and level == 0 and name in gone:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        module = real(name, globals, locals, fromlist, level)
        return seen.get(name, module) if ours and level == 0 else module

    builtins.__import__ = answer
    _no_signals_of_the_loop(platform)


def _windows() -> dict[str, ModuleType]:
    import socket
    import time

    flags = {"DETACHED_PROCESS": 0x8, "CREATE_NEW_PROCESS_GROUP": 0x200}
    library = SimpleNamespace(
        **{name: _Function(getattr(_Kernel, name)) for name in vars(_Kernel) if name[0] != "_"}
    )
    return {
        "os": _Seen(os, POSIX_ONLY["os"], name="nt", kill=_kill),
        "sys": _Seen(sys, "", platform="win32"),
        "socket": _Seen(socket, POSIX_ONLY["socket"]),
        "time": _Seen(time, POSIX_ONLY["time"]),
        # Ctrl-Break's number is SIGQUIT's here: a key that ends a process from without, too.
        "signal": _Seen(signal, POSIX_ONLY["signal"], SIGBREAK=signal.SIGQUIT, Signals=_Signals),
        "subprocess": _Seen(subprocess, "", Popen=_Popen, **flags),
        "ctypes": _Seen(ctypes, "", WinDLL=lambda _name, **_options: library),
    }


def _mac() -> dict[str, ModuleType]:
    import fcntl

    return {
        "os": _Seen(os, LINUX_ONLY["os"]),
        "fcntl": _Seen(fcntl, LINUX_ONLY["fcntl"]),
        "sys": _Seen(sys, "", platform="darwin"),
        "pathlib": _Seen(sys.modules["pathlib"], "", Path=_WithoutProc),
    }


def _no_signals_of_the_loop(platform: str) -> None:
    if platform == "win32":

        def add_signal_handler(*_arguments: Any) -> None:
            raise NotImplementedError

        begin = asyncio.SelectorEventLoop.__init__

        def begin_wakeable(self: Any, *arguments: Any) -> None:
            begin(self, *arguments)
            signal.set_wakeup_fd(self._csock.fileno())  # as Windows' loop does (asyncio.proactor_events)

        asyncio.SelectorEventLoop.__init__ = begin_wakeable  # type: ignore[assignment, method-assign]  # for whoever makes one
        asyncio.SelectorEventLoop.remove_signal_handler = add_signal_handler  # type: ignore[assignment, method-assign]  # as Windows' loop does: it can't
        asyncio.SelectorEventLoop.add_signal_handler = add_signal_handler  # type: ignore[assignment, method-assign]  # as Windows' loop does: it can't


class _Signals:
    """`signal.Signals`, by number and by name, with Ctrl-Break."""

    def __new__(cls, number: int) -> Any:
        return SimpleNamespace(name="SIGBREAK") if number == signal.SIGQUIT else signal.Signals(number)

    def __class_getitem__(cls, name: str) -> signal.Signals:
        return signal.SIGQUIT if name == "SIGBREAK" else signal.Signals[name]


def _kill(pid: int, number: int) -> None:
    """Do what `os.kill` does on Windows: whatever isn't one of two console events ends the process, unasked."""
    if number in (_CTRL_C_EVENT, _CTRL_BREAK_EVENT):
        raise AssertionError("os.kill of Windows takes 0 for Ctrl-C")
    os.kill(pid, signal.SIGKILL)


class _Popen(subprocess.Popen[bytes]):
    """Takes what Windows takes. A Python that is started is on Windows, too."""

    def __init__(self, arguments: Any, *, creationflags: int = 0, **options: Any) -> None:
        if unknown := {"preexec_fn", "process_group", "user", "group", "umask", "pass_fds"} & options.keys():
            raise ValueError(f"not on Windows: {unknown}")
        if creationflags & ~(0x8 | 0x200):
            raise ValueError(f"unknown flags: {creationflags:#x}")
        if list(arguments)[1:2] == ["-c"] and arguments[0] == sys.executable:
            here = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import elsewhere; "
            arguments = [*arguments[:2], f"{here}elsewhere.pretend('win32'); {arguments[2]}", *arguments[3:]]
        options["start_new_session"] = bool(creationflags)
        super().__init__(arguments, **options)


class _Kernel:
    """The functions of kernel32 that tell of processes: a handle is the process's id."""

    @staticmethod
    def OpenProcess(access: int, inherit: bool, pid: int) -> int:  # noqa: N802 - Windows' name
        assert (access, inherit) == (0x1000, False)
        return pid if Path(f"/proc/{pid}").exists() else 0

    @staticmethod
    def GetExitCodeProcess(handle: Any, code: Any) -> int:  # noqa: N802 - Windows' name
        stat = Path(f"/proc/{handle.value}/stat")
        alive = stat.exists() and stat.read_bytes().rpartition(b")")[2].split()[0] != b"Z"
        code._obj.value = 259 if alive else 0
        return 1

    @staticmethod
    def GetProcessTimes(handle: Any, created: Any, *_others: Any) -> int:  # noqa: N802 - Windows' name
        fields = Path(f"/proc/{handle.value}/stat").read_bytes().rpartition(b")")[2].split()
        created._obj.value = int(fields[19])
        return 1

    @staticmethod
    def CloseHandle(handle: Any) -> int:  # noqa: N802 - Windows' name
        assert handle.value
        return 1


class _Function:
    """A function of a library: its result's type can be set."""

    restype: Any = None

    def __init__(self, function: Any) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)


class _WithoutProc(type(Path())):  # type: ignore[misc]  # the class that this system's Path makes
    """A path of a system without /proc."""

    def _hidden(self) -> bool:
        return str(self).startswith("/proc/")

    def exists(self, **options: Any) -> bool:
        return not self._hidden() and super().exists(**options)

    def read_bytes(self) -> bytes:
        if self._hidden():
            raise FileNotFoundError(2, "No such file or directory", str(self))
        return bytes(super().read_bytes())
