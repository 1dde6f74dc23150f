"""What a user is. The verbs are those of `records`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from motorctl.core.fields import Date, Email, Model, Name


class User(Model):
    """A user; `created_at` is set on insert, `updated_at` on each change."""

    name: Name
    email: Email
    bio: str | None = None
    active: Annotated[bool, Field(strict=True)] = True
    created_at: Date | None = None
    updated_at: Date | None = None
    last_login: Date | None = None
