"""The nearest of the words that would have been right, for the hint of an error. Pure, standard library only."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

ELSEWHERE = {
    "--collection": "--into COLLECTION",
    "-c": "--into COLLECTION",
    "--type": "--format",
    "--headerline": "--no-header",
    "--upsertFields": "--key",
    "--stopOnError": "--max-errors 0",
    "--maintainInsertionOrder": "--ordered",
    "--numInsertionWorkers": "--workers",
    "-j": "--workers",
    "--query": "--filter",
    "--jsonFormat": "--canonical",
    "--host": "--uri mongodb://HOST/DATABASE",
    "--port": "--uri mongodb://HOST/DATABASE",
    "--username": "--uri mongodb://USER@HOST/DATABASE --ask-password",
    "-u": "--uri mongodb://USER@HOST/DATABASE --ask-password",
    "--authenticationDatabase": "--uri mongodb://USER@HOST/DATABASE?authSource=NAME",
    "--json": "-o json",
    "--format": "-o json",
    "--force": "--yes",
    "-V": "--version",
}
"""Options of mongoimport, mongoexport, mongosh and others, and what does it here: the first word is an option."""


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
    here = ELSEWHERE.get(option)
    if here is None or here.partition(" ")[0] not in known:
        return None
    if option == "--headerline":
        return "leave it out: the first line is the header, unless --no-header is given"
    return f"here it is {here}"
