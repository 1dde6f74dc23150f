"""Everything that a manifest may say: each key's shape and what it means, in one table.

Names and limits are the server's own (4.4 to 8.0); a limit stands here only where all of those servers
refuse what lies beyond it.
"""

from __future__ import annotations

from motorctl.core.schema.model import INDEX_KINDS, LEVELS, VALIDATION_ACTIONS
from motorctl.manifest.shapes import Shape

_MOST_SECONDS = 2**31 - 1

STATES = ("present", "absent")

COLLATION = Shape(
    kind="document",
    called="a collation",
    means="How strings are compared and ordered: {locale: en, strength: 2}",
    needed=("locale",),
    names={
        "locale": Shape(kind="string", means="The language, for example en, or simple for bytes"),
        "strength": Shape(
            kind="number",
            allowed=(1, 2, 3, 4, 5),
            means="How much is told apart: 1 letters, 2 accents, 3 case",
        ),
        "caseLevel": Shape(kind="boolean", means="Tell case apart at strength 1 or 2"),
        "caseFirst": Shape(kind="string", allowed=("upper", "lower", "off"), means="Which case comes first"),
        "numericOrdering": Shape(kind="boolean", means="Order digits as numbers: a2 before a10"),
        "alternate": Shape(
            kind="string",
            allowed=("non-ignorable", "shifted"),
            means="Whether blanks and punctuation count as letters",
        ),
        "maxVariable": Shape(
            kind="string", allowed=("punct", "space"), means="What `alternate: shifted` ignores"
        ),
        "normalization": Shape(kind="boolean", means="Normalise text before it is compared"),
        "backwards": Shape(kind="boolean", means="Compare accents from the end, as Canadian French does"),
    },
    apart={"version": "the server gives a collation its version"},
)

_KEYS = Shape(
    kind="document",
    means="Fields and their order or kind: {email: 1, created_at: -1}",
    values=Shape(
        kind="number or word",
        allowed=INDEX_KINDS,
        means="1 ascending, -1 descending, or the kind of the index",
        apart={
            "geoHaystack": "servers from 5.0 on have no such index; 2d or 2dsphere does its work",
            "columnstore": "no released server has such an index",
        },
    ),
)

INDEX = Shape(
    kind="document",
    called="an index",
    names={
        "keys": _KEYS,
        "name": Shape(kind="string", means="Its name; left out, any name will do"),
        "state": Shape(
            kind="string",
            allowed=STATES,
            means="absent: the index of this name, or these keys, must not be there",
        ),
        "renamed_from": Shape(kind="string", means="The name that it had before"),
        "unique": Shape(kind="boolean", means="No two documents share a key"),
        "sparse": Shape(kind="boolean", means="Leave out documents without the field"),
        "hidden": Shape(kind="boolean", means="Kept up to date, but no query uses it"),
        "prepareUnique": Shape(
            kind="boolean", means="Refuse new duplicates, the first step towards unique (from 6.0)"
        ),
        "expireAfterSeconds": Shape(
            kind="number", least=0, most=_MOST_SECONDS, means="Delete documents so long after their date"
        ),
        "partialFilterExpression": Shape(kind="document", means="Index only documents that this query finds"),
        "collation": COLLATION,
        "weights": Shape(
            kind="document",
            means="How much each text field counts: {title: 10}",
            values=Shape(kind="number", least=1, most=99_999),
        ),
        "default_language": Shape(kind="string", means="The language of text that names none"),
        "language_override": Shape(kind="string", means="The field that names a document's language"),
        "textIndexVersion": Shape(kind="number", allowed=(1, 2, 3), means="The format of a text index"),
        "2dsphereIndexVersion": Shape(
            kind="number", allowed=(1, 2, 3), means="The format of a 2dsphere index"
        ),
        "bits": Shape(kind="number", least=1, most=32, means="Precision of a 2d index"),
        "min": Shape(kind="number", means="The least coordinate of a 2d index"),
        "max": Shape(kind="number", means="The greatest coordinate of a 2d index"),
        "wildcardProjection": Shape(
            kind="document", means="Which fields a $** index takes in or leaves out: {a: 1} or {a: 0}"
        ),
    },
    apart={
        "v": "the server chooses the format of its indexes",
        "background": "servers from 4.2 on build every index without a lock",
        "dropDups": "no server from 3.0 on drops duplicates for an index",
        "ns": "an index is its collection's",
        "storageEngine": "storage stays as the server has it",
        "bucketSize": "only geoHaystack indexes had buckets, and servers from 5.0 on have none",
        "clustered": "that is the collection's clusteredIndex",
    },
)

