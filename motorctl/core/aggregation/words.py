"""The names of MongoDB's stages and operators, for the word that was probably meant. Never to refuse one.

From the manual of MongoDB 8.0, "Aggregation Stages", "Aggregation Operators" and "Query and Projection
Operators"; a newer server has more.
"""

from __future__ import annotations

__all__ = ["ALIASES", "DATABASE_STAGES", "OPERATORS", "QUERY", "STAGES"]

STAGES = tuple(
    f"${name}"
    for name in """addFields bucket bucketAuto changeStream changeStreamSplitLargeEvent collStats count currentOp
    densify documents facet fill geoNear graphLookup group indexStats limit listLocalSessions listSampledQueries
    listSearchIndexes listSessions lookup match merge out planCacheStats project queryStats redact replaceRoot
    replaceWith sample search searchMeta set setWindowFields shardedDataDistribution skip sort sortByCount
    unionWith unset unwind vectorSearch""".split()
)

DATABASE_STAGES = frozenset(
    {"$changeStream", "$currentOp", "$documents", "$listLocalSessions", "$queryStats", "$listSampledQueries"}
    | {"$shardedDataDistribution"}
)
"""Stages that begin a pipeline on a database, some of them on `admin` only."""

OPERATORS = tuple(
    f"${name}"
    for name in """abs accumulator acos acosh add addToSet allElementsTrue and anyElementTrue arrayElemAt
    arrayToObject asin asinh atan atan2 atanh avg binarySize bitAnd bitNot bitOr bitXor bottom bottomN bsonSize
    ceil cmp concat concatArrays cond convert cos cosh count covariancePop covarianceSamp dateAdd dateDiff
    dateFromParts dateFromString dateSubtract dateToParts dateToString dateTrunc dayOfMonth dayOfWeek dayOfYear
    degreesToRadians denseRank derivative divide documentNumber eq exp expMovingAvg filter first firstN floor
    function getField gt gte hour ifNull in indexOfArray indexOfBytes indexOfCP integral isArray isNumber
    isoDayOfWeek isoWeek isoWeekYear last lastN let linearFill literal ln locf log log10 lt lte ltrim map max maxN
    median mergeObjects meta millisecond min minN minute mod month multiply ne not objectToArray or percentile pow
    push radiansToDegrees rand range rank reduce regexFind regexFindAll regexMatch replaceAll replaceOne
    reverseArray round rtrim sampleRate second setDifference setEquals setField setIntersection setIsSubset
    setUnion shift sin sinh size slice sortArray split sqrt stdDevPop stdDevSamp strLenBytes strLenCP strcasecmp
    substr substrBytes substrCP subtract sum switch tan tanh toBool toDate toDecimal toDouble toHashedIndexKey
    toInt toLong toLower toObjectId toString toUUID toUpper top topN trim trunc tsIncrement tsSecond type
    unsetField week year zip""".split()
)

QUERY = tuple(
    f"${name}"
    for name in """all and bitsAllClear bitsAllSet bitsAnyClear bitsAnySet comment elemMatch eq exists expr
    geoIntersects geoWithin gt gte in jsonSchema lt lte mod ne near nearSphere nin nor not options or rand regex
    sampleRate size text type where""".split()
)

ALIASES: dict[str, frozenset[str]] = {
    "$convert": frozenset(
        f"$to{name}" for name in "Bool Date Decimal Double Int Long ObjectId String UUID".split()
    ),
    "$substrBytes": frozenset({"$substr"}),
    "$switch": frozenset({"$bucket"}),
    "$group": frozenset({"$bucket", "$bucketAuto", "$sortByCount", "$count"}),
    "$project": frozenset({"$unset"}),
    "$addFields": frozenset({"$set"}),
    "$set": frozenset({"$addFields"}),
    "$replaceRoot": frozenset({"$replaceWith"}),
    "$sort": frozenset({"$sortByCount", "$bucketAuto", "$setWindowFields"}),
}
"""What a server's message names, and what may have been typed for it: it rewrites the one into the other."""
