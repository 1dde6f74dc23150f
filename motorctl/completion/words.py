"""Which words fit at the cursor: a pure function of the table and of the words before, but for values.

Values that are kept elsewhere are looked up by `asking`, and only where one of them is wanted. What a
parameter takes is a word of the table: "" anything; `file`; `at`, JSON or @FILE; `choice:a b c`; `command`, a
topic or a command's path; any other is a kind that `asking` knows. An argument that may be repeated ends with an asterisk.
"""

from __future__ import annotations

import os

from motorctl.completion.place import Place
from motorctl.completion.table import COMMANDS, TOPICS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from motorctl.completion.place import Word


class Offer:
    """Words with their help; `files` when the shell completes files beside them, `unfinished` when more of the
    word follows.
    """

    def __init__(self, words: Sequence[Word] = (), *, files: bool = False, unfinished: bool = False) -> None:
        self.words = list(words)
        self.files = files
        self.unfinished = unfinished


def offered(words: Sequence[str], word: str, environ: Mapping[str, str]) -> Offer:
    """Return what fits in the place of `word`, after the finished `words`; what it begins with is a prefix."""
    place = Place()
    for finished in words:
        place.read(finished)
    if place.pending is not None:
        return _values(place.pending[2] or "", word, place, environ)
    if word.startswith("-") and not place.literal and word != "-":
        flag, equals, value = word.partition("=")
        option = place.option(flag) if equals else None
        if option is not None and option[2] is not None:
            return _joined(f"{flag}=", value, option[2], place, environ)
    if word.startswith("-") and not place.literal:
        return Offer(_flags(place, word))
    verbs = [] if place.arguments or place.literal else _below(place.path, word)
    takes = COMMANDS[place.path][2]
    at = len(place.arguments)
    if at < len(takes) or (takes and takes[-1].endswith("*")):
        offer = _values(takes[min(at, len(takes) - 1)].removesuffix("*"), word, place, environ)
        offer.words[:0] = verbs
        return offer
    if verbs or word or place.literal:
        return Offer(verbs)
    # Nothing but options can follow. A group alone takes a verb, and no option of its own.
    return Offer() if _below(place.path, "") else Offer(_flags(place, "--"))


def _below(path: str, prefix: str) -> list[Word]:
    """The commands right below a path."""
    start = f"{path} " if path else ""
    names = (
        (key[len(start) :], found[0]) for key, found in COMMANDS.items() if key.startswith(start) and key
    )
    return [(name, about) for name, about in names if " " not in name and name.startswith(prefix)]


def _flags(place: Place, prefix: str) -> list[Word]:
    """Flags that begin with a prefix; the short one of an option only where it is asked for."""
    return [
        (flag, about)
        for flags, about, _ in place.options
        for flag in flags
        if flag.startswith(prefix) and (flag.startswith("--") or prefix == flag)
    ]


def _joined(head: str, value: str, takes: str, place: Place, environ: Mapping[str, str]) -> Offer:
    """`--option=value`, one word: the shell knows no files behind a head."""
    offer = _files(value) if takes == "file" else _values(takes, value, place, environ)
    return Offer([(head + word, about) for word, about in offer.words], unfinished=offer.unfinished)


def _values(takes: str, word: str, place: Place, environ: Mapping[str, str]) -> Offer:
    if takes == "file":
        return Offer(files=True)
    if takes == "at":
        if not word.startswith("@"):
            return Offer()
        found = _files(word[1:])
        return Offer([(f"@{name}", "") for name, _ in found.words], unfinished=found.unfinished)
    if takes == "command":
        path = " ".join(place.arguments)
        topics = [] if path else [topic for topic in TOPICS if topic[0].startswith(word)]
        return Offer([*topics, *(_below(path, word) if path in COMMANDS else [])])
    if takes.startswith("choice:"):
        return Offer([(choice, "") for choice in takes[7:].split() if choice.startswith(word)])
    if not takes:
        return Offer()
    from motorctl.completion import asking

    values = asking.values(takes, word, place, environ)
    # A name that begins with a dash would be taken for an option: a collection may be called `--yes`.
    name = place.pending is not None or place.literal
    fitting = [one for one in values if one[0].startswith(word) and (name or not one[0].startswith("-"))]
    return Offer(fitting, files=takes == "schema")


def _files(word: str) -> Offer:
    """Files and directories that begin with a path, the latter with a / at their ends."""
    folder, _, start = word.rpartition("/")
    place = f"{folder}/" if folder or word.startswith("/") else ""
    try:
        with os.scandir(os.path.expanduser(place) or ".") as entries:  # noqa: PTH111 - pathlib costs 5 ms
            found = [
                (f"{place}{entry.name}{'/' if entry.is_dir() else ''}", "")
                for entry in entries
                if entry.name.startswith(start) and (start.startswith(".") or not entry.name.startswith("."))
            ]
    except OSError:
        return Offer()
    return Offer(sorted(found), unfinished=len(found) == 1 and found[0][0].endswith("/"))
