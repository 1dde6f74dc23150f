"""What a TAB in a shell offers: words from a table, names from the server where a name is asked for.

The shells' scripts (`scripts/`) run `motorctl __complete SHELL ...` and show what it prints. `line` reads
what was typed and writes words as the shell wants them, `place` finds the cursor's place in the `table` of the
whole program and `words` what fits there; `asking` asks the configuration file and the server. Nothing but `asking`
opens anything.

Whoever presses TAB waits: no module here imports more than the interpreter has already loaded, typer and
`typing` neither, and the commands themselves are not imported at all. The table is written by
`python tests/reference.py`, from the commands. An answer never fails, asks or complains: it is empty.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from motorctl.completion.line import Written
    from motorctl.completion.words import Offer


LINE = "_MOTORCTL_LINE"
"""The variable in which a script gives the line up to the cursor. Not an argument: who can list processes would read
a password that is being typed."""


def answer(arguments: Sequence[str], environ: Mapping[str, str]) -> str:
    """Return the lines for a shell: the first says what the shell adds, each other one is a word.

    `arguments` are the shell's name and for bash its COMP_WORDBREAKS; the line is in the environment, as the shell
    would quote it. The first line is `words`, `files` (the shell completes a file's name beside them) or `nospace`
    (the word isn't finished yet). A word may have its help after a tab. Empty for a shell that isn't known.
    """
    from motorctl.completion import line, words

    shell, *rest = arguments or [""]
    if shell not in ("bash", "zsh", "fish", "powershell"):
        return ""
    split = line.split_powershell if shell == "powershell" else line.split_posix
    typed = split(environ.get(LINE, ""))
    offer = words.offered(typed.words, typed.word, environ)
    written: Written = line.for_powershell if shell == "powershell" else str
    if shell == "bash":
        written = line.for_bash(typed, "".join(rest), files=offer.files)
    return _lines(offer, written)


def _lines(offer: Offer, written: Written) -> str:
    lines = ["files" if offer.files else "nospace" if offer.unfinished else "words"]
    for word, about in offer.words:
        # A name from the database may hold anything; what drives a terminal or ends a line is no offer.
        if word.isprintable() and (shown := written(word)):
            lines.append(f"{shown}\t{about}" if about and about.isprintable() else shown)
    return "\n".join(lines) + "\n"