SEARCH_INDEX = Shape(
    kind="document",
    called="a search index",
    needed=("definition",),
    names={
        "name": Shape(kind="string", means="Its name; left out, it is default"),
        "type": Shape(
            kind="string", allowed=("search", "vectorSearch"), means="search, unless it is vectorSearch"
        ),
        "definition": Shape(kind="document", means="The search server's definition: mappings, or fields"),
    },
)

COLLECTION = Shape(
    kind="document",
    called="a collection",
    nullable=True,
    names={
        "state": Shape(kind="string", allowed=STATES, means="absent: the collection must not be there"),
        "renamed_from": Shape(kind="string", means="The name that it had before"),
        "validator": Shape(
            kind="document", means="What documents must be: {$jsonSchema: ...} or a query; {} for none"
        ),
        "validationLevel": Shape(
            kind="string",
            allowed=LEVELS,
            means="moderate: documents that broke the rules before may go on so",
        ),
        "validationAction": Shape(
            kind="string", allowed=VALIDATION_ACTIONS, means="error refuses a write, warn only logs it"
        ),
        "indexes": Shape(kind="list", values=INDEX, means="Its indexes, without the one on _id"),
        "searchIndexes": Shape(
            kind="list", values=SEARCH_INDEX, means="Indexes of the search server, where there is one"
        ),
        "capped": Shape(kind="boolean", means="A fixed size: new documents push the oldest out"),
        "size": Shape(kind="number", least=0, most=2**50, means="Bytes of a capped collection"),
        "max": Shape(kind="number", most=_MOST_SECONDS, means="Documents of a capped collection, at most"),
        "timeseries": Shape(
            kind="document",
            means="Measurements over time (from 5.0): {timeField: at, metaField: sensor}",
            needed=("timeField",),
            names={
                "timeField": Shape(kind="string", means="The field that holds the date of a measurement"),
                "metaField": Shape(kind="string", means="The field that says whose measurement it is"),
                "granularity": Shape(
                    kind="string",
                    allowed=("seconds", "minutes", "hours"),
                    means="How close measurements follow",
                ),
                "bucketMaxSpanSeconds": Shape(
                    kind="number", least=1, most=31_536_000, means="The longest time that a bucket spans"
                ),
                "bucketRoundingSeconds": Shape(
                    kind="number",
                    least=1,
                    most=31_536_000,
                    means="What a bucket's start is rounded to, the same as bucketMaxSpanSeconds (from 6.3)",
                ),
            },
        ),
        "clusteredIndex": Shape(
            kind="document",
            means="Documents stored in the order of _id (from 5.3): {key: {_id: 1}, unique: true}",
            needed=("key", "unique"),
            names={
                "key": Shape(
                    kind="document",
                    means="{_id: 1}",
                    needed=("_id",),
                    names={"_id": Shape(kind="number", allowed=(1,), means="1")},
                ),
                "unique": Shape(kind="boolean", means="true"),
                "name": Shape(kind="string", means="The name of the clustered index"),
            },
            apart={"v": "the server chooses the format of its indexes"},
        ),
        "expireAfterSeconds": Shape(
            kind="number",
            least=0,
            most=_MOST_SECONDS,
            words=("off",),
            means="Delete documents of a time series or a clustered collection so long after their date; off: never",
        ),
        "changeStreamPreAndPostImages": Shape(
            kind="document",
            means="Whether change streams can show documents before and after a change (from 6.0)",
            needed=("enabled",),
            names={"enabled": Shape(kind="boolean", means="true or false")},
        ),
        "collation": COLLATION,
        "viewOn": Shape(kind="string", means="The collection or view that this view shows"),
        "pipeline": Shape(
            kind="list", means="What a view does with the documents: [{$match: {active: true}}]"
        ),
    },
    apart={
        "storageEngine": "storage stays as the server has it",
        "indexOptionDefaults": "storage stays as the server has it",
        "encryptedFields": "a client that holds the keys creates encrypted collections",
        "autoIndexId": "servers from 4.0 on index _id always",
        "idIndex": "the server makes the index on _id",
        "flags": "servers from 4.0 on know no flags of collections",
        "recordPreImages": "servers from 6.0 on have changeStreamPreAndPostImages instead",
        "temp": "temporary collections are the server's own",
        "comment": "that is a command's, not a collection's",
        "writeConcern": "that is a command's, not a collection's",
    },
)

MANIFEST = Shape(
    kind="document",
    called="a manifest",
    names={
        "$schema": Shape(kind="string", means="Where an editor finds the JSON Schema of manifests"),
        "collections": Shape(
            kind="document", nullable=True, values=COLLECTION, means="Collections and views by name"
        ),
    },
)
