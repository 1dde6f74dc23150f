"""A value in mongosh's notation -> parsed Extended JSON, and the place of every key and value in the text.

JSON is a part of that notation and means the same here. Beyond it: comments, commas at the end, keys and
texts as JavaScript writes them, regular expressions, and the constructors of mongosh (`ISODate("…")`). Runs
nothing: an expression, a function or a variable is an error with its place. What the Extended JSON means,
`extjson` says.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

import orjson

from motorctl.core.aggregation.constructors import CONSTRUCTORS
from motorctl.core.extjson import DEPTH_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Literal", "LiteralError", "read"]

Path = tuple[str | int, ...]
"""Keys and positions from the top."""

_BLANK = re.compile(r"(?:[\s\ufeff]+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_NUMBER = re.compile(r"[+-]?(?:0[xX][0-9a-fA-F]+|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)(?![\w$.])")
_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_WORD = re.compile(r"[^\W\d][\w$]*|\$[\w$]*")
_KEY = re.compile(r"[\w$]+")
_STRINGS = {
    '"': re.compile(r'"(?:[^"\\\n]|\\.)*"', re.DOTALL),
    "'": re.compile(r"'(?:[^'\\\n]|\\.)*'", re.DOTALL),
    "`": re.compile(r"`(?:[^`\\]|\\.)*`", re.DOTALL),
}
_REGEX = re.compile(r"/((?:[^/\\\[\n]|\\[^\n]|\[(?:[^\]\\\n]|\\[^\n])*\])+)/(\w*)")
_ESCAPE = re.compile(r"\\(?:u\{([0-9a-fA-F]{1,6})\}|u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(\r\n|.))", re.DOTALL)
_NAMED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "0": "\0", "\n": "", "\r\n": ""}
_WORDS: dict[str, Any] = {
    "true": True,
    "false": False,
    "null": None,
    "undefined": {"$undefined": True},
    "NaN": {"$numberDouble": "NaN"},
    "Infinity": {"$numberDouble": "Infinity"},
    "MinKey": {"$minKey": 1},
    "MaxKey": {"$maxKey": 1},
}
_SHELL_ATE_IT = "has the shell taken a $name out? Single quotes around the whole keep it"


class LiteralError(ValueError):
    """A text that is no literal: the reason, `position` in the text, and perhaps the next step."""

    def __init__(self, reason: str, position: int, hint: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.position = position
        self.hint = hint


@dataclass
class Literal:
    """A value, and where each key and each value of it begins in the text."""

    value: Any = None
    keys: dict[Path, int] = field(default_factory=dict)
    values: dict[Path, int] = field(default_factory=dict)


def read(text: str) -> Literal:
    """Read one value; a semicolon may follow it. Raises `LiteralError`."""
    return _Reader(text).whole()


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._found = Literal()

    def whole(self) -> Literal:
        self._blank()
        if self._at == len(self._text):
            self._fail("there is nothing in it")
        self._found.value = self._value(())
        self._blank()
        self._take(";")
        self._blank()
        if self._at < len(self._text):
            self._fail(f"{self._shown()} stands behind the end", hint=self._behind())
        return self._found

    def _value(self, path: Path) -> Any:
        self._found.values[path] = self._at
        if len(path) > DEPTH_LIMIT:
            self._fail(f"nested more than {DEPTH_LIMIT} deep")
        first = self._text[self._at : self._at + 1]
        if first == "{":
            return self._object(path)
        if first == "[":
            return self._array(path)
        if first in _STRINGS and first:
            return self._string()
        if first == "/" and (regex := _REGEX.match(self._text, self._at)):
            return self._regex(regex)
        if (sign := self._text[self._at : self._at + 9]) in ("-Infinity", "+Infinity"):
            self._at += 9
            return {"$numberDouble": sign.removeprefix("+")}
        if number := _NUMBER.match(self._text, self._at):
            self._at = number.end()
            try:
                return _number(number[0])
            except ValueError:
                self._fail("a number beyond what a double holds", number.start())
        if word := _WORD.match(self._text, self._at):
            return self._word(word[0], path)
        return self._fail(f"a value is missing before {self._shown()}", hint=self._missing())

    def _object(self, path: Path) -> dict[str, Any]:
        begun = self._at
        self._at += 1
        result: dict[str, Any] = {}
        while True:
            self._blank()
            if self._take("}"):
                return result
            place = self._at
            key = self._key(begun)
            if key in result:
                first = self._text.count("\n", 0, self._found.keys[*path, key]) + 1
                self._fail(f"the key {key!r} stands twice (first in line {first})", place)
            self._found.keys[*path, key] = place
            self._blank()
            if not self._take(":"):
                self._fail(f"a colon is missing behind the key {key!r}")
            self._blank()
            result[key] = self._value((*path, key))
            self._separator("}", begun)

    def _array(self, path: Path) -> list[Any]:
        begun = self._at
        self._at += 1
        result: list[Any] = []
        while True:
            self._blank()
            if self._take("]"):
                return result
            if self._at == len(self._text):
                self._fail("this [ is not closed", begun)
            result.append(self._value((*path, len(result))))
            self._separator("]", begun)

    def _separator(self, closing: str, begun: int) -> None:
        """Pass the comma behind an element; one before the end is fine."""
        self._blank()
        if self._take(",") or self._text.startswith(closing, self._at):
            return
        if self._at == len(self._text):
            self._fail(f"this {self._text[begun]} is not closed", begun)
        self._fail(f"a comma or {closing} is missing before {self._shown()}")

    def _key(self, begun: int) -> str:
        if self._text[self._at : self._at + 1] in ('"', "'"):
            return self._string()
        if key := _KEY.match(self._text, self._at):
            self._at = key.end()
            return key[0]
        if self._at == len(self._text):
            self._fail("this { is not closed", begun)
        hint = _SHELL_ATE_IT if self._text[self._at] == ":" else None
        return self._fail(f"a key is missing before {self._shown()}", hint=hint)

    def _string(self) -> str:
        quote = self._text[self._at]
        begun = self._at
        found = _STRINGS[quote].match(self._text, begun)
        if found is None:
            self._fail("this text is not closed", begun)
        self._at = found.end()
        inner = found[0][1:-1]
        if quote == "`" and re.search(r"(?<!\\)\$\{", inner):
            self._fail("a template can't be filled in here", begun, "--var gives values by name")
        if "\\" in inner:
            inner = _ESCAPE.sub(_unescaped, inner)
        try:
            return inner.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            self._fail("this text holds half of a character (a lone surrogate)", begun)

    def _regex(self, match: re.Match[str]) -> dict[str, Any]:
        self._at = match.end()
        return {"$regularExpression": {"pattern": match[1], "options": "".join(sorted(match[2]))}}

    def _word(self, word: str, path: Path) -> Any:
        begun = self._at
        self._at += len(word)
        if word == "new":
            self._blank()
            following = _WORD.match(self._text, self._at)
            if following is None:
                self._fail("a name is missing behind `new`")
            word = following[0]
            self._at = following.end()
        constructor = CONSTRUCTORS.get(word)
        before = self._at
        self._blank()
        if self._take("("):
            if constructor is None and word not in ("MinKey", "MaxKey"):
                self._fail(f"{word}() is not known here: nothing is run", begun, _known())
            return self._called(word, constructor, begun, path)
        self._at = before
        if word in _WORDS:
            value = _WORDS[word]
            return dict(value) if isinstance(value, dict) else value
        if constructor is not None:
            self._fail(f"{word} needs its parentheses", begun)
        hint = "text stands in quotes; --var gives values by name"
        if word in ("db", "var", "let", "const", "use"):
            hint = "only the stages are read: [...], what stands in the parentheses of aggregate(...)"
        return self._fail(f"{word} is no value", begun, hint)

    def _called(
        self, word: str, constructor: Callable[..., dict[str, Any]] | None, begun: int, path: Path
    ) -> dict[str, Any]:
        arguments: list[Any] = []
        while True:
            self._blank()
            if self._take(")"):
                break
            if self._at == len(self._text):
                self._fail(f"{word}( is not closed", begun)
            # Beside the real paths: an argument is no value of the document.
            arguments.append(self._value((*path, "()", len(arguments))))
            self._separator(")", begun)
        if constructor is None:
            return dict(_WORDS[word])
        try:
            return constructor(*arguments)
        except ValueError as error:
            self._fail(f"{word}: {error}", begun)
        except TypeError:
            self._fail(f"{word} does not take {len(arguments)} arguments", begun)

    def _blank(self) -> None:
        found = _BLANK.match(self._text, self._at)
        self._at = found.end() if found else self._at
        if self._text.startswith("/*", self._at):
            self._fail("this comment is not closed")

    def _take(self, character: str) -> bool:
        if self._text.startswith(character, self._at):
            self._at += 1
            return True
        return False

    def _shown(self) -> str:
        """Return what stands here, in a few characters."""
        if self._at == len(self._text):
            return "the end"
        word = _KEY.match(self._text, self._at)
        found = word[0] if word else self._text[self._at]
        return repr(found if len(found) <= 20 else found[:17] + "...")

    def _missing(self) -> str | None:
        return _SHELL_ATE_IT if self._text[self._at : self._at + 1] in (":", "}", ",") else None

    def _behind(self) -> str | None:
        """Return the next step where more follows the value."""
        rest = self._text[self._at : self._at + 1]
        if rest == "{":
            return "the stages of a pipeline stand in one array: [{...}, {...}]"
        if rest in ("(", "."):
            return "only the stages are read: what stands in the parentheses of aggregate(...)"
        return None

    def _fail(self, reason: str, position: int | None = None, hint: str | None = None) -> NoReturn:
        raise LiteralError(reason, self._at if position is None else position, hint)


def _known() -> str:
    return f"known are {', '.join(name for name in CONSTRUCTORS if name[0].isupper())}, MinKey and MaxKey"


def _number(text: str) -> Any:
    if _JSON_NUMBER.fullmatch(text):
        return orjson.loads(text)
    if len(text) > 200:
        raise ValueError
    sign, digits = (-1, text[1:]) if text[0] == "-" else (1, text.removeprefix("+"))
    if digits[:2] in ("0x", "0X"):
        return sign * int(digits, 16)
    return sign * (int(digits) if digits.isdigit() else float(digits))


def _unescaped(match: re.Match[str]) -> str:
    code = match[1] or match[2] or match[3]
    if code is not None:
        return chr(min(int(code, 16), 0x10FFFF))
    return _NAMED.get(match[4], match[4])
