"""What `motorctl help TOPIC` says: the rules that are the same for each command.

Owns these texts, and makes them from the program's own tables where it has one. Knows no command and
prints nothing. A line is at most 80 characters long. Standard library only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from motorctl.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable


class Meaning(NamedTuple):
    """An exit code in two or three words, and in a sentence."""

    short: str
    sentence: str


CODES: dict[ExitCode, Meaning] = {
    ExitCode.OK: Meaning("done", "Done; also when there was nothing to change."),
    ExitCode.FAILED: Meaning("failed", "The operation failed."),
    ExitCode.USAGE: Meaning("usage", "Wrong usage, configuration or manifest; nothing was done."),
    ExitCode.UNREACHABLE: Meaning("no server", "No server reached, or the time was over."),
    ExitCode.UNAUTHORIZED: Meaning(
        "not authorised", "Not authenticated, or not authorised: the user lacks a right."
    ),
    ExitCode.NOT_FOUND: Meaning("not found", "What was named isn't there."),
    ExitCode.REFUSED: Meaning(
        "refused by the data",
        "Refused by the data: a duplicate key, a validator, not enough money or stock, "
        "a key that was used with other arguments.",
    ),
    ExitCode.REJECTS: Meaning(
        "records rejected", "Finished, but some records of the input were rejected; --rejects keeps them."
    ),
    ExitCode.DIFFERENCE: Meaning(
        "a check found a difference",
        "A check found a difference: schema drift, a gate of explain, documents that "
        "violate a validator, books that don't balance.",
    ),
    ExitCode.OUTCOME_UNKNOWN: Meaning(
        "commit unknown",
        "A commit's answer was lost: it is there, or it isn't. The hint names the command that tells.",
    ),
    ExitCode.INTERRUPTED: Meaning("", "Stopped by Ctrl-C, after cleaning up and summing up."),
    ExitCode.TERMINATED: Meaning("", "Stopped by SIGTERM or SIGHUP, after cleaning up."),
}
"""What each exit code means. Scripts rely on it."""

WIDTH = 80


def exit_codes_in_a_line() -> str:
    """Return the exit codes as `--help` ends with them."""
    told = [f"{int(code)} {meaning.short}" for code, meaning in CODES.items() if meaning.short]
    stopped = "/".join(str(int(code)) for code, meaning in CODES.items() if not meaning.short)
    return f"Exit codes: {', '.join(told)}, {stopped} stopped."


def _exit_codes() -> str:
    return "\n".join(
        [
            "What a command ends with; scripts may rely on it.",
            "",
            *_listed([(str(int(code)), meaning.sentence) for code, meaning in CODES.items()]),
            "",
            *_paragraphs(
                "After 3, 130 and 143 the same command is worth repeating as it is, and so it is after 9 with the "
                "same --key. After 7, mend the rejects and import them with the options of the first import. The others say what has to be "
                "changed first.",
                "A value that breaks a rule of its field, as a gpa of 5, is 2 where it is typed, and 6 where the "
                "server refuses it. A question that is answered with no ends with 0, and nothing is done.",
                "A closed pipe (`motorctl ... | head`) is no failure: 0, and nothing is said.",
            ),
            "",
            "In a script:",
            "  motorctl schema check schema.yaml -q",
            "  case $? in",
            "    0) ;;                                # as the manifest says",
            "    8) echo 'the schema has drifted' ;;",
            "    3) exit 75 ;;                        # later: no server now",
            "    *) exit 1 ;;",
            "  esac",
        ]
    )


def _output() -> str:
    return "\n".join(
        _paragraphs(
            "Results are on stdout, everything else on stderr: errors, warnings, questions and progress. "
            "So `motorctl students list -o json > students.json` keeps the results alone.",
            "An error is `error:`, what happened and to what, and mostly `hint:`, the next step. With -o json or "
            "-o ndjson it is one line on stderr: "
            '{"error": {"code": ..., "exit": ..., "message": ..., "hint": ...}}. The names of these fields and of '
            "those in results stay; new ones may come.",
            "With --log-format json each line on stderr is one JSON object, for cron and for what ships logs.",
            "-v says more, -q only results, warnings and errors; --debug shows where an error comes from. No "
            "password is shown, at none of them.",
            "Colours and progress are for terminals. In a pipe a table is plain text of which nothing is cut, "
            "and with -v there is a line of progress every ten seconds. NO_COLOR=1 or --no-color take the colours "
            "away, TERM=dumb all of it; no meaning is in a colour alone.",
            "Text from the database can't drive the terminal: control characters in it are shown, not obeyed.",
            "A command that changes anything has --dry-run: it prints what it would do, and writes nothing. One that "
            "destroys asks on a terminal; elsewhere it needs --yes, and ends with 2 without it.",
            "`motorctl help formats` has the formats, `motorctl help exit-codes` the exit codes.",
        )
    )


def _connection() -> str:
    from motorctl.global_options import OPTIONS

    variables = [
        (variable, " ".join((option.flags[0].replace("/", " / "), option.metavar or "")).rstrip())
        for option in OPTIONS
        for variable in option.environment
    ]
    return "\n".join(
        [
            *_paragraphs(
                "Which server: --uri or --uri-file, else the environment's, else the profile's, else the one that "
                "`motorctl local` runs, else mongodb://localhost:27017. A flag goes before the environment, that "
                "before the profile, that before the default; `motorctl config show` prints each value and where it "
                "came from, without passwords.",
                "Which database: --db or MOTORCTL_DB, else the profile's, else the one in the connection string, else `test`.",
            ),
            "",
            "A connection string:",
            "  mongodb://db.example.com/shop",
            "  mongodb://ada:PASSWORD@a.example.com,b.example.com/shop?replicaSet=rs0",
            "  mongodb+srv://ada@cluster.example.com/shop?authSource=admin",
            "",
            *_paragraphs(
                "A user or password with one of : / ? # [ ] @ % has it as %XX (@ is %40). The options are those of "
                "MongoDB's drivers: tls, tlsCAFile, authSource, authMechanism, readPreference, compressors, ...",
                "Others on the machine can read a password in --uri, in the list of processes. --uri-file reads the "
                "string from a file that only its owner may read; --ask-password asks for it on the terminal.",
            ),
            "",
            "Profiles are in the file that `motorctl config path` names:",
            '  default_profile = "local"',
            "",
            "  [profiles.production]",
            '  uri_file = "/run/secrets/mongodb-uri"',
            '  db = "shop"',
            "  timeout = 10",
            "",
            "  [profiles.production.options]",
            '  tlsCAFile = "/etc/ssl/certs/internal-ca.pem"',
            "",
            *_paragraphs(
                "--timeout is how long a server is looked for; --wait how long it may take until it is ready, for "
                "a container that starts beside it. What may run twice is tried again, --retries times in all, 1 "
                "to 10 seconds apart. `motorctl ping` says what the server is, `motorctl doctor` goes the way to it "
                "step by step."
            ),
            "",
            "Environment variables and the options that they stand for:",
            *_listed(variables),
        ]
    )


def _formats() -> str:
    from motorctl.global_options import FORMATS, PICTURES

    looks = {
        "table": "For people: fitted to the terminal; in a pipe plain aligned text, nothing cut.",
        "json": "One document: an array for a list, an object for one thing.",
        "ndjson": "One object a line, as they come: for long lists and for jq.",
        "csv": "A header and a row for each; nested values are JSON in a cell.",
        "markdown": "A table for a pull request or a wiki.",
        "html": "A report as a page of its own with a chart; needs nothing else.",
        "svg": "The chart alone.",
    }
    return "\n".join(
        [
            "How results are written: -o FORMAT, MOTORCTL_OUTPUT or a profile's `output`.",
            "",
            *_listed([(name, looks[name]) for name in (*FORMATS, *PICTURES)]),
            "",
            *_paragraphs(
                f"{' and '.join(PICTURES)} are for the reports of `motorctl revenue`.",
                "Students, users, accounts, orders and reports have their ids as strings, money as decimal strings "
                '("12.50") and dates in ISO 8601. Documents of your own shape (export, aggregate) are MongoDB\'s '
                "Extended JSON, relaxed: what it can't say plainly is an object with one key that begins with a "
                "dollar sign.",
            ),
            "",
            '  {"_id": {"$oid": "64b7f0c2a1b2c3d4e5f60718"}, "n": 7,',
            '   "amount": {"$numberDecimal": "9.99"},',
            '   "created_at": {"$date": "2026-03-01T00:00:00Z"}}',
            "",
            *_paragraphs(
                "--canonical keeps the type of each number, too. What `motorctl export` writes, `motorctl import` "
                "reads back to the same BSON: canonical exactly, relaxed with the nearest type of a number.",
                "import and transfer batch read NDJSON, a JSON array, objects in a row, CSV and TSV, as they are "
                "or compressed by gzip (.gz), Zstandard (.zst) or bzip2 (.bz2); `-` is stdin.",
                "Where an option takes JSON, @FILE reads it from a file and - from stdin. Manifests and suites are "
                "YAML 1.2 or JSON; Extended JSON is understood in both.",
            ),
        ]
    )


TOPICS: dict[str, tuple[str, Callable[[], str]]] = {
    "exit-codes": ("What a command ends with, and what a script does about it.", _exit_codes),
    "output": ("What is on stdout, what on stderr, and how errors look.", _output),
    "connection": ("Which server, which database; profiles, passwords, variables.", _connection),
    "formats": ("table, json, ndjson, csv, markdown, html, svg; Extended JSON.", _formats),
}
"""Each topic: its line in the list of topics, and what makes its text."""


def _wrapped(text: str, width: int = WIDTH) -> list[str]:
    import textwrap

    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def _paragraphs(*texts: str) -> list[str]:
    lines: list[str] = []
    for text in texts:
        lines += [*([""] if lines else []), *_wrapped(text)]
    return lines


def _listed(rows: list[tuple[str, str]]) -> list[str]:
    """Two columns, the second one wrapped beside the first."""
    column = max(len(head) for head, _ in rows) + 4
    lines = []
    for head, text in rows:
        first, *others = _wrapped(text, WIDTH - column)
        lines += [f"  {head}".ljust(column) + first, *(" " * column + other for other in others)]
    return lines
