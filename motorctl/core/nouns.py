"""The kinds of record: their collections, keys and orders. Data alone; what a field may hold is in their models.

Loads no model before one is asked for: reading and deleting need none, and pydantic takes a tenth of a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from motorctl.core.fields import Model

__all__ = ["STUDENTS", "USERS", "Noun"]


@dataclass(frozen=True)
class Noun:
    """A kind of record: its collection, its model, the field that names one, the order of a list."""

    name: str
    collection: str
    load: Callable[[], type[Model]]
    key: str
    sort: tuple[tuple[str, int], ...]
    created: str | None = None
    """The date that is set once, on insert."""
    updated: str | None = None
    """The date that is set on each change."""

    @property
    def model(self) -> type[Model]:
        """The fields of one, and their rules."""
        return self.load()


def _student() -> type[Model]:
    from motorctl.core.students import Student

    return Student


def _user() -> type[Model]:
    from motorctl.core.users import User

    return User


STUDENTS = Noun(name="student", collection="students", load=_student, key="email", sort=(("_id", 1),))
USERS = Noun(
    name="user",
    collection="users",
    load=_user,
    key="email",
    sort=(("created_at", -1), ("_id", -1)),
    created="created_at",
    updated="updated_at",
)
