"""Where a value comes from: flag > environment > profile > default.

Owns which goes before which, where the connection string comes from, and which values are secrets. Opens no
connection and prints nothing. Imported by `--help`: the standard library only.
"""

from __future__ import annotations

import math
import os
import re
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple
from urllib.parse import unquote_plus

from motorctl import config_file
from motorctl.errors import ConfigurationError
from motorctl.global_options import BY_NAME, OPTIONS, Option
from motorctl.near import near

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from motorctl.password import Account

DEFAULT_URI = "mongodb://localhost:27017"
_SCHEME = re.compile(r"mongodb(\+srv)?://", re.IGNORECASE)
LARGEST_URI = 64 * 1024
"""Bytes that are read of a file: whatever is named, `/dev/zero` too, ends in an error at once."""


class Value(NamedTuple):
    """A setting and where it came from: `flag --db`, `environment MOTORCTL_DB`, `profile x`, `default`."""

    value: Any
    source: str


class Settings:
    """The global options of one run, each with its source. Made by `load`, not changed afterwards."""

    SECRET_OPTIONS: ClassVar = frozenset({"tlsCertificateKeyFilePassword", "authMechanismProperties"})

    def __init__(self, values: Mapping[str, Value], options: Mapping[str, Any], config: Path) -> None:
        self.values = values
        self.driver_options = options
        """Options of the driver's client from the profile, by the driver's names."""
        self.config_path = config
        self._address: Value | None = None
        self._others: list[Settings] = []
        self._passwords: dict[Account, str] = {}
        self._identified = self._derived = False
        self._exposed: list[Path] = []
        self._told: set[Path] = set()
        if self.SECRET_OPTIONS & options.keys() and _is_exposed(config):
            self._exposed.append(config)
        elif values["uri"].source.startswith("profile "):
            self._note_exposed(config, str(values["uri"].value or ""))

    def __getitem__(self, name: str) -> Any:
        return self.values[name].value

    @property
    def output(self) -> str:
        return str(self["output"])

    @property
    def timeout(self) -> float:
        """Seconds to look for a server."""
        return float(self["timeout"])

    @property
    def retries(self) -> int:
        """Attempts in all, the first included."""
        return int(self["retries"])

    @property
    def wait(self) -> float:
        """Seconds to wait for a server to be ready; 0 is not at all."""
        return float(self["wait"])

    @property
    def slow_ms(self) -> int | None:
        """Milliseconds from which a server command is reported; None is never."""
        if self["slow_ms"] is None and self["verbose"]:
            return 100
        return None if self["slow_ms"] is None else int(self["slow_ms"])

    @property
    def yes(self) -> bool:
        return bool(self["yes"])

    @property
    def debug(self) -> bool:
        return bool(self["debug"])

    def address(self, *, again: bool = False) -> Value:
        """Return the connection string and its source, reading it from its file if it has one.

        `again` looks anew: a local server may have been started meanwhile. Raises ConfigurationError when the file can't be read or holds no connection string.
        """
        if self._address is None or again:
            self._address = self._with_password(self._find_address())
        return self._address

    def identify(self, ask: Callable[[Account], str]) -> None:
        """With `--ask-password`, have the password asked that the connection string leaves out.

        Once for each user and host of this run, however many connections there are. Raises ConfigurationError
        for a connection string without a user, or with a password: a derived one may have its own.
        """
        if not self["ask_password"] or self._identified:
            return
        from motorctl.password import account

        who = account(str(self.address(again=True).value))
        if who.user and not who.has_password:
            self._passwords[who] = ask(who)
            self.address(again=True)
        elif not self._derived:
            raise ConfigurationError(
                f"--ask-password: the connection string {'has a password already' if who.user else 'names no user'}",
                hint="leave --ask-password out, or take the password out of the connection string"
                if who.user
                else "put the user before the host: mongodb://USER@HOST/DATABASE",
            )
        self._identified = True

    def database(self) -> Value:
        """Return the database's name and its source: option, connection string, or the drivers' `test`."""
        chosen = self.values["db"]
        if chosen.value is not None:
            return chosen
        name = self.database_in_uri()
        return Value(name, f"URI ({self.address().source})") if name else Value("test", "default")

    def database_in_uri(self) -> str | None:
        """Return the database that the connection string names, whether or not it is the one; or None."""
        return database_in(str(self.address().value))

    def secrets(self) -> tuple[str, ...]:
        """Return the texts that must never be shown, as far as they are known without reading files."""
        from motorctl.redaction import forms, secrets_in, secrets_of_properties

        # One that stands in another's place is one, too.
        known = [secret for name in ("uri", "uri_file", "db") for secret in secrets_in(str(self[name] or ""))]
        if self._address is not None:
            known += secrets_in(str(self._address.value))
        for name in self.SECRET_OPTIONS & self.driver_options.keys():
            value = self.driver_options[name]
            known += forms(
                secrets_of_properties(value) if name == "authMechanismProperties" else [str(value)]
            )
        known += [secret for other in self._others for secret in other.secrets()]
        return tuple(dict.fromkeys(known))

    def of_database(self, name: str, source: str) -> Settings:
        """Return the settings of another database of the same server; `source` is where the name stood."""
        return self._other({"db": Value(name, source)}, self.driver_options)

    def of_uri(self, uri: str, source: str) -> Settings:
        """Return the settings of another server, whose database is the one in the connection string, else ours."""
        name = database_in(uri)
        address = {"uri": Value(uri, source), "uri_file": Value(None, "default")}
        # A profile's options are for the profile's server.
        return self._other(address | ({"db": Value(name, source)} if name else {}), {})

    def of_profile(self, name: str) -> Settings:
        """Return the settings of another profile: its server and database, whatever was typed for this run.

        What else was typed or stands in the environment keeps its precedence. Raises ConfigurationError.
        """
        source = f"profile {name}"
        profile, _, options = config_file.profile(self.config_path, name, asked=True)
        values = {
            option.name: _first(option, {}, {}, profile, name)
            for option in OPTIONS
            if option.name in ("uri", "uri_file", "db")
            or (option.profile and not self.values[option.name].source.startswith(("flag", "environment")))
        }
        _choose_address(values, {}, {}, profile)
        return self._other({**values, "profile": Value(name, source)}, options)

    def _other(self, values: Mapping[str, Value], options: Mapping[str, Any]) -> Settings:
        other = Settings({**self.values, **values}, options, self.config_path)
        # What is printed in this run mustn't show the other's passwords either.
        self._others.append(other)
        other._passwords, other._told, other._derived = self._passwords, self._told, True
        return other

    def exposed(self) -> list[Path]:
        """Return the files whose passwords others on this machine can read, of those read so far; each once."""
        found = [path for path in self._exposed if path not in self._told]
        self._told.update(found)
        return found + [path for other in self._others for path in other.exposed()]

    def _note_exposed(self, path: Path, *uris: str) -> None:
        from motorctl.redaction import secrets_in

        if path not in self._exposed and any(map(secrets_in, uris)) and _is_exposed(path):
            self._exposed.append(path)

    def _with_password(self, address: Value) -> Value:
        """Put in the password that was typed for this connection string."""
        if not self._passwords:
            return address
        from motorctl.password import account, with_password

        password = self._passwords.get(account(str(address.value)))
        if password is None:
            return address
        return Value(with_password(str(address.value), password), address.source)

    def _find_address(self) -> Value:
        uri, path = self.values["uri"], self.values["uri_file"]
        if path.value is not None:
            if re.match(r"mongodb(\+srv)?:/", str(path.value), re.IGNORECASE):
                raise ConfigurationError(
                    f"{path.source}: this is a connection string, not the name of a file",
                    hint="--uri takes it; --uri-file takes the name of a file that holds it",
                )
            text = _read_uri(Path(path.value).expanduser())
            self._note_exposed(Path(path.value).expanduser(), text)
            return Value(text, f"file {path.value} ({path.source})")
        if uri.value is not None:
            if not _SCHEME.match(str(uri.value)):
                # Not shown: what stands in its place may hold a password.
                raise ConfigurationError(
                    f"{uri.source}: not a connection string",
                    hint="it begins with mongodb:// or mongodb+srv://: mongodb://localhost:27017",
                )
            return uri
        from motorctl.core import local

        running = local.running_uri()
        return Value(running, "local server") if running else Value(DEFAULT_URI, "default")


