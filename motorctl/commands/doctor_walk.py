"""What one walk of `motorctl doctor` knows so far, and how its steps connect as every other command does."""

from __future__ import annotations

import asyncio
import io
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from motorctl.diagnostics import Diagnostics
from motorctl.errors import UnreachableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from motorctl.app import App
    from motorctl.client import Database
    from motorctl.progress import Progress
    from motorctl.road.address import Address, Host
    from motorctl.road.model import Lane
    from motorctl.road.step import Step

BOUNDED = (
    "serverSelectionTimeoutMS",
    "connectTimeoutMS",
    "socketTimeoutMS",
    "timeoutMS",
    "waitQueueTimeoutMS",
)
"""Options of the driver whose part --timeout takes: each step has that long, and no longer."""


class Heard(Diagnostics):
    """Keeps the warnings that opening a client gives; slow commands are told as ever."""

    def __init__(self, told: Diagnostics) -> None:
        super().__init__(io.StringIO())
        self.warnings: list[str] = []
        self._told = told

    def warning(self, message: str, **fields: Any) -> None:  # noqa: ARG002 - the sentence says it
        self.warnings.append(message)

    def slow(self, command: str, namespace: str, milliseconds: float) -> None:
        self._told.slow(command, namespace, milliseconds)


@dataclass
class Walk:
    """One walk: what is known so far."""

    app: App
    heard: Heard
    progress: Progress
    seconds: float
    steps: list[Step] = field(default_factory=list)
    address: Address | None = None
    """The connection string; once SRV and TXT have been read, the mongodb:// one that they make of it."""
    lanes: list[Lane] = field(default_factory=list)
    direct: bool = False
    """Whether one host is wanted, whatever it is in: of the URI or the profile, as the next two."""
    balanced: bool = False
    set_name: str | None = None
    """The replica set that is asked for by name."""
    pool_size: int | None = None
    """The most connections to one host; None is without limit."""

    @property
    def end(self) -> Step | None:
        """The step at which the road ends: the first one that failed."""
        from motorctl.road.step import Status

        return next((step for step in self.steps if step.status is Status.FAILED), None)

    @asynccontextmanager
    async def asking(self, *hosts: Host) -> AsyncIterator[Database]:
        """Connect as every command does; with a host, to that one alone whatever it is in.

        The profile's options hold, too. Raises errors of ours only; UnreachableError after `seconds` and one more.
        """
        from motorctl.settings import Settings, Value

        assert self.address is not None
        address = self.address.without(*BOUNDED)
        direct = bool(hosts) and not self.balanced
        given = self.app.settings
        found = given.address()
        options = {} if found.source == "local server" else dict(given.driver_options)
        if hosts:
            address = address.to(hosts).without("directConnection", "replicaSet")
            options = {k: v for k, v in options.items() if k not in ("replicaSet", "directConnection")}
        options = {key: value for key, value in options.items() if key not in BOUNDED}
        options["socketTimeoutMS"] = round(self.seconds * 1000)
        changed = {
            "uri": Value(str(address), f"from {found.source}"),
            "uri_file": Value(None, "default"),
            "ask_password": Value(False, "default"),
            "wait": Value(0.0, "default"),
        }
        settings = Settings({**given.values, **changed}, options, given.config_path)
        app = replace(self.app, settings=settings, diagnostics=self.heard)
        try:
            async with asyncio.timeout(self.seconds + 1), app.connect(direct=direct) as db:
                yield db
        except TimeoutError:
            raise UnreachableError(
                f"no answer within {self.seconds:g} s",
                hint="the server takes connections and does not answer",
            ) from None
