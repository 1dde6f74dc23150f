"""The configuration file: where it is, and what a profile in it says.

Owns its form (TOML) and its limits: a table of settings by their options' names, and in it one of the driver's. What a
value means, and what goes before what, `settings` says.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motorctl.errors import ConfigurationError
from motorctl.global_options import DRIVER_OPTIONS, OPTIONS
from motorctl.near import near

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LARGEST_CONFIG = 256 * 1024
"""Bytes that are read of a file: whatever is named, `/dev/zero` too, ends in an error at once."""
DEEPEST_KEY = 100
"""Parts of a dotted key."""


def default_path(environ: Mapping[str, str]) -> Path:
    """Return `$XDG_CONFIG_HOME/motorctl/config.toml`, or the platform's place for it."""
    if home := environ.get("XDG_CONFIG_HOME"):
        return Path(home) / "motorctl" / "config.toml"
    from platformdirs import user_config_dir

    try:
        # Older platformdirs leave the ~ of a user without a home standing.
        return Path(user_config_dir("motorctl")).expanduser() / "config.toml"
    except RuntimeError:
        # A user without a home directory (a container, a stripped cron) has no file, and that is fine.
        return Path(os.devnull)


def profile(config: Path, name: str | None, *, asked: bool) -> tuple[dict[str, Any], str, dict[str, Any]]:
    """Return a profile's settings, its name and its options of the driver: the one named, else the file's
    `default_profile`, else none, which is empty.

    A missing file is fine unless it or a profile was `asked` for. Raises ConfigurationError.
    """
    try:
        with config.open("rb") as file:
            raw = file.read(LARGEST_CONFIG + 1)
    except FileNotFoundError:
        if asked:
            raise ConfigurationError(
                f"no configuration file at {config}",
                hint="`motorctl config path` shows where it is looked for",
            ) from None
        return {}, "", {}
    except OSError as error:
        if not asked:
            return {}, "", {}
        raise ConfigurationError(f"cannot read {config}: {error.strerror}") from error
    if len(raw) > LARGEST_CONFIG:
        raise ConfigurationError(f"{config} is larger than {LARGEST_CONFIG >> 10} KiB: no configuration is")
    import tomllib

    try:
        text = raw.decode()
        # tomllib takes the square of a dotted key's length, and the interpreter's stack for a value's depth.
        if any(
            len(re.findall(r"[\w\"'-][ \t]*\.", piece)) > DEEPEST_KEY
            for piece in re.split(r"[^\w\"'. \t-]", text)
        ):
            raise ConfigurationError(f"{config}: a key of more than {DEEPEST_KEY} parts")
        document = tomllib.loads(text)
    except RecursionError:
        raise ConfigurationError(f"{config}: a value is nested too deep") from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{config}: not UTF-8 text (byte {error.start + 1})") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(
            f"{config}: not TOML: {str(error)[:1].lower()}{str(error)[1:]}",
            hint='a profile is a table and its settings: [profiles.prod], below it uri = "mongodb://..."',
        ) from error
    _only(document, ("default_profile", "profiles"), str(config))
    profiles = document.get("profiles", {})
    wanted = name or document.get("default_profile")
    if wanted is None:
        return {}, "", {}
    if not isinstance(profiles, dict) or not isinstance(wanted, str) or wanted not in profiles:
        known = ", ".join(profiles) if isinstance(profiles, dict) and profiles else "none"
        raise ConfigurationError(f"{config} has no profile {wanted!r}", hint=f"it has: {known}")
    if not isinstance(profiles[wanted], dict):
        raise ConfigurationError(f"{config}: profile {wanted!r} is not a table", hint=f"[profiles.{wanted}]")
    profile = dict(profiles[wanted])
    options = profile.pop("options", {})
    place = f"{config}: profile {wanted!r}"
    _only(profile, [o.name for o in OPTIONS if o.profile], place)
    if not isinstance(options, dict):
        raise ConfigurationError(f"{place}: options is not a table")
    _only(options, DRIVER_OPTIONS, f"{place}: options")
    return profile, wanted, options


def _only(table: Mapping[str, Any], allowed: Iterable[str], place: str) -> None:
    allowed = list(allowed)
    for key in table:
        if key not in allowed:
            raise ConfigurationError(
                f"{place}: unknown key {key!r}",
                hint=near(key, allowed) or f"known are: {', '.join(sorted(allowed))}",
            )
