"""`motorctl students`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from motorctl.commands import records
from motorctl.commands.records import DryRunOption, IdArgument, JsonOption

if TYPE_CHECKING:
    from motorctl.core.nouns import Noun

group = typer.Typer(help="Create, look at and change students: name, e-mail, course, gpa (0.0 to 4.0).")

Name = Annotated[str | None, typer.Option(metavar="TEXT", help="Full name.")]
Email = Annotated[str | None, typer.Option(metavar="E-MAIL", help="E-mail; unique.")]
Course = Annotated[str | None, typer.Option(metavar="TEXT", help="Course.")]
Gpa = Annotated[float | None, typer.Option(metavar="0.0..4.0", help="Grade point average.")]


def _noun() -> Noun:
    from motorctl.core.nouns import STUDENTS

    return STUDENTS


@group.command("create")
def create(
    ctx: typer.Context,
    name: Name = None,
    email: Email = None,
    course: Course = None,
    gpa: Gpa = None,
    json: JsonOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Create a student and show it with its id.

    A field that breaks a rule is exit code 2; an e-mail that is already there is 6 (with the unique
    index of `schema apply --builtin college`).

    Example:
      motorctl students create --name "Ada Lovelace" --email ada@example.com --course Mathematics --gpa 3.9
      motorctl students create --json '{"name": "Alan Turing", "email": "alan@example.com", "course": "Logic", "gpa": 3.8}'
    """
    options = {"name": name, "email": email, "course": course, "gpa": gpa}
    records.create(ctx.obj, _noun(), options, json, dry_run=dry_run)


@group.command("update")
def update(
    ctx: typer.Context,
    id: IdArgument,
    name: Name = None,
    email: Email = None,
    course: Course = None,
    gpa: Gpa = None,
    json: JsonOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Change the fields given, and show the student after.

    Writes these fields and no others; with none given it shows the student as it is. Exit code 5 if there
    is none with this id; 6 if another one has the e-mail (with the unique index).

    Example:
      motorctl students update 64b7f0c2a1b2c3d4e5f60718 --gpa 3.7
    """
    options = {"name": name, "email": email, "course": course, "gpa": gpa}
    records.update(ctx.obj, _noun(), id, options, json, dry_run=dry_run)


@group.command("upsert")
def upsert(
    ctx: typer.Context,
    name: Name = None,
    email: Email = None,
    course: Course = None,
    gpa: Gpa = None,
    json: JsonOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Create the student with this e-mail, or change the one that has it.

    Its `status` says what happened: inserted, updated, or unchanged.

    Example:
      motorctl students upsert --email ada@example.com --name "Ada Lovelace" --course Mathematics --gpa 4.0
    """
    options = {"name": name, "email": email, "course": course, "gpa": gpa}
    records.upsert(ctx.obj, _noun(), options, json, dry_run=dry_run)


records.add_verbs(
    group, "student", "64b7f0c2a1b2c3d4e5f60718", _noun, columns=("id", "name", "email", "course?", ">gpa")
)
