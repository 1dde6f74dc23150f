"""Values for a TAB that are kept elsewhere: profiles in the configuration file, names on the server.

The only module of completion that reads a file or opens a connection, and only for a value that is asked
for. The server has `SECONDS` for all of it, name resolution and TLS included; nothing is asked of the
user, and what goes wrong is no answer.
"""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motorctl import config_file, settings
from motorctl.global_options import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from motorctl.client import Database
    from motorctl.completion.place import Place, Word

SECONDS = 0.3
"""How long a server may take to answer; the imports of the driver come before."""
LIMIT = 500
"""Names at most: nobody chooses from more."""


def values(kind: str, prefix: str, place: Place, environ: Mapping[str, str]) -> list[Word]:
    """Return what a parameter of a kind may be, as (word, help), or nothing; not all of it begins with the prefix.

    Kinds: `profile`, `zone`, `database`, `collection`, `index` (of the collection that is on the line), `account`,
    `product`, `schema` (a live database or a shipped manifest, beside files).
    """
    try:
        return _values(kind, prefix, place, environ)
    except Exception:  # noqa: BLE001 - a broken configuration, a URI that is none: what else fits is still offered
        return []


def _values(kind: str, prefix: str, place: Place, environ: Mapping[str, str]) -> list[Word]:
    match kind:
        case "profile":
            return [(name, "") for name in _profiles(place, environ)]
        case "zone":
            import zoneinfo

            return [(zone, "") for zone in sorted(zoneinfo.available_timezones())]
        case "schema":
            named = [("db", "the live database"), ("builtin:college", ""), ("builtin:shop", "")]
            if prefix.startswith("db:"):
                return [
                    (f"db:{name}", about) for name, about in _asked(_databases(prefix[3:]), place, environ)
                ]
            return [*named, *((f"profile:{name}", "") for name in _profiles(place, environ))]
        case "database":
            return _asked(_databases(prefix), place, environ)
        case "collection":
            return _asked(_collections(prefix), place, environ)
        case "index" if place.arguments:
            return _asked(_indexes(place.arguments[0]), place, environ)
        case "account" | "product":
            return _asked(_ids({"account": "accounts", "product": "inventory"}[kind], prefix), place, environ)
    return []


def _databases(prefix: str) -> Callable[[Database], Awaitable[list[Word]]]:
    from motorctl.core import names

    return lambda db: names.databases(db, prefix, LIMIT)


def _collections(prefix: str) -> Callable[[Database], Awaitable[list[Word]]]:
    from motorctl.core import names

    return lambda db: names.collections(db, prefix, LIMIT)


def _indexes(collection: str) -> Callable[[Database], Awaitable[list[Word]]]:
    from motorctl.core import names

    return lambda db: names.indexes(db, collection)


def _ids(collection: str, prefix: str) -> Callable[[Database], Awaitable[list[Word]]]:
    from motorctl.core import names

    return lambda db: names.ids(db, collection, prefix, LIMIT)


def _asked(
    ask: Callable[[Database], Awaitable[list[Word]]], place: Place, environ: Mapping[str, str]
) -> list[Word]:
    """Ask the server that the line and the environment name. Where a password would be asked for, it isn't."""
    if "--ask-password" in place.typed:
        return []
    from motorctl import client  # noqa: F401 - imported before the clock starts: on a cold disk it takes longer
    from motorctl.app import App
    from motorctl.diagnostics import Diagnostics
    from motorctl.output import Output
    from motorctl.streams import Streams

    nowhere = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    streams = Streams(nowhere, nowhere, nowhere)
    typed = {**_typed(place), "timeout": str(SECONDS), "retries": "1"}
    app = App(
        settings.load(typed, environ), streams, Diagnostics(nowhere, quiet=True), Output(nowhere, "ndjson")
    )
    found: list[Word] = []

    async def run() -> None:
        async with app.connect() as db:
            found.extend(await ask(db))

    def work() -> None:
        try:
            app.run(run())
        except BaseException:  # noqa: BLE001 - a server that says no, and a driver's defect: no answer
            return

    # A thread, because a resolver or a TLS handshake that hangs can't be cancelled; the process doesn't wait for it.
    asking = threading.Thread(target=work, daemon=True)
    asking.start()
    asking.join(SECONDS)
    return list(found)


def _typed(place: Place) -> dict[str, Any]:
    """The global options on the line that say where the server is, as `settings.load` takes them."""
    found: dict[str, Any] = {}
    for name in ("uri", "uri_file", "db", "profile", "config"):
        option = BY_NAME[name]
        if option.flags[0] in place.typed:
            found[name] = _variable(place.typed[option.flags[0]])
    if place.typed.get("--stable-api") == "--no-stable-api":
        found["stable_api"] = False
    return found


def _variable(word: str) -> str:
    """A word that is one variable, as `$URI`, has the variable's value: the shell hasn't expanded it yet."""
    name = word.removeprefix("$").strip("{}")
    return os.environ.get(name, word) if word.startswith("$") and name.isidentifier() else word


def _profiles(place: Place, environ: Mapping[str, str]) -> list[str]:
    """The profiles of the configuration file; none if there is no such file, or it isn't one."""
    import tomllib

    given = _typed(place).get("config") or environ.get("MOTORCTL_CONFIG")
    path = Path(given or config_file.default_path(environ)).expanduser()
    try:
        profiles = tomllib.loads(path.read_text(encoding="utf-8")).get("profiles", {})
    except (OSError, ValueError):
        return []
    return sorted(profiles) if isinstance(profiles, dict) else []
