"""What becomes of a difference in each option of each kind: one table, for the plan and for its tests.

From which version on a server knows an option, from which one it changes it in place, and what is left
otherwise. Each line was tried on MongoDB 4.4, 5.0 and 6.0; later versions are by their documentation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from motorctl.core.schema.server import Server

Version = tuple[int, int]

OLDEST: Version = (4, 4)


@dataclass(frozen=True)
class Rule:
    """How one option is treated.

    `compared` says what counts as equal. `in_place` is the version from which a server changes it
    (`which` says which changes), None when none does; what is left is a rebuild, or refused with
    `way_out` as the hint.
    """

    since: Version = OLDEST
    compared: str = "as it is"
    in_place: Version | None = None
    which: str = "any change"
    otherwise: Literal["rebuild", "refused"] = "rebuild"
    way_out: str | None = None

    def changes(self, server: Server) -> bool:
        """Tell whether a server can change it in place at all."""
        return self.in_place is not None and server.at_least(*self.in_place)


_COPY = "copy the documents into a new collection with $out, and rename that"

INDEXES: dict[str, Rule] = {
    "keys": Rule(compared="in their order, 1 is 1.0; text keys among themselves in any order"),
    "name": Rule(compared="one without a name is content with any that no other wants"),
    "unique": Rule(
        compared="false is none",
        in_place=(6, 0),
        which="false to true, in two steps: prepareUnique, then unique (not on wildcard keys)",
    ),
    "prepareUnique": Rule(since=(6, 0), compared="false is none", in_place=(6, 0)),
    "sparse": Rule(compared="false is none"),
    "hidden": Rule(compared="false is none", in_place=OLDEST),
    "expireAfterSeconds": Rule(
        compared="whole seconds; NaN is the longest time",
        in_place=OLDEST,
        which="a number to another; none to a number from MongoDB 5.1 on one ascending or descending key",
    ),
    "partialFilterExpression": Rule(compared="clauses in any order, documents inside them in theirs"),
    "collation": Rule(compared="filled in by locale; the collection's own unless named; simple is none"),
    "weights": Rule(compared="in any order, 1 where none is named"),
    "default_language": Rule(compared="english is none"),
    "language_override": Rule(compared="language is none"),
    "textIndexVersion": Rule(compared="only where it is named"),
    "2dsphereIndexVersion": Rule(compared="only where it is named"),
    "bits": Rule(compared="26 is none"),
    "min": Rule(compared="-180 is none"),
    "max": Rule(compared="180 is none"),
    "wildcardProjection": Rule(compared="in any order, 1 is true"),
}
"""Options of an index. What can't be changed in place is built anew, and the old one dropped."""

COLLECTIONS: dict[str, Rule] = {
    "capped": Rule(
        compared="false is none",
        otherwise="refused",
        way_out="convertToCapped would cap it, but copies what fits into a new collection under a lock and"
        " drops the indexes: run it yourself at a quiet hour and apply again, or " + _COPY,
    ),
    "size": Rule(
        compared="up to 255 bytes more are equal: servers before 6.2 round up",
        in_place=(6, 0),
        otherwise="refused",
        way_out=_COPY,
    ),
    "max": Rule(compared="0 and 2147483647 are none", in_place=(6, 0), otherwise="refused", way_out=_COPY),
    "timeseries": Rule(
        since=(5, 0),
        compared="granularity seconds is none, and stands for its bucket options",
        in_place=(5, 0),
        which="granularity, or from MongoDB 6.3 both bucket options, to longer buckets",
        otherwise="refused",
        way_out=_COPY,
    ),
    "clusteredIndex": Rule(
        since=(5, 3),
        compared="v is none; one without a name is content with any",
        otherwise="refused",
        way_out=_COPY,
    ),
    "expireAfterSeconds": Rule(
        since=(5, 0),
        compared="as a number; off is none",
        in_place=(5, 0),
        which="any change of a time series or a clustered collection; off takes it away",
        otherwise="refused",
        way_out="a plain collection expires by a TTL index",
    ),
    "changeStreamPreAndPostImages": Rule(
        since=(6, 0), compared="enabled false is none", in_place=(6, 0), otherwise="refused"
    ),
    "collation": Rule(compared="filled in by locale; simple is none", otherwise="refused", way_out=_COPY),
    "viewOn": Rule(in_place=OLDEST, which="any change, sent with the pipeline", otherwise="refused"),
    "pipeline": Rule(
        compared="stages and fields in their order; numbers of any type are equal; none is empty",
        in_place=OLDEST,
        which="any change, sent with viewOn",
        otherwise="refused",
    ),
}
"""Options of a collection, a time series or a view. One that no manifest names is left alone."""

VALIDATORS: dict[str, Rule] = {
    "validator": Rule(
        compared="keywords, properties and required names in any order; none is none", in_place=OLDEST
    ),
    "validationLevel": Rule(compared="strict is none", in_place=OLDEST),
    "validationAction": Rule(compared="error is none", in_place=OLDEST),
}
"""Options of a validator: collMod sends all three."""

SEARCH_INDEXES: dict[str, Rule] = {
    "definition": Rule(
        since=(6, 0), compared="what the manifest writes; the server fills in the rest", in_place=(6, 0)
    ),
    "type": Rule(
        since=(6, 0),
        otherwise="refused",
        way_out="give it another name, and drop the old one when queries use the new one",
    ),
}
"""Options of a search index, where the server has them."""

SPANS_SINCE: Version = (6, 3)
"""From when on a time series takes bucket options other than those of a granularity."""

TTL_ADDED_SINCE: Version = (5, 1)
"""From when on collMod gives an index without a time to live one."""

COMPOUND_WILDCARD_SINCE: Version = (7, 0)
"""From when on a wildcard stands beside other keys."""


def words(version: Version) -> str:
    """Write a version as people say it: `MongoDB 6.0`."""
    return f"MongoDB {version[0]}.{version[1]}"
