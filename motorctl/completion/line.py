"""The line that is being typed, split into words as its shell does, and words written for that shell.

Pure; text in, text out. Knows nothing of commands. shlex would do half of it, and costs as much time as
the whole answer.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    Written: TypeAlias = Callable[[str], str]

PLAIN = frozenset("_-./:=@%+,^")
"""What no shell takes for more than itself, beside letters and digits."""

_QUOTES = {**dict.fromkeys("\u2018\u2019\u201a\u201b", "'"), **dict.fromkeys("\u201c\u201d\u201e", '"')}
"""PowerShell takes the typographic quotes for plain ones."""


class Typed:
    """A line up to the cursor: the `words` that are finished, without the program's own name, and the `word`
    under the cursor, both unquoted; `bare` says of each of its characters whether it stands outside of quotes and
    isn't escaped, `quote` is the quote that is open in it.
    """

    def __init__(self, words: list[str], word: str, bare: list[bool], quote: str) -> None:
        self.words = words
        self.word = word
        self.bare = bare
        self.quote = quote


def split_posix(line: str) -> Typed:
    """Split as bash does: '...', "..." with backslashes, and backslashes. Nothing is expanded."""
    return _split(line, escape="\\", doubled=False)


def split_powershell(line: str) -> Typed:
    """Split as PowerShell does: '...' and "..." in which a doubled quote is one, and backquotes."""
    return _split(line, escape="`", doubled=True)


def _split(line: str, *, escape: str, doubled: bool) -> Typed:
    words: list[str] = []
    word: list[tuple[str, bool]] | None = None
    quote, at = "", 0
    while at < len(line):
        char = line[at]
        following = line[at + 1 : at + 2]
        mark = _QUOTES.get(char, char) if doubled else char
        if not quote and char in " \t\n":
            if word is not None:
                words.append("".join(one for one, _ in word))
                word = None
        else:
            word = [] if word is None else word
            if quote and mark == quote:
                if doubled and _QUOTES.get(following, following) == quote:
                    word.append((char, False))
                    at += 1
                else:
                    quote = ""
            elif not quote and mark in "'\"":
                quote = mark
            elif char == escape and quote != "'":
                if quote and not doubled and following not in '"\\$`':
                    word.append((char, False))
                if following:
                    word.append((following, False))
                at += 1
            else:
                word.append((char, not quote))
        at += 1
    last = word or []
    return Typed(words[1:], "".join(one for one, _ in last), [bare for _, bare in last], quote)


def for_bash(typed: Typed, breaks: str, *, files: bool) -> Written:
    """Return what writes a word for bash's COMPREPLY.

    readline replaces only what follows the last bare character of COMP_WORDBREAKS, so what stands before it on
    the line isn't repeated; an @ belongs to what follows it (readline's "special prefixes"). Within an open quote
    nothing is escaped: readline closes it. Beside `files` readline escapes all.
    """
    cut = 0
    for at, char in enumerate(typed.word):
        if typed.bare[at] and char in breaks and char in ":=@":
            cut = at if char == "@" else at + 1

    def written(word: str) -> str:
        rest = word[cut:]
        if typed.quote:
            return "" if typed.quote in rest or (typed.quote == '"' and set(rest) & set("$`\\!")) else rest
        if files:
            return rest
        return "".join(char if char.isalnum() or char in PLAIN else f"\\{char}" for char in rest)

    return written


def for_powershell(word: str) -> str:
    """Return a word as PowerShell takes it, quoted where it has to be: a comma and an @ mean something to it."""
    if word and word[0] not in "@~^" and all(char.isalnum() or char in "_-./:=+" for char in word):
        return word
    # Each single quote ends the text unless it is doubled.
    return "'" + "".join(char * 2 if _QUOTES.get(char, char) == "'" else char for char in word) + "'"
