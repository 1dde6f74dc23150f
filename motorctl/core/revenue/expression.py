"""An amount as arithmetic over an order's fields: `qty * unit_price * (1 - discount)`, read into an aggregation expression.

    sum     = term {("+" | "-") term}
    term    = factor {("*" | "/" | "%") factor}
    factor  = "-" factor | number | field | function "(" sum {"," sum} ")" | "(" sum ")"
    field   = name {"." name}           a name: letters, digits and _, or anything in `backquotes` (`` is a backquote)

Read by recursive descent, into data: no text of it is ever run, here or there. All arithmetic is that of
Decimal128 (34 digits, half-even), so cents stay cents: of a double the server's `$toDecimal` takes the
first 15 digits. A field that is missing, null, no number, NaN or infinite makes the whole amount null, and so
does a division by zero: such an order is counted as left out, and no document makes the server refuse. Pure.
"""

from __future__ import annotations

import re
from decimal import Clamped, Context, DecimalException, Inexact, Overflow
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from bson.decimal128 import Decimal128

from motorctl.core.field_paths import path
from motorctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST = 2000
DEEPEST = 120
"""How many levels an expression may have: the server takes 200, and those of the pipeline around it count too."""

_NESTED = 80
_ROUND_DIGITS = (-20, 34)
_NULL_DIVISOR = {"$eq": ["$$divisor", Decimal128("0")]}
# What Decimal128 holds: IEEE 754-2008, decimal128. Anything beyond would be another number there.
_DECIMAL128 = Context(prec=34, Emin=-6143, Emax=6144, clamp=1, traps=[Inexact, Overflow, Clamped])

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?!\w))
    |(?P<name>(?:[^\W\d]\w*|`(?:[^`]|``)*`)(?:\.(?:\w+|`(?:[^`]|``)*`))*)
    |(?P<sign>[-+*/%(),])
    |(?P<end>$)
    )""",
    re.VERBOSE,
)
_PART = re.compile(r"`((?:[^`]|``)*)`|(\w+)")
_HINTS = {
    "$": "fields stand without a dollar: qty * price",
    "`": "a name in backquotes ends with one: `unit price`",
    "'": "a name with spaces stands in backquotes: `unit price`",
    '"': "a name with spaces stands in backquotes: `unit price`",
    "^": "there are no powers; x * x is a square",
    "=": "an amount is one number: there are no comparisons",
    "<": "an amount is one number: there are no comparisons; min(x, y) and max(x, y) choose",
    ">": "an amount is one number: there are no comparisons; min(x, y) and max(x, y) choose",
}


class _Token(NamedTuple):
    kind: str
    text: str
    column: int


def parse(text: str) -> dict[str, Any]:
    """Return the aggregation expression of an amount: a decimal, or null where it can't be computed.

    Raises UsageError (2) that names the column, counted from 1 (in `details` too).
    """
    if len(text) > LONGEST:
        raise UsageError(f"an amount expression of {len(text)} characters: {LONGEST} are the most")
    found = _Reader(text).amount()
    if _depth(found) > DEEPEST:
        raise UsageError("the amount expression is nested too deeply for a server")
    return found if isinstance(found, dict) else {"$literal": found}


def quotients(expression: Any) -> bool:
    """Tell whether an amount may have more digits than a decimal holds: a third, and what is made of it.

    Rounding ends that, and so do divisors like 100, of which every quotient has an end.
    """
    if isinstance(expression, dict):
        if expression.keys() & {"$literal", "$round", "$floor", "$ceil"}:
            return False
        if parts := expression.get("$divide"):
            return not _ends(parts[1]) or quotients(parts[0])
        return any(map(quotients, expression.values()))
    return isinstance(expression, list) and any(map(quotients, expression))


def _ends(divisor: Any) -> bool:
    if not isinstance(divisor, Decimal128):
        return False
    # To divide by 5/4 is to multiply by 4/5: what is above the line must have no other factors than ten has.
    numerator, _ = divisor.to_decimal().as_integer_ratio()
    for prime in (2, 5):
        while numerator and numerator % prime == 0:
            numerator //= prime
    return abs(numerator) == 1


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._nested = 0
        self._token = self._read(0)

    def amount(self) -> Any:
        if self._token.kind == "end":
            raise UsageError("an empty amount expression", hint="for example: qty * price")
        found = self._sum()
        if self._token.kind != "end":
            self._unexpected("an operator")
        return found

    def _sum(self) -> Any:
        found = self._term()
        while sign := self._taken("+", "-"):
            found = (
                _joined("$add", found, self._term()) if sign == "+" else {"$subtract": [found, self._term()]}
            )
        return found

    def _term(self) -> Any:
        found = self._factor()
        while sign := self._taken("*", "/", "%"):
            right = self._factor()
            found = _joined("$multiply", found, right) if sign == "*" else _divided(sign, found, right)
        return found

    def _factor(self) -> Any:
        token = self._token
        self._nested += 1
        if self._nested > _NESTED:
            self._fail("the amount expression is nested too deeply", token, None)
        if self._taken("-"):
            found = _negative(self._factor())
        elif self._taken("("):
            found = self._sum()
            self._close("(", token)
        elif token.kind == "number":
            self._next()
            found = self._number(token)
        elif token.kind == "name":
            self._next()
            found = self._call(token) if self._token.text == "(" else _number_in(self._field(token))
        else:
            self._unexpected("a field, a number or '('")
        self._nested -= 1
        return found

    def _call(self, name: _Token) -> Any:
        if name.text not in _FUNCTIONS:
            from motorctl.near import near

            known = ", ".join(_FUNCTIONS)
            self._fail(
                f"{name.text!r} is no function", name, near(name.text, _FUNCTIONS) or f"there are {known}"
            )
        form, least, most, make = _FUNCTIONS[name.text]
        opening = self._token
        self._next()
        first = self._token
        arguments = [] if self._token.text == ")" else [self._sum()]
        while self._taken(","):
            arguments.append(self._sum())
        self._close("(", opening)
        if not least <= len(arguments) <= most:
            count = f"{len(arguments)} argument" + ("" if len(arguments) == 1 else "s")
            self._fail(f"{form} was given {count}", name, None)
        try:
            return make(arguments)
        except ValueError as error:
            self._fail(f"{form}: {error}", first, None)

    def _field(self, token: _Token) -> Any:
        # In backquotes a dot is a character of the name.
        names = [
            bare or quoted.replace("``", "`").replace(".", r"\.")
            for quoted, bare in _PART.findall(token.text)
        ]
        if not all(names):
            self._fail(
                "a field's name is empty", token, "a name with spaces stands in backquotes: `unit price`"
            )
        if any(name.endswith("\\") for name in names[:-1]):
            self._fail("nothing can be asked inside of a field whose name ends with a backslash", token, None)
        return path(".".join(names))

    def _number(self, token: _Token) -> Decimal128:
        try:
            return Decimal128(_DECIMAL128.create_decimal(token.text))
        except DecimalException:
            self._fail(f"{token.text} is more than a decimal of 34 digits holds", token, None)

    # ---- tokens

    def _read(self, position: int) -> _Token:
        match = _TOKEN.match(self._text, position)
        if match is None or match.lastgroup is None:
            position += len(self._text[position:]) - len(self._text[position:].lstrip())
            self._refuse(position)
        kind = match.lastgroup
        return _Token(kind, match[kind], match.start(kind))

    def _next(self) -> None:
        self._token = self._read(self._token.column + len(self._token.text))

    def _taken(self, *signs: str) -> str | None:
        token = self._token
        if token.kind == "sign" and token.text in signs:
            self._next()
            return token.text
        return None

    def _close(self, opening: str, token: _Token) -> None:
        if self._taken(")"):
            return
        if self._token.kind == "end":
            self._fail(f"{opening!r} is never closed", token, None)
        self._unexpected("')' or an operator")

    def _refuse(self, position: int) -> NoReturn:
        token = _Token("unknown", self._text[position], position)
        if token.text.isdigit() or token.text == ".":
            self._fail(
                "this is neither a number nor a field",
                token,
                "fields that begin with a digit stand in `backquotes`",
            )
        self._fail(f"{token.text!r} can't stand in an amount", token, _HINTS.get(token.text))

    def _unexpected(self, expected: str) -> NoReturn:
        token = self._token
        found = "it ends" if token.kind == "end" else f"there is {token.text!r}"
        hint = None
        if token.kind == "end" and self._text.rstrip().endswith("%"):
            hint = "% is the remainder; ten per cent of it is 0.10 * price"
        elif expected == "an operator" and token.text == ",":
            hint = "decimals have a point: 0.5"
        elif expected == "an operator" and token.kind in ("number", "name"):
            hint = "a product is written with *; a name with spaces stands in `backquotes`"
        self._fail(f"{expected} was expected, and {found}", token, hint)

    def _fail(self, what: str, token: _Token, hint: str | None) -> NoReturn:
        column = token.column + 1
        raise UsageError(f"amount expression, column {column}: {what}", hint=hint, column=column)


def _number_in(field: Any) -> dict[str, Any]:
    """Return a field as a decimal where it is a finite number, and null where it isn't.

    `$isNumber` is true of NaN and the infinities, which would go on into every figure. In the order of BSON
    values NaN is less than all numbers, and what is no number is less or more than all of them.
    """
    finite = {"$and": [{"$gt": [field, float("-inf")]}, {"$lt": [field, float("inf")]}]}
    return {"$cond": [finite, {"$toDecimal": field}, None]}


def _joined(operator: str, left: Any, right: Any) -> dict[str, Any]:
    """Return a sum or a product, a chain of them as one: the server adds and multiplies from left to right."""
    chain = left[operator] if isinstance(left, dict) and operator in left else [left]
    return {operator: [*chain, right]}


def _negative(value: Any) -> Any:
    if isinstance(value, Decimal128):
        return Decimal128(value.to_decimal().copy_negate())
    return {"$multiply": [Decimal128("-1"), value]}


def _divided(sign: str, left: Any, right: Any) -> dict[str, Any]:
    """Return a quotient or remainder, null where the divisor is zero: the server would refuse the whole pipeline."""
    operator = "$divide" if sign == "/" else "$mod"
    if isinstance(right, Decimal128) and right.to_decimal():
        return {operator: [left, right]}
    # Within `in` the left side may define a divisor of its own, which ends where it ends.
    guarded = {"$cond": [_NULL_DIVISOR, None, {operator: [left, "$$divisor"]}]}
    return {"$let": {"vars": {"divisor": right}, "in": guarded}}


def _unary(operator: str) -> Callable[[list[Any]], Any]:
    return lambda arguments: {operator: arguments[0]}


def _rounded(arguments: list[Any]) -> Any:
    digits = 0
    if len(arguments) == 2:
        given = arguments[1].to_decimal() if isinstance(arguments[1], Decimal128) else None
        low, high = _ROUND_DIGITS
        if given is None or given != int(given) or not low <= given <= high:
            raise ValueError(f"n is a whole number from {low} to {high}")
        digits = int(given)
    return {"$round": [arguments[0], digits]}


def _chosen(operator: str) -> Callable[[list[Any]], Any]:
    def make(arguments: list[Any]) -> Any:
        # $min and $max pass null over; a price that is missing must not make the other one the amount.
        names = [f"x{number}" for number in range(len(arguments))]
        references = [f"$${name}" for name in names]
        unknown = {"$in": [None, references]}
        return {
            "$let": {
                "vars": dict(zip(names, arguments, strict=True)),
                "in": {"$cond": [unknown, None, {operator: references}]},
            }
        }

    return make


def _if_null(arguments: list[Any]) -> Any:
    """Return the second argument for a field that is missing or null; a string there stays what it is: no number."""
    given, instead = arguments
    field = _field_of(given)
    if field is None:
        raise ValueError("x is a field")
    return {"$cond": [{"$lte": [field, None]}, instead, given]}


def _field_of(value: Any) -> Any:
    """Return the field of what `_number_in` made, and None of anything else."""
    if isinstance(value, dict) and (parts := value.get("$cond")) and isinstance(parts[1], dict):
        return parts[1].get("$toDecimal")
    return None


_FUNCTIONS: dict[str, tuple[str, int, int, Callable[[list[Any]], Any]]] = {
    "abs": ("abs(x)", 1, 1, _unary("$abs")),
    "round": ("round(x, n)", 1, 2, _rounded),
    "floor": ("floor(x)", 1, 1, _unary("$floor")),
    "ceil": ("ceil(x)", 1, 1, _unary("$ceil")),
    "min": ("min(x, y, ...)", 2, 20, _chosen("$min")),
    "max": ("max(x, y, ...)", 2, 20, _chosen("$max")),
    "ifnull": ("ifnull(x, y)", 2, 2, _if_null),
}


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    return 0
