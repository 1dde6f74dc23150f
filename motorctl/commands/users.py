"""`motorctl users`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from motorctl.commands import records
from motorctl.commands.records import DryRunOption, IdArgument, JsonOption

if TYPE_CHECKING:
    from motorctl.core.nouns import Noun

group = typer.Typer(help="Create, look at and change users: name, e-mail, bio, active, last login.")

Name = Annotated[str | None, typer.Option(metavar="TEXT", help="Full name.")]
Email = Annotated[str | None, typer.Option(metavar="E-MAIL", help="E-mail; unique.")]
Bio = Annotated[str | None, typer.Option(metavar="TEXT", help="A few words about them.")]
Active = Annotated[
    bool | None, typer.Option("--active/--inactive", help="May they log in?  [default on create: active]")
]
LastLogin = Annotated[str | None, typer.Option(metavar="DATE", help="ISO 8601; UTC where it says no zone.")]


def _noun() -> Noun:
    from motorctl.core.nouns import USERS

    return USERS


@group.command("create")
def create(
    ctx: typer.Context,
    name: Name = None,
    email: Email = None,
    bio: Bio = None,
    active: Active = None,
    last_login: LastLogin = None,
    json: JsonOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Create a user and show it with its id; `created_at` is now.

    A field that breaks a rule is exit code 2; an e-mail that is already there is 6 (with the unique
    index of `schema apply --builtin shop`).

    Example:
      motorctl users create --name "Grace Hopper" --email grace@example.com --bio "Compilers"
      motorctl users create --json '{"name": "Linus", "email": "linus@example.com", "active": false}'
    """
    options = {"name": name, "email": email, "bio": bio, "active": active, "last_login": last_login}
    records.create(ctx.obj, _noun(), options, json, dry_run=dry_run)


@group.command("update")
def update(
    ctx: typer.Context,
    id: IdArgument,
    name: Name = None,
    email: Email = None,
    bio: Bio = None,
    active: Active = None,
    last_login: LastLogin = None,
    json: JsonOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Change the fields given and `updated_at` with them, and show the user after.

    Writes these fields and no others; with none given it shows the user as it is. A null in --json removes
    an optional field. Exit code 5 if there is none with this id; 6 if another one has the e-mail (with the
    unique index).

    Example:
      motorctl users update 64b7f0c2a1b2c3d4e5f60718 --inactive
      motorctl users update 64b7f0c2a1b2c3d4e5f60718 --json '{"bio": null}'
    """
    options = {"name": name, "email": email, "bio": bio, "active": active, "last_login": last_login}
    records.update(ctx.obj, _noun(), id, options, json, dry_run=dry_run)


@group.command("upsert")
def upsert(
    ctx: typer.Context,
    name: Name = None,
    email: Email = None,
    bio: Bio = None,
    active: Active = None,
    last_login: LastLogin = None,
    json: JsonOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Create the user with this e-mail, or change the one that has it.

    `created_at` is set only on insert, `updated_at` only on a change; `status` says what happened:
    inserted, updated, or unchanged.

    Example:
      motorctl users upsert --email grace@example.com --name "Grace Hopper" --bio "Rear admiral"
    """
    options = {"name": name, "email": email, "bio": bio, "active": active, "last_login": last_login}
    records.upsert(ctx.obj, _noun(), options, json, dry_run=dry_run)


records.add_verbs(
    group,
    "user",
    "64b7f0c2a1b2c3d4e5f60718",
    _noun,
    columns=("id", "name", "email", "active?", "created_at??"),
)
