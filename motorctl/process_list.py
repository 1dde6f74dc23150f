"""What others see of this process's command line, in `ps` and in `/proc/PID/cmdline`: no password.

Linux only, where the words of a command line are the process's own memory and may be overwritten, as mysql and
curl do. Elsewhere, and for the moment before this runs, a typed password can be seen: `--uri-file` has none.
Never fails: what can't be hidden is as it was. Imported before anything else that takes time.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from motorctl.redaction import REDACTED, redact, secrets_in

if TYPE_CHECKING:
    from collections.abc import Sequence

# Of /proc/PID/stat, counted behind the name, which may hold anything: proc(5), fields 48 and 49.
_ARG_START, _ARG_END = 48 - 3, 49 - 3
# A word is one connection string and no text around it: what looks like a password has a space in it, too.
_USERINFO = re.compile(r"(mongodb(?:\+srv)?://[^:@/?]*):.*@", re.IGNORECASE | re.DOTALL)


def without_passwords(words: Sequence[str]) -> list[str]:
    """Return a command line as others may see it: no word is longer than it was, since there is no more room."""
    return [
        _fitting(redact(_USERINFO.sub(rf"\1:{REDACTED}@", word), secrets_in(word)), word) for word in words
    ]


def _fitting(shown: str, word: str) -> str:
    # A password of one or two characters is shorter than what stands for it.
    for candidate in (shown, shown.replace(REDACTED, "*")):
        if len(os.fsencode(candidate)) <= len(os.fsencode(word)):
            return candidate
    return "*" * len(word)


def hide_passwords() -> None:
    """Overwrite the passwords among the words that this process was started with."""
    if sys.platform != "linux":
        return
    with suppress(OSError, ValueError, IndexError):
        fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
        start, end = int(fields[_ARG_START]), int(fields[_ARG_END])
        with Path("/proc/self/mem").open("r+b", buffering=0) as memory:
            memory.seek(start)
            before = memory.read(end - start)
            shown = without_passwords([os.fsdecode(word) for word in before.split(b"\0")])
            after = b"\0".join(map(os.fsencode, shown))
            if start and after != before:
                memory.seek(start)
                memory.write(after.ljust(len(before), b"\0"))
