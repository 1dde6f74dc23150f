"""Whether a document of `motorctl_imports` is a state at all: somebody else, or another version, may have put it there.

Decides nothing of an import, and mends nothing: what can't be read is left as it is, and said.
"""

from __future__ import annotations

import reprlib
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bson import ObjectId

from motorctl.core.ingest.resuming.fingerprint import COLLECTION
from motorctl.errors import MotorctlError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["illegible", "wrong_in"]

_NUMBER = (int, float)
_SHAPE: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("name", "into", "state", "version", "inputs"), (str,)),
    **dict.fromkeys(("created", "updated", "since"), (datetime,)),
    **dict.fromkeys(("plan", "owner", "identity"), (dict,)),
    **dict.fromkeys(("reason", "rejects_file"), (str, type(None))),
    **dict.fromkeys(("runs", "rejects_bytes"), (int,)),
    "part": (dict, type(None)),
    "files": (list,),
    "seconds": _NUMBER,
    "begun": (bool,),
    "claim": (ObjectId,),
}
_WITHIN: dict[str, dict[str, tuple[type, ...]]] = {
    "owner": {"host": (str,), "pid": (int,), "process": (str, type(None)), "space": (str,)},
    "identity": {"started": (int,), "random": (bytes,)},
    "part": {"number": (int,), "of": (int,), "sliced": (bool,)},
}
_FILE: dict[str, tuple[type, ...]] = {"file": (str,), "size": (int,), "mtime": (int,), "digest": (str,)}
_PLACE: dict[str, tuple[type, ...]] = {"line": (int,), "offset": (int,)}


def wrong_in(state: Mapping[str, Any], *, fields: Iterable[str] = _SHAPE) -> str | None:
    """Name the first field that a state has and this document has not, or has of another kind; None for a state.

    `fields`: look at these alone.
    """
    looked_at = frozenset(fields)
    found = _odd(state, {name: kinds for name, kinds in _SHAPE.items() if name in looked_at}, "")
    for name in looked_at & _WITHIN.keys():
        if found is None and state[name] is not None:
            found = _odd(state[name], _WITHIN[name], f"{name}.")
    for number, file in enumerate(state["files"] if found is None and "files" in looked_at else ()):
        at = f"files.{number}"
        found = found or (_odd(file, _FILE, f"{at}.") if isinstance(file, dict) else at)
        if found is None and file.get("place") is not None:
            place = file["place"]
            found = _odd(place, _PLACE, f"{at}.place.") if isinstance(place, dict) else f"{at}.place"
    return found


def illegible(state: Mapping[str, Any], field: str) -> MotorctlError:
    """Make the error for a document that is no state, with the field that `wrong_in` has found."""
    key = reprlib.repr(state.get("_id"))
    return MotorctlError(
        f"{COLLECTION} has a document that is no state of an import: _id {key}, its field {field} is missing or odd",
        hint="another program or another version may have put it there: if nobody needs it, delete it by its _id",
        field=field,
    )


def _odd(document: Mapping[str, Any], shape: Mapping[str, tuple[type, ...]], at: str) -> str | None:
    return next(
        (f"{at}{name}" for name, kinds in shape.items() if not isinstance(document.get(name, ...), kinds)),
        None,
    )
