"""Which rows may be sent together, and which have to wait: pure, asks no server and knows no transfer.

Each row touches some names (two accounts; a key of its own). What it promises:

- every row comes out exactly once;
- no two chunks that are under way at once touch the same name, so that their transactions never conflict;
- rows that touch the same name come out in the order in which they came in;
- it holds no more rows than its window.

So each row finds its accounts as it would if all rows were sent one after the other, and is decided alike.
The rows are looked at from the oldest on: one that touches a name of a chunk under way, or of an older row
that was passed over, is passed over too. The oldest waits for chunks that are under way already, and for
no other: nothing starves.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Chunk(Generic[T]):
    """Rows for one transaction, in order, and all names that they touch."""

    rows: tuple[T, ...]
    touched: frozenset[str]


class Schedule(Generic[T]):
    """The rows that wait, and the names that are taken.

    A chunk has at most `size` rows and, from its second row on, at most `weight` in all.
    """

    def __init__(self, *, size: int, window: int, weight: int) -> None:
        self._size = size
        self._window = window
        self._weight = weight
        self._waiting: deque[tuple[T, frozenset[str], int]] = deque()
        self._taken: set[str] = set()
        self._stuck = False

    @property
    def room(self) -> int:
        """How many more rows it takes."""
        return max(0, self._window - len(self._waiting))

    @property
    def waiting(self) -> list[T]:
        """The rows that are in no chunk yet, in their order."""
        return [row for row, _, _ in self._waiting]

    def add(self, row: T, touches: Collection[str], weight: int = 0) -> None:
        """Take a row in, behind the others. There must be room."""
        assert self.room, "the window is full"
        self._waiting.append((row, frozenset(touches), weight))
        self._stuck = False

    def next(self) -> Chunk[T] | None:
        """Form the next chunk, which is under way from then on; None when every row has to wait."""
        if self._stuck or not self._waiting:
            return None
        blocked, passed = set(self._taken), []
        rows: list[T] = []
        touched: set[str] = set()
        weight = 0
        while self._waiting and len(rows) < self._size:
            item = row, touches, heavy = self._waiting.popleft()
            if not blocked.isdisjoint(touches):
                blocked |= touches
                passed.append(item)
            elif rows and weight + heavy > self._weight:
                self._waiting.appendleft(item)
                break
            else:
                rows.append(row)
                touched |= touches
                weight += heavy
        self._waiting.extendleft(reversed(passed))
        # Nothing changes before a chunk is done, or a row comes: no second look at the whole window.
        self._stuck = not rows
        if not rows:
            return None
        self._taken |= touched
        return Chunk(tuple(rows), frozenset(touched))

    def done(self, chunk: Chunk[T]) -> None:
        """Let go of a chunk's names: its transaction is over, whatever became of it."""
        self._taken -= chunk.touched
        self._stuck = False
