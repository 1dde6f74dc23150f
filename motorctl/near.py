"""The nearest of the words that would have been right, for the hint of an error. Pure, standard library only."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


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
