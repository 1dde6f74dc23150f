"""MongoDB Extended JSON v2: parsed JSON into BSON values, and BSON into JSON text.

Follows https://www.mongodb.com/docs/manual/reference/mongodb-extended-json/ (the drivers'
specification "extended-json"), strictly: a malformed `$oid` is an error and never a document that
looks like one. Canonical, relaxed and mixed forms are read alike. Three types that BSON has given up
and the driver can't write become their heirs unless they are asked for: a symbol a string, undefined null,
a DBPointer a DBRef. What JSON can't tell apart stays so: a stored document that looks like a typed object
({"$oid": …}) is one when it is read back. Knows nothing of files, records or collections.
"""

from __future__ import annotations

from motorctl.core.extjson.deprecated import DBPointer, Symbol, Undefined, encode
from motorctl.core.extjson.many import Layout, convert_many
from motorctl.core.extjson.read import (
    DEPTH_LIMIT,
    INT64_MAX,
    INT64_MIN,
    ExtendedJSONError,
    NestingError,
    loads,
    to_bson_values,
)
from motorctl.core.extjson.write import BSON_OPTIONS, bson_to_json, dumps, lines_of, text_of, to_json_value

__all__ = [
    "BSON_OPTIONS",
    "DEPTH_LIMIT",
    "INT64_MAX",
    "INT64_MIN",
    "DBPointer",
    "ExtendedJSONError",
    "Layout",
    "NestingError",
    "Symbol",
    "Undefined",
    "bson_to_json",
    "convert_many",
    "dumps",
    "encode",
    "lines_of",
    "loads",
    "text_of",
    "to_bson_values",
    "to_json_value",
]
