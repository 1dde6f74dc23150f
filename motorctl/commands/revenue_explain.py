"""What `motorctl revenue` shows in place of a report: its pipeline, or how the server ran it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from motorctl.app import App
    from motorctl.client import Database
    from motorctl.core.explain.access import Access
    from motorctl.core.explain.plan import Plan
    from motorctl.core.revenue.report import Question
    from motorctl.core.revenue.selection import Orders
    from motorctl.core.revenue.serving import Wanted
    from motorctl.core.sharding import Placement

_ON = {"shards": "on the shards", "merger": "on the merger", "both": "on the shards, then on the merger"}


def show_pipeline(app: App, question: Question) -> None:
    """Write a report's pipeline: the text that mongosh takes; for machines the same as Extended JSON."""
    if app.output.format in ("json", "ndjson"):
        document = {
            "collection": question.collection,
            "pipeline": question.pipeline,
            "options": question.options,
        }
        app.output.emit(document, free=True)
        return
    from motorctl.core import sharding, shell

    comments = [f"{_ON[one.place]}: {one.why}" for one in sharding.where(question.pipeline)]
    app.output.text(shell.aggregate_text(question.collection, question.pipeline, question.options, comments))
    if merger := sharding.merges_on(question.pipeline):
        app.diagnostics.info(f"of a sharded collection the merger is {merger}", merged_on=merger)


async def explain(
    app: App, db: Database, question: Question, orders: Orders, grouped: Sequence[str] | None
) -> None:
    """Have the server run a report's pipeline and write what it read for it, and which index would help.

    `grouped` are the fields that the report needs besides status, date and amount; None where no index can hold
    them.
    """
    from motorctl.core import sharding
    from motorctl.core.explain import access, ask, read
    from motorctl.core.explain.query import Query
    from motorctl.core.revenue import serving

    name = orders.collection
    with app.diagnostics.progress(f"explaining {name}"):
        document = await app.attempt(ask.explain, db, Query("aggregate", name, pipeline=question.pipeline))
    plan = read.read(document)
    # The first way is the one to the orders; what a $lookup read comes after.
    ways = access.accesses(plan)
    way = ways[0] if ways else None
    kind = await app.attempt(serving.kind, db, name)
    wanted = _wanted(orders, grouped) if kind in ("collection", None) else serving.Wanted()
    existing = await app.attempt(serving.key_lists, db, name) if wanted.keys else {}
    there = next((index for index, keys in existing.items() if serving.serves(keys, wanted)), None)
    covered, scanned = (way.covered, way.scan == "collscan") if way else (False, False)
    # An index that only finds the orders is better than none, and no better than the one that did.
    better = wanted.keys and not covered and there is None and (wanted.whole or scanned)
    hint = serving.command(name, wanted) if better else None
    placed = sharding.from_explain(document)
    _emit(app, plan, way, hint, placed)
    for one in placed:
        app.diagnostics.info(f"{one.stage} {_ON[one.place]}: {one.why}")
    _say(app, orders, plan, way, kind=kind)
    if there and not covered and way is not None:
        why = (
            "documents were read for it: one of its fields may be an array"
            if there == way.index
            else "it wasn't chosen"
        )
        app.diagnostics.info(f"the index {there} has all the fields that it needs, but {why}")
    if hint:
        what = "holds all it needs" if wanted.whole else "finds its orders"
        app.diagnostics.info(f"an index that {what}: {hint}", index_hint=hint)


def _wanted(orders: Orders, grouped: Sequence[str] | None) -> Wanted:
    """Return the index that a report wants: all that it reads, or what finds its orders where that can't be."""
    from motorctl.core.revenue import serving

    if grouped is not None:
        return serving.wanted(orders, grouped)
    conditions = ("status", orders.date)
    return serving.Wanted(tuple(key for key in serving.wanted(orders).keys if key in conditions))


def _emit(app: App, plan: Plan, way: Access | None, hint: str | None, placed: Sequence[Placement]) -> None:
    from dataclasses import asdict

    from motorctl.core.explain.summary import summary

    # The plan's own `index` names those of a $lookup, too.
    served = {"served_by": way.index if way else None, "covered": way is not None and way.covered}
    document = {**summary(plan), **served, "index_hint": hint}
    if placed:
        document["placed"] = [asdict(one) for one in placed]
    if app.output.format in ("json", "ndjson"):
        app.output.emit(document)
        return
    names = ("verdict", *served, "returned", "keys_examined", "docs_examined", "ms", "index_hint")
    app.output.emit({name: document[name] for name in names})


def _say(app: App, orders: Orders, plan: Plan, way: Access | None, *, kind: str | None) -> None:
    from motorctl.core.explain.access import LOOKUPS

    name = orders.collection
    reading = [stage for stage in plan.root.walk() if stage.kind not in LOOKUPS]
    keys, documents = sum(stage.keys or 0 for stage in reading), sum(stage.docs or 0 for stage in reading)
    if kind == "absent" or way is None or way.scan == "none":
        sentence = f"there is nothing to read: the database has no collection {name}"
    elif way.scan == "collscan":
        sentence = f"no index served it: {documents:,} documents of {way.collection} read"
        if not orders.status and not (orders.since or orders.until):
            sentence += "; it asks for all of them, so that no index would help"
    else:
        read = "no document (covered)" if way.covered else f"{documents:,} documents"
        sentence = f"served by the index {way.index}: {keys:,} keys and {read} read"
    if kind == "view":
        sentence += f"; {name} is a view: an index belongs to the collection behind it"
    app.diagnostics.info(sentence, served_by=None if way is None else way.index)
