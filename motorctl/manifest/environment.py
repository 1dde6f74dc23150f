"""`${VAR}` in a manifest's text: its value from a mapping. Pure; knows no YAML and never names a value.

`${VAR}` is the variable, `${VAR:-text}` the text where it is unset or empty, `$${` stands for `${`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLACE = re.compile(r"\$\$\{|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})?")


class VariableError(ValueError):
    """A variable that is unset, or no variable at all. The message is a sentence without any value."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def is_one_variable(text: str) -> bool:
    """Tell whether a text is one variable and nothing else."""
    found = _PLACE.fullmatch(text)
    return found is not None and found[1] is not None


def substitute(text: str, environment: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Put values in the place of variables. Returns the text, and the value of each variable in it.

    What a variable's value says is never looked at again. Raises VariableError.
    """
    used: dict[str, str] = {}

    def value(found: re.Match[str]) -> str:
        if found[0] == "$${":
            return "${"
        name, default = found[1], found[2]
        if name is None:
            raise VariableError("${ begins a variable: ${NAME} or ${NAME:-default}, and $${ is ${ itself")
        result = environment.get(name)
        if default is not None and not result:
            return str(default)
        if result is None:
            raise VariableError(f"the variable {name} is not set", f"set it, or write ${{{name}:-default}}")
        used[name] = result
        return result

    return _PLACE.sub(value, text), used