def load(flags: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """Collect the settings of one run.

    `flags` holds only the options that were typed, by `Option.name`, as text or as flags' booleans.
    Raises ConfigurationError for a value that doesn't fit, an unknown profile or an unknown key in it.
    """
    base = {name: _first(BY_NAME[name], flags, environ, {}, "") for name in ("config", "profile")}
    config = Path(base["config"].value or config_file.default_path(environ)).expanduser()
    asked = any(value.value is not None for value in base.values())
    profile, profile_name, options = config_file.profile(config, base["profile"].value, asked=asked)
    values = {option.name: _first(option, flags, environ, profile, profile_name) for option in OPTIONS}
    values.update(base)
    if values["profile"].value is None and profile_name:
        values["profile"] = Value(profile_name, f"file {config}")
    _choose_address(values, flags, environ, profile)
    if environ.get("NO_COLOR") and "color" not in flags:
        values["color"] = Value(False, "environment NO_COLOR")
    if values["verbose"].value and values["quiet"].value:
        raise ConfigurationError("--verbose and --quiet exclude each other")
    return Settings(values, options, config)


def database_in(uri: str) -> str | None:
    """Return the database that a connection string names, or None. As PyMongo reads it: `db.collection` too."""
    rest = uri.partition("://")[2].partition("?")[0].rpartition("@")[2]
    return unquote_plus(rest.partition("/")[2]).partition(".")[0] or None


def _is_exposed(path: Path) -> bool:
    """Tell whether others can read a file that is ours to close.

    A file of another owner that we read as one of its group is how a container is given a secret.
    """
    if sys.platform == "win32":  # whose modes say nothing of who may read
        return False
    try:
        found = path.stat()
    except OSError:
        return False
    readable = stat.S_IROTH | (stat.S_IRGRP if found.st_uid == os.geteuid() else 0)
    return stat.S_ISREG(found.st_mode) and bool(found.st_mode & readable)


def _read_uri(path: Path) -> str:
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST_URI + 1).decode("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror or str(error)).lower() if isinstance(error, OSError) else "it is not text"
        raise ConfigurationError(
            f"cannot read the connection string from {path}: {reason}",
            hint="the file of --uri-file holds a connection string and nothing else; is its path right?",
        ) from error
    if len(text) > LARGEST_URI:
        raise ConfigurationError(f"{path} is larger than {LARGEST_URI >> 10} KiB: no connection string is")
    if not _SCHEME.match(text) or len(text.split()) != 1:
        raise ConfigurationError(
            f"{path} does not hold one connection string",
            hint="the file is one line: mongodb://HOST/DATABASE or mongodb+srv://HOST/DATABASE",
        )
    return text


def _first(
    option: Option,
    flags: Mapping[str, Any],
    environ: Mapping[str, str],
    profile: Mapping[str, Any],
    name: str,
) -> Value:
    if option.name in flags:
        flag = _flag(option, flags[option.name])
        return Value(_converted(option, flags[option.name], flag), f"flag {flag}")
    for variable in option.environment:
        if environ.get(variable):
            return Value(_converted(option, environ[variable], variable), f"environment {variable}")
    if option.name in profile:
        place = f"profile {name}: {option.name}"
        return Value(_converted(option, profile[option.name], place), f"profile {name}")
    return Value(option.default, "default")


def _choose_address(
    values: dict[str, Value], flags: Mapping[str, Any], environ: Mapping[str, str], profile: Mapping[str, Any]
) -> None:
    """Of `uri` and `uri_file`, keep the one from the stronger place; both in one place is an error."""
    names = ("uri", "uri_file")
    places = (
        ("on the command line", [n for n in names if n in flags]),
        ("in the environment", [n for n in names if environ.get(f"MOTORCTL_{n.upper()}")]),
        ("in the environment", [n for n in ("uri",) if values[n].source.startswith("environment")]),
        ("in the profile", [n for n in names if n in profile]),
    )
    for place, given in places:
        if len(given) == 2:
            raise ConfigurationError(f"a URI and a URI file are both given {place}", hint="leave one out")
        if given:
            other = names[1 - names.index(given[0])]
            values[other] = Value(None, "default")
            return


def _converted(option: Option, raw: Any, place: str) -> Any:
    """Return the option's value from a flag, a variable or a TOML value; `place` is for errors."""
    if option.kind is bool:
        if isinstance(raw, bool):
            return raw
        word = str(raw).strip().lower()
        if word in ("1", "true", "yes", "on"):
            return True
        if word in ("0", "false", "no", "off"):
            return False
        raise ConfigurationError(f"{place}: {raw!r} is neither yes nor no", hint="use 1 or 0")
    if option.kind in (int, float):
        wanted = "a whole number" if option.kind is int else "a number of seconds"
        if isinstance(raw, bool) or (option.kind is int and isinstance(raw, float)):
            # TOML's `true` and `2.5`, which int() would take.
            raise ConfigurationError(f"{place}: {raw!r} is not {wanted}")
        try:
            number = option.kind(raw)
        except (TypeError, ValueError):
            hint = "such as 3" if option.kind is int else "such as 5 or 0.5"
            raise ConfigurationError(f"{place}: {raw!r} is not {wanted}", hint=hint) from None
        low = option.minimum
        if not math.isfinite(number) or (low is not None and number < low):
            raise ConfigurationError(f"{place}: {raw} is out of range")
        return number
    if not isinstance(raw, str) or not raw:
        # What stands in the place of a connection string may hold a password.
        shown = "this" if option.name == "uri" else repr(raw)
        raise ConfigurationError(f"{place}: {shown} is not a text")
    if option.choices and raw not in option.choices:
        hint = near(raw, option.choices) or f"such as {option.flags[0]} {option.choices[0]}"
        if option.name == "output" and {".", "/"} & set(raw):
            hint = "it is a format, not a file: > FILE keeps what is printed, `export` has --out FILE"
        raise ConfigurationError(f"{place}: {raw!r} is not one of {', '.join(option.choices)}", hint=hint)
    return raw


def _flag(option: Option, value: Any) -> str:
    """Return the flag as it was typed, of `--color/--no-color` the right one."""
    yes, _, no = option.flags[0].partition("/")
    return no if value is False and no else yes
