"""Where the cursor is: what the finished words of a line say, read by the table. Pure."""

from __future__ import annotations

from motorctl.completion.table import COMMANDS, GLOBALS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    Option: TypeAlias = tuple[tuple[str, ...], str, str | None]
    """Its flags, its help, and what it takes; None is a switch."""
    Word: TypeAlias = tuple[str, str]
    """A word, and its help or ""."""


class Place:
    """Where the cursor is: the command's path, its arguments so far, options typed, and an option that waits
    for its value.
    """

    def __init__(self) -> None:
        self.path = ""
        self.arguments: list[str] = []
        self.typed: dict[str, str] = {}
        """Values of options by their first flag; a switch has its flag."""
        self.pending: Option | None = None
        self.literal = False
        """After `--` nothing is an option."""

    @property
    def options(self) -> tuple[Option, ...]:
        """The command's options, then the global ones that it doesn't have itself."""
        own: tuple[Option, ...] = COMMANDS[self.path][1]
        taken = {flag for flags, _, _ in own for flag in flags}
        return (*own, *(option for option in GLOBALS if not taken & set(option[0])))

    def option(self, flag: str) -> Option | None:
        return next((option for option in self.options if flag in option[0]), None)

    def read(self, word: str) -> None:
        """Take one finished word."""
        if self.pending is not None:
            self.typed[self.pending[0][0]] = word
            self.pending = None
        elif self.literal or word in ("", "-") or not word.startswith("-"):
            if (
                not self.arguments
                and not self.literal
                and (below := f"{self.path} {word}".strip()) in COMMANDS
            ):
                self.path = below
            else:
                self.arguments.append(word)
        elif word == "--":
            self.literal = True
        elif word.startswith("--"):
            flag, equals, value = word.partition("=")
            self._option(flag, value if equals else None)
        else:
            self._letters(word[1:])

    def _option(self, flag: str, value: str | None) -> None:
        option = self.option(flag)
        if option is None:
            return
        if option[2] is None:
            self.typed[option[0][0]] = flag
        elif value is not None:
            self.typed[option[0][0]] = value
        else:
            self.pending = option

    def _letters(self, letters: str) -> None:
        """Short options: `-vq`, `-ojson`."""
        for at, letter in enumerate(letters):
            option = self.option(f"-{letter}")
            if option is None:
                return
            if option[2] is not None:
                self._option(f"-{letter}", letters[at + 1 :] or None)
                return
            self.typed[option[0][0]] = f"-{letter}"
