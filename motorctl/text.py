"""Text from outside, made safe to show: it can't move a cursor, change a colour or reorder a line.

Control characters (C0, C1, DEL), bidirectional controls and other invisible marks are shown as
escapes. Pure; used by whatever writes to a terminal.
"""

from __future__ import annotations

import re

_LINE_FEED = "\n"
_C0 = "\x00-\x09\x0b-\x1f"
# DEL and C1; bidirectional marks, embeddings, overrides and isolates (Unicode TR 9; CVE-2021-42574); line and
# paragraph separators; zero-width space, word joiner, byte order mark; tags; lone surrogates. The
# joiners U+200C and U+200D stay: Persian, Indic scripts and emoji are written with them.
_OTHERS = "\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f"
_ONE_LINE = re.compile(f"[{_C0}{_LINE_FEED}{_OTHERS}]")
_LINES = re.compile(f"[{_C0}{_OTHERS}]")
_IN_JSON = re.compile(f"[{_OTHERS}]")


def printable(text: str, *, lines: bool = False) -> str:
    r"""Show control characters as `\xNN` or `\uNNNN`; with `lines`, a line feed stays one."""
    if text.isascii() and text.isprintable():
        return text
    return (_LINES if lines else _ONE_LINE).sub(_escape, text)


def printable_json(text: str) -> str:
    r"""Escape, inside JSON text, what JSON lets through and a terminal would obey: still the same JSON."""
    if text.isascii() and "\x7f" not in text:
        return text
    return _IN_JSON.sub(_json_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    named = {9: r"\t", 10: r"\n", 13: r"\r"}.get(code)
    if named:
        return named
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _json_escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
