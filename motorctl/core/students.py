"""What a student is. The verbs are those of `records`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from motorctl.core.fields import Email, Model, Name

GPA_MAX = 4.0


class Student(Model):
    """A student; `gpa` is a grade point average from 0.0 to 4.0."""

    name: Name
    email: Email
    course: Name
    gpa: Annotated[float, Field(strict=True, ge=0.0, le=GPA_MAX, allow_inf_nan=False)]
