"""The nearest of the words that would have been right, for the hint of an error. Pure, standard library only."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

ELSEWHERE: dict[str, tuple[str, ...]] = {
    "--collection": ("--into COLLECTION", "leave it out: the collection is an argument"),
    "-c": ("--into COLLECTION", "leave it out: the collection is an argument"),
    "--file": ("leave it out: the file is an argument",),
    "--type": ("--format",),
    "--headerline": ("leave it out: the first line is the header, unless --no-header is given",),
    "--noHeaderLine": ("--no-header",),
    "--jsonArray": ("--format json",),
    "--upsertFields": ("--key",),
    "--parseGrace": ("--max-errors N|P%, and --rejects FILE keeps what was refused",),
    "--stopOnError": ("--max-errors 0",),
    "--maintainInsertionOrder": ("--ordered",),
    "--numInsertionWorkers": ("--workers",),
    "-j": ("--workers",),
    "--query": ("--filter",),
    "--queryFile": ("--filter @FILE",),
    "--fieldFile": ("--fields A,B",),
    "--jsonFormat": ("--canonical",),
    "--forceTableScan": ("--hint '{\"$natural\": 1}'",),
    "--out": ("-o FORMAT > FILE",),
    "--host": ("--uri mongodb://HOST/DATABASE",),
    "--port": ("--uri mongodb://HOST/DATABASE",),
    "--username": ("--uri mongodb://USER@HOST/DATABASE --ask-password",),
    "-u": ("--uri mongodb://USER@HOST/DATABASE --ask-password",),
    "--authenticationDatabase": ("--uri mongodb://USER@HOST/DATABASE?authSource=NAME",),
    "--json": ("-o json",),
    "--format": ("-o json",),
    "--force": ("--yes",),
    "-V": ("--version",),
}
"""Options of mongoimport, mongoexport, mongosh and others, and what does it here.

Each is an option, the first that the command has, or a sentence for the commands that read or write a collection.
"""


_DOCUMENTS = (
    "`motorctl export COLLECTION --filter JSON` prints documents, `motorctl aggregate` runs a pipeline"
)
_COLLECTIONS = "`motorctl indexes list` names the collections of --db"
_BACKUPS = "backups are mongodump's; `motorctl schema dump` writes the schema, `motorctl export` a collection"
_WRITES = (
    "`motorctl import - --into COLLECTION --mode MODE` writes what stdin has: insert, merge, replace, delete"
)
_SERVER = "`motorctl ping` and `motorctl doctor` say how the server is"
COMMANDS = {
    **dict.fromkeys(("find", "findOne", "query", "cat"), _DOCUMENTS),
    **dict.fromkeys(("collections", "show", "ls", "tables"), _COLLECTIONS),
    **dict.fromkeys(("dump", "restore", "backup", "mongodump", "mongorestore"), _BACKUPS),
    **dict.fromkeys(
        ("insert", "insertOne", "insertMany", "update", "updateOne", "delete", "remove"), _WRITES
    ),
    **dict.fromkeys(("status", "stats", "stat", "health", "connect", "login"), _SERVER),
    **dict.fromkeys(
        ("count", "countDocuments"), '`motorctl aggregate COLLECTION \'[{"$count": "n"}]\'` counts'
    ),
    **dict.fromkeys(("createIndex", "ensureIndex"), "`motorctl indexes create COLLECTION KEYS...`"),
    **dict.fromkeys(
        ("migrate", "up"), "`motorctl schema plan` and `motorctl schema apply` follow a manifest"
    ),
    **dict.fromkeys(("shell", "mongosh", "eval"), "a prompt to type at, and JavaScript, are mongosh's"),
    "use": "--db NAME, or the database in --uri",
    "version": "`motorctl --version`",
    "mongoimport": "`motorctl import FILE --into COLLECTION`",
    "mongoexport": "`motorctl export COLLECTION`",
}
"""What is typed from habit, and what does it here."""

VERBS = {
    **dict.fromkeys(("show", "find", "view", "info"), ("get", "show", "list")),
    **dict.fromkeys(("ls", "all"), ("list",)),
    **dict.fromkeys(("add", "new", "insert", "make"), ("create", "open", "place")),
    **dict.fromkeys(("rm", "remove", "del"), ("delete", "drop")),
    **dict.fromkeys(("edit", "change", "modify"), ("update", "set")),
    "get": ("show",),
}
"""Other words for a noun's verbs: the first that the noun has is meant."""


def verb(word: str, known: Collection[str]) -> str | None:
    """Return `did you mean 'get'?` for another word of what a noun's verb is called, or None."""
    meant = next((one for one in VERBS.get(word, ()) if one in known), None)
    return f"did you mean {meant!r}?" if meant else None


def nearest(word: str, words: Iterable[str]) -> str | None:
    """Return the word that was probably meant: one that begins so, else the most similar; or None."""
    import difflib

    known = list(words)
    begun = [other for other in known if word and other.startswith(word)]
    close = begun or difflib.get_close_matches(word, known, n=1)
    return close[0] if close else None


def near(word: str, words: Iterable[str]) -> str | None:
    """Return `did you mean 'x'?` for the word that was probably meant, or None."""
    found = nearest(word, words)
    return f"did you mean {found!r}?" if found else None


def translated(option: str, known: Collection[str]) -> str | None:
    """Return the hint for an option of another tool, if a command that takes the options `known` has its like."""
    for here in ELSEWHERE.get(option, ()):
        if here.partition(" ")[0] in known:
            return f"here it is {here}"
        if not here.startswith("-") and {"--into", "--out"} & set(known):
            return here
    return None
