"""The file of a suite of queries -> cases, or an error that names file, line, column and key.

YAML or JSON with Extended JSON values, read as manifests are. Owns the file's form; what a gate or a
query means is `core.explain`'s. Never connects to anything.

    defaults: {fail_on: [collscan, sort], min_documents: 100}
    queries:
      - name: orders of a day
        find: orders
        filter: {status: completed, created_at: {$gte: {$date: "2026-03-01T00:00:00Z"}}}
        sort: {created_at: -1}
        expect: {index: status_1_created_at_1}
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from motorctl.arguments import sort
from motorctl.core import aggregation
from motorctl.core.explain.gates import Gate, gates_of, parse
from motorctl.core.explain.query import Kind, Query
from motorctl.core.explain.suite import Case, Expect
from motorctl.errors import UsageError
from motorctl.manifest.document import About, Document
from motorctl.manifest.shapes import Shape, read, shown
from motorctl.manifest.sources import document

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import BinaryIO

    from motorctl.manifest.document import Path_

_ABOUT = About(
    "suite of queries",
    "a suite",
    "a suite looks like {defaults: {fail_on: [collscan]}, queries: [{name: ..., find: orders, filter: {...}}]}",
    variables=False,
)

VERDICTS = ("ixscan", "collscan", "idhack", "express", "eof", "mixed")
_KINDS: tuple[Kind, ...] = ("find", "count", "distinct", "aggregate")

_TAKES: Mapping[Kind, tuple[str, ...]] = {
    "find": ("filter", "sort", "projection", "skip", "limit", "hint", "collation", "let"),
    "count": ("filter", "skip", "limit", "hint", "collation"),
    "distinct": ("key", "filter", "collation"),
    "aggregate": ("pipeline", "hint", "collation", "let"),
}
"""The words of each kind of query: those that the server's command has."""

_STRING = Shape(kind="string")
_DOCUMENT = Shape(kind="document")
_WORDS = Shape(kind="list", values=_STRING)
_COUNT = Shape(kind="number", least=0, most=2**31 - 1)
_INDEX = Shape(
    kind="document",
    called="the index that is expected",
    values=Shape(
        kind="number or word", allowed=("text", "2d", "2dsphere", "hashed", "wildcard"), means="1 or -1"
    ),
)

_EXPECT = Shape(
    kind="document",
    called="expect",
    names={
        "index": _STRING,
        "verdict": Shape(kind="string", allowed=VERDICTS),
        "returned": _COUNT,
        "covered": Shape(kind="boolean"),
    },
)
_ASKED = {"fail_on": _WORDS, "min_documents": _COUNT}
_DEFAULTS = Shape(kind="document", called="defaults", names=_ASKED)
_QUERY = Shape(
    kind="document",
    called="a query",
    needed=("name",),
    names={
        "name": Shape(kind="string", means="Its name in the report, one of its own"),
        **dict.fromkeys(_KINDS, _STRING),
        "filter": _DOCUMENT,
        "sort": _DOCUMENT,
        "projection": _DOCUMENT,
        "skip": _COUNT,
        "limit": _COUNT,
        "hint": _STRING,
        "collation": _DOCUMENT,
        "let": _DOCUMENT,
        "key": _STRING,
        "pipeline": Shape(kind="list"),
        "expect": _DOCUMENT,
        **_ASKED,
    },
)
_SUITE = Shape(
    kind="document",
    called="a suite",
    needed=("queries",),
    names={
        "defaults": _DOCUMENT,
        "queries": Shape(kind="list", means="A list of queries: [{name: ..., find: orders, filter: {...}}]"),
    },
)

_EITHER: Mapping[str, Mapping[type, Shape]] = {
    "fail_on": {str: _STRING},
    "sort": {str: _STRING},
    "hint": {dict: _DOCUMENT},
    "index": {dict: _INDEX},
}
"""Keys that may be written in another way too: `fail_on: collscan,sort`, `hint: {status: 1}`."""


def load(source: str, stdin: BinaryIO | None = None, *, fail_on: Sequence[Gate] | None = None) -> list[Case]:
    """Read a suite; `-` is stdin. `fail_on` stands in the place of every gate in the file.

    Raises ManifestError with its place.
    """
    found = document(source, stdin, about=_ABOUT)
    suite = read(found, found.value, _SUITE, ())
    defaults = _read(found, found.value.get("defaults", {}), _DEFAULTS, ("defaults",))
    usual = _gates(found, defaults, ("defaults",)) or ()
    if not suite["queries"]:
        found.fail(("queries",), "a suite without queries", at_key=True)
    cases: list[Case] = []
    for n, value in enumerate(found.value["queries"]):
        path: Path_ = ("queries", n)
        case = _case(found, value, path, usual, int(defaults.get("min_documents", 1)))
        if any(case.name == other.name for other in cases):
            found.fail((*path, "name"), f"two queries are called {case.name!r}", at_key=True)
        cases.append(case if fail_on is None else _with_gates(case, fail_on))
    return cases


