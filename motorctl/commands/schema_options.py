"""The options that several verbs of `motorctl schema` have alike, and what they stand for."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from motorctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from motorctl.app import App
    from motorctl.core.schema import Collection
    from motorctl.core.schema.select import Selection

SELECTING, CHECKING = "Which part", "Checking the data first"


class Part(StrEnum):
    """What can be asked for alone."""

    INDEXES = "indexes"
    VALIDATORS = "validators"
    COLLECTIONS = "collections"


SECONDS = 120.0
"""How long the data is looked through for what would stop a change."""


def shipped() -> list[str]:
    """Name the manifests that ship with motorctl, without reading one."""
    return sorted(path.stem for path in (Path(__file__).parent.parent / "schemas").glob("*.yaml"))


Files = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[FILE]...",
        help="Manifests, YAML or JSON: files, directories; - is stdin.",
        show_default=False,
    ),
]
Builtin = Annotated[
    str | None,
    typer.Option(
        "--builtin",
        metavar="NAME",
        help="A manifest that ships with motorctl, in place of FILE.",
        autocompletion=shipped,
    ),
]
Env = Annotated[
    bool, typer.Option("--env", help="Replace ${NAME} in the manifest by the environment's variables.")
]
Prune = Annotated[
    bool,
    typer.Option("--prune", help="Drop what the manifest's collections have beyond it: indexes, validators."),
]
Surplus = Annotated[
    bool,
    typer.Option(
        "--prune",
        help="Show what `apply --prune` would drop, too: indexes and validators beyond the manifest.",
    ),
]
Only = Annotated[
    list[Part] | None,
    typer.Option("--only", help="Leave everything else out; repeatable.", rich_help_panel=SELECTING),
]
Collections = Annotated[
    list[str] | None,
    typer.Option(
        "--collection",
        metavar="GLOB",
        help="Only collections with such a name; repeatable.",
        rich_help_panel=SELECTING,
    ),
]
NoDataChecks = Annotated[
    bool,
    typer.Option(
        "--no-data-checks", help="Don't look whether the documents allow it.", rich_help_panel=CHECKING
    ),
]
DataChecksSeconds = Annotated[
    float | None,
    typer.Option(
        "--data-checks-seconds",
        metavar="N",
        min=0.1,
        help=f"Stop looking after that long (default {SECONDS:g}), and say what wasn't checked.",
        rich_help_panel=CHECKING,
    ),
]


def desired(app: App, files: Sequence[str] | None, builtin: str | None, *, env: bool) -> list[Collection]:
    """Load what a command was told to compare with. Raises UsageError, ManifestError."""
    import os

    from motorctl import manifest

    if files and builtin is not None:
        raise UsageError("FILE and --builtin can't be given together", hint="leave one of them out")
    if builtin is not None:
        if env:
            raise UsageError("--env is for files: a shipped manifest has no variables", hint="leave it out")
        return manifest.load_builtin(builtin)
    if not files:
        raise UsageError(
            "a manifest is needed: FILE or --builtin NAME",
            hint=f"--builtin {' or '.join(manifest.builtins())}; `motorctl schema init` prints one",
        )
    found = manifest.load(files, app.stdin if "-" in files else None, environment=os.environ if env else None)
    for one in found:
        if one.validator is not None:
            warn_of_traps(app, one.name, one.validator.expression)
    return found


def warn_of_traps(app: App, collection: str, expression: Mapping[str, Any]) -> None:
    """Warn of what servers take in a validator, though no document can be meant by it."""
    from motorctl.core.json_schema import traps

    for trap in traps(expression):
        hint = f" ({trap.hint})" if trap.hint else ""
        app.diagnostics.warning(f"validator of {collection}: {trap.message}{hint}", collection=collection)


def selection(only: Sequence[Part] | None, collections: Sequence[str] | None) -> Selection:
    """Take `--only` and `--collection`."""
    from motorctl.core.schema.select import Selection

    return Selection(frozenset(part.value for part in only or ()), tuple(collections or ()))


def data_checks(no_data_checks: bool, seconds: float | None) -> float | None:
    """Take the two options: seconds, or None for no look at the data. Raises UsageError for both."""
    if no_data_checks and seconds is not None:
        raise UsageError(
            "--no-data-checks and --data-checks-seconds exclude each other", hint="leave one of them out"
        )
    return None if no_data_checks else SECONDS if seconds is None else seconds
