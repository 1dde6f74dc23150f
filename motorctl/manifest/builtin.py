"""The manifests that ship with the tool, as text. Never parses one."""

from __future__ import annotations

from importlib import resources

from motorctl.errors import UsageError
from motorctl.near import near


def builtins() -> list[str]:
    """Name the manifests that ship with the tool."""
    folder = resources.files("motorctl") / "schemas"
    return sorted(
        entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")
    )


def builtin_text(name: str) -> str:
    """Read a shipped manifest as it is, comments too. Raises UsageError for an unknown name."""
    if name not in builtins():
        hint = near(name, builtins()) or f"there are: {', '.join(builtins())}"
        raise UsageError(f"no manifest named {name} ships with motorctl", hint=hint)
    return (resources.files("motorctl") / "schemas" / f"{name}.yaml").read_text(encoding="utf-8")
