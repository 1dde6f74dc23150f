"""What would make a query faster, and why an index that is there doesn't.

`advise` asks the server (`asking`) and judges (`judge`, pure). `shape` says what an index is to serve, `propose` which
one does, `unused` why those that are there don't, `redundant` which ones a new one replaces. Nothing here
runs the query or writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymongo.errors import OperationFailure

from motorctl.core.driver import UNAUTHORIZED
from motorctl.core.explain.advice.asking import facts_of
from motorctl.core.explain.advice.judge import judge
from motorctl.core.explain.advice.missing import missing_index
from motorctl.core.explain.advice.model import Advice, Facts, Proposal, Sentence, Types

if TYPE_CHECKING:
    from motorctl.client import Database
    from motorctl.core.explain.plan import Plan
    from motorctl.core.explain.query import Query

__all__ = ["Advice", "Facts", "Proposal", "Sentence", "Types", "advise", "judge", "missing_index"]


async def advise(db: Database, query: Query, plan: Plan) -> Advice:
    """Judge a plan with what the server tells of the collection and its indexes. Reads only.

    A user who may not list indexes is told so: that is a sentence, no error.
    """
    try:
        asked = await facts_of(db, query, plan)
    except OperationFailure as error:
        if error.code != UNAUTHORIZED:
            raise
        text = f"no right to list the indexes of {query.collection}: there is no advice without them"
        return Advice((), (Sentence("unauthorized", text),))
    return judge(asked.query, plan, asked.indexes, asked.facts)
