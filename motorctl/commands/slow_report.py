"""How slow queries look: rows for machines, words for people, and the command that explains each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from motorctl.app import App
    from motorctl.core.slow.groups import Slow


def row(one: Slow, source: str, *, examples: bool) -> dict[str, Any]:
    """Return the row of a shape; `examples`: with the command that explains its longest run."""
    from dataclasses import fields

    found = {field.name: getattr(one, field.name) for field in fields(one) if field.name != "example"}
    for name in ("p50_ms", "p95_ms", "max_ms", "total_ms"):
        found[name] = None if found[name] is None else round(found[name], 1)
    found["source"] = source
    if examples:
        found["explain"] = _typed(one)
    return found


def show(
    app: App, slow: Sequence[Slow], rows: list[dict[str, Any]], *, explain: bool, examples: bool
) -> None:
    """Write the rows: below a table stands what is to be copied."""
    from motorctl.output import Column

    people = app.output.format in ("table", "markdown")
    below = app.output.format == "table"
    what = ("query",) if people else ("operation", "shape")
    columns = [Column(name) for name in ("collection", *what)]
    columns += [Column(name, right=True) for name in ("count", "p50_ms", "p95_ms", "total_ms")]
    columns.append(Column("plan"))
    if explain:
        columns += [Column("verdict")] if below else [Column("verdict"), Column("advice")]
    if examples and not below:
        columns.append(Column("explain"))
    if people:
        rows = [{**row, "query": _query_text(one)} for one, row in zip(slow, rows, strict=True)]
    if app.output.format in ("csv", "markdown"):
        rows = [{**row, "advice": "; ".join(_advice(row))} for row in rows]
    app.output.emit(rows, columns)
    if below and (lines := list(_below(rows))):
        app.output.text("\n".join(lines))


def _below(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield what stands below a table, so that it can be copied: a command in a column is in pieces."""
    for row in rows:
        found = [*_advice(row), *filter(None, [row.get("explain")])]
        if found:
            yield f"\n{row['collection']} {row['query']}"
            yield from (f"  {line}" for line in found)


def _query_text(one: Slow) -> str:
    import json

    from motorctl.core.slow import shapes

    return f"{one.operation} {shapes.words(json.loads(one.shape))}".rstrip()


def _advice(row: dict[str, Any]) -> list[str]:
    return [str(sentence.get("command") or sentence["text"]) for sentence in row.get("advice") or ()]


def _typed(one: Slow) -> str | None:
    """Return the command that explains a shape's longest run, as it is typed; None where none says the same."""
    import re
    import shlex

    query = one.example
    if query is None or (query.let and query.kind != "aggregate"):
        return None
    words = ["motorctl", "explain", query.kind, query.collection]
    if query.kind == "aggregate":
        words.append(_json(query.pipeline))
    elif query.kind == "distinct":
        words.append(str(query.key))
    for name, value in (query.let or {}).items():
        is_literal = isinstance(value, dict) and set(value) == {"$literal"}
        words += ["--var", f"{name}={_json(value['$literal'] if is_literal else value)}"]
    if query.filter:
        words += ["--filter", _json(query.filter)]
    if query.sort:
        plain = all(re.fullmatch(r"[A-Za-z_][\w.]*", k) and k != "id" for k in query.sort)
        plain = plain and all(v in (1, -1) for v in query.sort.values())
        order = ",".join(f"-{k}" if v == -1 else k for k, v in query.sort.items())
        words.append(f"--sort={order}" if plain else f"--sort={_json(query.sort)}")
    if query.projection:
        words += ["--projection", _json(query.projection)]
    for name, number in (("limit", query.limit), ("skip", query.skip)):
        if number:
            words += [f"--{name}", str(number)]
    if query.hint and query.kind != "distinct":
        words += ["--hint", query.hint if isinstance(query.hint, str) else _json(query.hint)]
    if query.collation:
        words += ["--collation", _json(query.collation)]
    return shlex.join(words)


def _json(value: Any) -> str:
    import orjson

    from motorctl.core import extjson

    return orjson.dumps(extjson.to_json_value(value)).decode()
