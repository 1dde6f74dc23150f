"""What a profiler was set to before it was turned on from here, so that it can be put back.

A file for each server in the user's state directory, named by the server's process: one server has
many names, and one that was started anew has forgotten what it was set to. It is not kept in the
database: the right to set a profiler is no right to write, and the setting is one server's, not the
replica set's. Limit and share are the whole server's: they are put back with its last database.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from platformdirs import user_state_dir

from motorctl.core import extjson
from motorctl.core.private import opener
from motorctl.core.slow.profiler import State
from motorctl.errors import MotorctlError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from motorctl.core.slow.profiler import Server


class Remembered:
    """The setting before, of one server's profiler of one database."""

    def __init__(self, server: Server, database: str) -> None:
        self._server = server
        self._database = database
        name = hashlib.sha256(server.process.encode()).hexdigest()[:24]
        self.path = (
            Path(user_state_dir("motorctl", appauthor=False)).expanduser() / "profiler" / f"{name}.json"
        )

    def get(self, now: State) -> State | None:
        """Return what is to be put back; None when nothing is remembered, or it can't be read.

        While other databases of the server are recorded from here, limit and share stay as they are `now`.
        """
        found = self._read()
        if found is None or self._database not in found["databases"]:
            return None
        limits = found if not self.others() else {"slow_ms": now.slow_ms, "sample_rate": now.sample_rate}
        try:
            return State.of({**limits, **found["databases"][self._database]})
        except (KeyError, TypeError, ValueError):
            return None

    def others(self) -> list[str]:
        """Return the other databases of this server that were turned on from here, and not off again."""
        found = self._read() or {"databases": {}}
        return sorted(name for name in found["databases"] if name != self._database)

    def keep(self, before: State) -> None:
        """Remember it, unless an earlier one is: that is what was there before us."""
        found = self._read() or {
            "server": self._server.name,
            "slow_ms": before.slow_ms,
            "sample_rate": before.sample_rate,
            "databases": {},
        }
        if self._database in found["databases"]:
            return
        found["databases"][self._database] = {"level": before.level, "filter": before.filter}
        self._write(found)

    def forget(self) -> None:
        """Remember nothing of this database any more."""
        found = self._read()
        if found is None:
            self.path.unlink(missing_ok=True)
        elif self._database in found["databases"]:
            del found["databases"][self._database]
            if found["databases"]:
                self._write(found)
            else:
                self.path.unlink(missing_ok=True)

    def _read(self) -> dict[str, Any] | None:
        try:
            found = extjson.loads(self.path.read_text(encoding="utf-8"))
            return found if isinstance(found["databases"], dict) else None
        except (OSError, KeyError, TypeError, ValueError):
            return None

    def _write(self, found: Mapping[str, Any]) -> None:
        # Canonical: a filter is set again with the types that it had.
        content = orjson.dumps(extjson.to_json_value(found, canonical=True), option=orjson.OPT_INDENT_2)
        fresh = self.path.with_suffix(f".{os.getpid()}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with open(fresh, "wb", opener=opener) as file:
                file.write(content)
            fresh.replace(self.path)
        except OSError as error:
            raise MotorctlError(
                f"cannot remember what the profiler was set to: {fresh}: {(error.strerror or str(error)).lower()}",
                hint="nothing was changed; set XDG_STATE_HOME to a directory that can be written",
            ) from error
