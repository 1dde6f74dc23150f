"""`motorctl config`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from motorctl.errors import ConfigurationError

if TYPE_CHECKING:
    from motorctl.app import App

group = typer.Typer(help="Where each setting comes from, and where the configuration file is.")


@group.command("show")
def show(ctx: typer.Context) -> None:
    """Print each setting and where it came from; passwords are cut out.

    A flag wins over the environment, that over the profile, that over the default. It connects to
    nothing.

    Example:
      motorctl config show
      motorctl config show --uri mongodb://ada:secret@db.example.com/shop -o json
    """
    from motorctl.global_options import OPTIONS
    from motorctl.output import Column
    from motorctl.redaction import REDACTED, redact
    from motorctl.settings import Value

    app: App = ctx.obj
    settings = app.settings
    found = {option.name: settings.values[option.name] for option in OPTIONS}
    exists = settings.config_path.is_file()
    found["config"] = Value(str(settings.config_path), found["config"].source if exists else "not there")
    try:
        found |= {"uri": settings.address(), "db": settings.database()}
    except ConfigurationError as error:
        # This is where one looks when the settings are wrong: what can be shown is shown.
        app.diagnostics.warning(error.message)
        found["uri"] = Value(None, "not usable")
    rows: list[dict[str, Any]] = [
        {"setting": name, "value": value.value, "source": value.source} for name, value in found.items()
    ]
    rows += [
        {
            "setting": f"options.{name}",
            "value": REDACTED if name in settings.SECRET_OPTIONS else value,
            "source": f"profile {settings['profile']}",
        }
        for name, value in settings.driver_options.items()
    ]
    secrets = settings.secrets()
    for row in rows:
        if isinstance(row["value"], str):
            row["value"] = redact(row["value"], secrets)
    app.output.emit(rows, [Column("setting"), Column("value"), Column("source")])


@group.command("path")
def path(ctx: typer.Context) -> None:
    """Print where the configuration file is looked for; it need not exist.

    It is TOML: `default_profile = "local"`, a table `[profiles.NAME]` for each profile with the names
    of `config show`, and `[profiles.NAME.options]` for the driver's own options (maxPoolSize, ...).

    Example:
      motorctl config path
    """
    app: App = ctx.obj
    if app.output.format in ("json", "ndjson"):
        app.output.emit({"path": str(app.settings.config_path), "exists": app.settings.config_path.is_file()})
    else:
        app.output.text(str(app.settings.config_path))
