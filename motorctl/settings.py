"""Where a value comes from: flag > environment > profile > default.

Owns the table of global options (`OPTIONS`), the profile file and which values are secrets. Opens
no connection and prints nothing. Imported by `--help`: the standard library only.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import unquote_plus

from motorctl.errors import ConfigurationError
from motorctl.near import near
from motorctl.redaction import SHORTEST_SECRET, secrets_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FORMATS = ("table", "json", "ndjson", "csv", "markdown")
PICTURES = ("html", "svg")
"""Formats that only a report has, a command that says of itself that it draws."""
LOG_FORMATS = ("text", "json")
DEFAULT_URI = "mongodb://localhost:27017"
_SCHEME = re.compile(r"mongodb(\+srv)?://", re.IGNORECASE)


@dataclass(frozen=True)
class Option:
    """One global option: its flags, environment variables, type, default and help."""

    name: str
    flags: tuple[str, ...]
    help: str
    kind: type = str
    environment: tuple[str, ...] = ()
    default: Any = None
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    profile: bool = True
    """Whether a profile may set it."""


OPTIONS: tuple[Option, ...] = (
    Option(
        "uri", ("--uri",), "Connection string, mongodb:// or mongodb+srv://.",
        environment=("MOTORCTL_URI", "MONGODB_URL", "MONGODB_URI"), metavar="URI",
    ),
    Option(
        "uri_file", ("--uri-file",), "Read the connection string from a file.",
        environment=("MOTORCTL_URI_FILE",), metavar="PATH",
    ),
    Option(
        "db", ("--db", "-d"), "Database; else the one in the URI, else 'test'.",
        environment=("MOTORCTL_DB",), metavar="NAME",
    ),
    Option(
        "profile", ("--profile", "-p"), "Named settings in the configuration file.",
        environment=("MOTORCTL_PROFILE",), metavar="NAME", profile=False,
    ),
    Option(
        "config", ("--config",), "The configuration file.",
        environment=("MOTORCTL_CONFIG",), metavar="PATH", profile=False,
    ),
    Option(
        "output", ("--output", "-o"),
        f"How results are written: {', '.join(FORMATS)}; a report as {' or '.join(PICTURES)}, too.",
        environment=("MOTORCTL_OUTPUT",), default="table", metavar="FORMAT", choices=(*FORMATS, *PICTURES),
    ),
    Option(
        "timeout", ("--timeout",), "How long to look for a server.", kind=float,
        environment=("MOTORCTL_TIMEOUT",), default=5.0, metavar="SECONDS", minimum=0.001,
    ),
    Option(
        "retries", ("--retries",), "Attempts on transient errors.", kind=int,
        environment=("MOTORCTL_RETRIES",), default=3, metavar="N", minimum=1,
    ),
    Option(
        "wait", ("--wait",), "Wait that long for the server to be ready, then start.", kind=float,
        default=0.0, metavar="SECONDS", minimum=0, profile=False,
    ),
    Option(
        "slow_ms", ("--slow-ms",), "Report server commands slower than this on stderr (100 with -v).",
        kind=int, environment=("MOTORCTL_SLOW_MS",), metavar="MS", minimum=0,
    ),
    Option(
        "stable_api", ("--stable-api/--no-stable-api",), "Declare Stable API v1 to the server.", kind=bool,
        environment=("MOTORCTL_STABLE_API",), default=True,
    ),
    Option("verbose", ("--verbose", "-v"), "Say more on stderr.", kind=bool, default=False),
    Option("quiet", ("--quiet", "-q"), "Only results, warnings and errors.", kind=bool, default=False),
    Option(
        "debug", ("--debug",), "Show the traceback of an error.", kind=bool,
        environment=("MOTORCTL_DEBUG",), default=False,
    ),
    Option(
        "log_format", ("--log-format",), "Lines on stderr: text, or one JSON object each.",
        default="text", metavar="text|json", choices=LOG_FORMATS,
    ),
    Option(
        "color", ("--color/--no-color",), "Colours; on a terminal only, unless said.", kind=bool,
    ),
    Option("yes", ("--yes", "-y"), "Answer yes to every question.", kind=bool, default=False, profile=False),
)  # fmt: skip
BY_NAME = {option.name: option for option in OPTIONS}

# Options of PyMongo's client that a profile may hold in its `options` table, beside what rides in the
# URI. They keep the driver's names; the driver checks the values.
DRIVER_OPTIONS = frozenset(
    """appName authMechanism authMechanismProperties authSource compressors connectTimeoutMS directConnection
    heartbeatFrequencyMS journal loadBalanced localThresholdMS maxConnecting maxIdleTimeMS maxPoolSize
    maxStalenessSeconds minPoolSize readConcernLevel readPreference readPreferenceTags replicaSet
    retryReads retryWrites serverMonitoringMode serverSelectionTimeoutMS socketTimeoutMS srvMaxHosts
    srvServiceName timeoutMS tls tlsAllowInvalidCertificates tlsAllowInvalidHostnames tlsCAFile
    tlsCertificateKeyFile tlsCertificateKeyFilePassword tlsCRLFile tlsDisableOCSPEndpointCheck
    tlsInsecure w waitQueueTimeoutMS wTimeoutMS zlibCompressionLevel""".split()
)


@dataclass(frozen=True)
class Value:
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
            self._address = self._find_address()
        return self._address

    def database(self) -> Value:
        """Return the database's name and its source: option, connection string, or the drivers' `test`."""
        chosen = self.values["db"]
        if chosen.value is not None:
            return chosen
        address = self.address()
        name = database_in(str(address.value))
        return Value(name, f"URI ({address.source})") if name else Value("test", "default")

    def secrets(self) -> tuple[str, ...]:
        """Return the texts that must never be shown, as far as they are known without reading files."""
        known = [*secrets_in(str(self["uri"] or ""))]
        if self._address is not None:
            known += secrets_in(str(self._address.value))
        for name in self.SECRET_OPTIONS & self.driver_options.keys():
            value = self.driver_options[name]
            known += map(str, value.values() if isinstance(value, dict) else [value])
        known += [secret for other in self._others for secret in other.secrets()]
        return tuple(dict.fromkeys(secret for secret in known if len(secret) >= SHORTEST_SECRET))

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
        file = Value(str(self.config_path), self.values["config"].source)
        profile, _, options = _profile(self.config_path, file, Value(name, source))
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
        return other

    def _find_address(self) -> Value:
        uri, path = self.values["uri"], self.values["uri_file"]
        if path.value is not None:
            return Value(_read_uri(Path(path.value).expanduser()), f"file {path.value} ({path.source})")
        if uri.value is not None:
            if not _SCHEME.match(str(uri.value)):
                # Not shown: what stands in its place may hold a password.
                raise ConfigurationError(
                    f"{uri.source}: not a connection string",
                    hint="it begins with mongodb:// or mongodb+srv://, as mongodb://localhost:27017",
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
    config = Path(base["config"].value or default_config_path(environ)).expanduser()
    profile, profile_name, options = _profile(config, base["config"], base["profile"])
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


def default_config_path(environ: Mapping[str, str]) -> Path:
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


def database_in(uri: str) -> str | None:
    """Return the database that a connection string names, or None. As PyMongo reads it: `db.collection` too."""
    rest = uri.partition("://")[2].partition("?")[0].rpartition("@")[2]
    return unquote_plus(rest.partition("/")[2]).partition(".")[0] or None


def _read_uri(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigurationError(f"cannot read the connection string from {path}: {reason}") from error
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
            raise ConfigurationError(f"{place}: {raw!r} is not {wanted}") from None
        low = option.minimum
        if not math.isfinite(number) or (low is not None and number < low):
            raise ConfigurationError(f"{place}: {raw} is out of range")
        return number
    if not isinstance(raw, str) or not raw:
        raise ConfigurationError(f"{place}: {raw!r} is not a text")
    if option.choices and raw not in option.choices:
        raise ConfigurationError(
            f"{place}: {raw!r} is not one of {', '.join(option.choices)}", hint=near(raw, option.choices)
        )
    return raw


def _flag(option: Option, value: Any) -> str:
    """Return the flag as it was typed, of `--color/--no-color` the right one."""
    yes, _, no = option.flags[0].partition("/")
    return no if value is False and no else yes


def _profile(config: Path, chosen: Value, name: Value) -> tuple[dict[str, Any], str, dict[str, Any]]:
    """Read the profile: the one named, else the file's `default_profile`, else none.

    A missing file is fine unless it or a profile was asked for.
    """
    asked = chosen.value is not None or name.value is not None
    try:
        raw = config.read_bytes()
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
    import tomllib

    try:
        document = tomllib.loads(raw.decode())
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{config}: not UTF-8 text (byte {error.start + 1})") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{config}: {error}") from error
    _only(document, ("default_profile", "profiles"), str(config))
    profiles = document.get("profiles", {})
    wanted = name.value or document.get("default_profile")
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
