"""The table of the global options: flags, environment variables, types, defaults. Data alone, of the standard library.

Each is read from here by whoever needs it: the parser, `settings`, completion, the documents.
"""

from __future__ import annotations

from typing import Any, NamedTuple

FORMATS = ("table", "json", "ndjson", "csv", "markdown")
PICTURES = ("html", "svg")
"""Formats that only a report has, a command that says of itself that it draws."""
LOG_FORMATS = ("text", "json")


class Option(NamedTuple):
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
        "uri", ("--uri",), "Connection string, mongodb:// or mongodb+srv://; a password is safer in --uri-file.",
        environment=("MOTORCTL_URI", "MONGODB_URL", "MONGODB_URI"), metavar="URI",
    ),
    Option(
        "uri_file", ("--uri-file",), "Read the connection string from a file.",
        environment=("MOTORCTL_URI_FILE",), metavar="PATH",
    ),
    Option(
        "ask_password", ("--ask-password",), "Ask for the password on the terminal; the URI has only the user.",
        kind=bool, default=False, profile=False,
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
        "timeout", ("--timeout",),
        "How long to look for a server, and for a sign of life from one that doesn't answer.", kind=float,
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