def _case(found: Document, value: Any, path: Path_, usual: tuple[Gate, ...], min_documents: int) -> Case:
    if not isinstance(value, dict):
        found.fail(path, f"a query is a document, not {shown(found, value, path)}")
    words = _read(found, value, _QUERY, path)
    name = words["name"].strip()
    if not name:
        found.fail((*path, "name"), "the name of a query is empty")
    gates = _gates(found, words, path)
    return Case(
        name,
        _query(found, words, path),
        usual if gates is None else gates,
        _expect(found, value.get("expect", {}), (*path, "expect")),
        int(words.get("min_documents", min_documents)),
    )


def _query(found: Document, words: Mapping[str, Any], path: Path_) -> Query:
    kinds = [kind for kind in _KINDS if kind in words]
    if len(kinds) != 1:
        named = f"not {' and '.join(kinds)}" if kinds else "and which collection"
        found.fail(path, f"a query says one of {', '.join(_KINDS)}, {named}", hint="find: orders")
    kind = kinds[0]
    for word in words:
        if word in {one for takes in _TAKES.values() for one in takes} and word not in _TAKES[kind]:
            found.fail(
                (*path, word),
                f"{word} is no word of {kind}",
                hint=f"{kind} takes {', '.join(_TAKES[kind])}",
                at_key=True,
            )
    if kind == "count" and isinstance(words.get("expect"), dict) and "returned" in words["expect"]:
        found.fail((*path, "expect", "returned"), "a count returns no documents", at_key=True)
    needed = {"distinct": "key", "aggregate": "pipeline"}.get(kind)
    if needed and needed not in words:
        found.fail(path, f"{kind} needs {needed}")
    if not words[kind]:
        found.fail((*path, kind), "the name of a collection is empty")
    return Query(
        kind,
        words[kind],
        **{word: _value(found, words, word, path) for word in _TAKES[kind] if word in words},
    )


def _value(found: Document, words: Mapping[str, Any], word: str, path: Path_) -> Any:
    value = words[word]
    if word == "sort" and isinstance(value, str):
        try:
            return dict(sort(value))
        except UsageError as error:
            found.fail((*path, word), error.message.removeprefix("--"), hint="sort: -created_at,name")
    if word == "pipeline":
        for n, stage in enumerate(value):
            if not isinstance(stage, dict) or len(stage) != 1 or not next(iter(stage)).startswith("$"):
                found.fail((*path, word, n), "a stage is a document with one key that begins with $")
        if write := next(aggregation.writes(value), None):
            found.fail(
                (*path, word),
                f"{write.stage} writes: the query would never be run, and nothing be measured",
                hint=f"leave {write.stage} out: what comes before it is what reads",
            )
    return value


def _gates(found: Document, words: Mapping[str, Any], path: Path_) -> tuple[Gate, ...] | None:
    """Return the gates that stand here, or None where none are spoken of; `fail_on: []` is none at all."""
    value = words.get("fail_on")
    if value is None:
        return None
    try:
        return tuple(parse(value, "fail_on") if isinstance(value, str) else gates_of(value, "fail_on"))
    except UsageError as error:
        found.fail((*path, "fail_on"), error.message.removeprefix("fail_on: "), hint=error.hint)


def _expect(found: Document, value: Any, path: Path_) -> Expect:
    words = _read(found, value, _EXPECT, path)
    index = words.get("index")
    if isinstance(index, dict):
        index = tuple(index.items())
    returned = words.get("returned")
    return Expect(
        index, words.get("verdict"), None if returned is None else int(returned), words.get("covered")
    )


def _with_gates(case: Case, gates: Sequence[Gate]) -> Case:
    return replace(case, gates=tuple(gates))


def _read(found: Document, value: Any, shape: Shape, path: Path_) -> dict[str, Any]:
    """Hold a document against its shape, with a key's other form where it is written so."""
    names = dict(shape.names or {})
    if isinstance(value, dict):
        for key, forms in _EITHER.items():
            if key in names and (other := forms.get(type(value.get(key)))) is not None:
                names[key] = other
    result: dict[str, Any] = read(found, value, replace(shape, names=names), path)
    return result
