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
