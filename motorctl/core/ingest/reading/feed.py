"""Blocks of any sizes, as text of which one looks ahead as far as one likes, and takes as much as one likes.

Keeps count of offset and line. Knows nothing of records, and holds no more than was last asked for and the
rest of a block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Feed"]


class Feed:
    """The text that isn't in a chunk yet: as much as was asked for and, of the last block, a little more."""

    def __init__(self, blocks: Iterator[bytes], offset: int, line: int) -> None:
        self._blocks = blocks
        self._buffer = b""
        self._at = 0
        self._ended = False
        self.offset = offset
        self.line = line

    def fill(self, size: int) -> tuple[int, bool]:
        """Get `size` bytes ready, or all that are left: (how many, are they all)."""
        have = len(self._buffer) - self._at
        # One more byte than asked for: otherwise it would be the blocks that say where the end is known.
        if have <= size and not self._ended:
            parts = [self._buffer[self._at :]]
            for block in self._blocks:
                parts.append(block)
                have += len(block)
                if have > size:
                    break
            else:
                self._ended = True
            self._buffer, self._at = b"".join(parts), 0
        return min(have, size), have <= size

    def view(self, size: int) -> tuple[bytes, bool]:
        """Look at the next `size` bytes, or at all that are left: (the bytes, are they all)."""
        have, final = self.fill(size)
        return self._buffer[self._at : self._at + have], final

    def line_end(self, begin: int, size: int, *, last: bool = False) -> int:
        """Find the end of the first or the last line that ends in [begin, size) of what is ready; 0 for none."""
        find = self._buffer.rfind if last else self._buffer.find
        return max(0, find(b"\n", self._at + begin, self._at + size) + 1 - self._at)

    def take(self, size: int) -> bytes:
        """Take the next `size` bytes, which are ready."""
        data = self._buffer[self._at : self._at + size]
        self._at += size
        self.offset += size
        self.line += data.count(b"\n")
        return data
