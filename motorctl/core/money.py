"""Amounts of money: read from text, kept as Decimal128, added exactly or refused.

Owns what an amount may look like, how many fraction digits a currency has, and how numbers that collections
hold (Decimal128, int, double) become exact decimals. Rounds nothing, ever; asks no server.

Python rounds to 28 digits, unseen, with `+`, `-`, `*` and even a bare minus sign: amounts are added,
subtracted and multiplied here, and nowhere else.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, Inexact, InvalidOperation, Overflow, Rounded
from typing import Any

from bson import Decimal128, Int64

from motorctl.core.currencies import MINOR_UNITS
from motorctl.errors import RefusedError, UsageError

MOST_DIGITS = 34
"""Digits of a Decimal128: IEEE 754-2008, decimal128."""
DOUBLE_DIGITS = 15
"""Digits of a decimal that a double is sure to give back: IEEE 754 binary64, C's DBL_DIG."""
DIGITS = 2
"""Digits behind the point where no currency says otherwise: none named, an unknown one, one without a minor unit."""

_AMOUNT = re.compile(r"(\d+)(?:\.(\d+))?", re.ASCII)
# Wide enough that no sum or product of two decimals of 34 digits is ever rounded on the way to being judged.
_WIDE = Context(
    prec=14_000, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[Inexact, InvalidOperation, Overflow], capitals=1
)
# What nearly every sum is done with: it raises where a digit would go.
_NARROW = Context(prec=MOST_DIGITS, traps=[Inexact, Rounded, InvalidOperation, Overflow])
_UNITS = tuple(Decimal(1).scaleb(-places) for places in range(MOST_DIGITS + 1))
_LONGEST_SHOWN = 60
_PATTERN = "an amount is digits with a point before the cents, as 19.99"


def digits(currency: Any) -> int:
    """Return how many digits a currency has behind the point; 2 where none is named or the list knows none."""
    found = MINOR_UNITS.get(currency.upper()) if isinstance(currency, str) else None
    return DIGITS if found is None else found


def amount(text: str, *, zero: bool = False) -> Decimal:
    """Return the amount that a text like `19.99` holds, with the digits that it has there; `zero` permits 0.

    Digits 0 to 9 and one point, blanks around them at most. Raises UsageError (2) for all else: signs,
    exponents, separators, NaN, more than 34 digits.
    """
    plain = text.strip(" \t\r\n")
    match = _AMOUNT.fullmatch(plain)
    if match is None:
        raise UsageError(f"{_quoted(text)} is not an amount", hint=_hint(plain))
    count = len(f"{match[1]}{match[2] or ''}".lstrip("0"))
    if count > MOST_DIGITS or len(match[2] or "") > MOST_DIGITS:
        raise UsageError(
            f"{_quoted(plain)} is not an amount: it has more than {MOST_DIGITS} digits", hint=_PATTERN
        )
    if not count and not zero:
        raise UsageError(f"{_quoted(plain)} is not an amount: it is more than 0", hint=_PATTERN)
    return Decimal(plain)


def fitting(value: Decimal, currency: Any) -> Decimal:
    """Return an amount with its currency's digits: 10 is 10.00.

    Raises UsageError (2) where it has more of them, zeros too: `10.000` is ten to some and ten thousand to
    others. Also where it has more than 34 digits then.
    """
    places = digits(currency)
    name = str(currency) if currency else "an amount without a currency"
    written = _behind(value)
    if written > places:
        takes = f"{places} digits" if places else "no digits"
        shorter = _places(value, places)
        raise UsageError(
            f"{shown(value)} has {written} digits behind the point; {name} takes {takes}",
            hint=f"{shown(shorter)}, if that is meant" if shorter is not None else None,
        )
    found = _places(value, places)
    if found is None or _length(found) > MOST_DIGITS:
        raise UsageError(f"{shown(value)} has more than {MOST_DIGITS} digits with those behind the point")
    return found


def exact(stored: Any, *, places: int | None = None, of: str = "") -> Decimal:
    """Return the decimal that a stored number is, exactly, written out: 1E+3 is 1000, and a zero has no sign.

    `places` are the digits of its currency: the decimal has as many, or more where it has to. A double is the
    shortest decimal that reads back as that double (as Python and JavaScript show it). With `places`, or the
    digits that it shows, behind the point it has at most 15: beyond, the next double is further away than
    the last digit, and nobody can tell which amount was meant.

    Raises RefusedError (6) for what is no exact amount, and says of what: `of` is "the balance of account a".
    """
    value: Decimal | None = None
    reason = hint = ""
    match stored:
        case bool():
            reason = f"{str(stored).lower()} is no number"
        case Decimal128():
            value = stored.to_decimal()
            if value and places is not None and value.same_quantum(_UNITS[places]) and value.is_finite():
                return value  # as this program writes it
        case int() | Int64():
            value = Decimal(int(stored))
        case float():
            value = Decimal(repr(stored))
        case None:
            reason = "there is none"
        case _:
            reason = f"{_quoted(str(stored))} is no number"
    if value is not None and not value.is_finite():
        value, reason = None, f"{stored} is no number"
    if value is not None:
        found = _written(value, places)
        if found is None:
            reason = f"{stored} has more than {MOST_DIGITS} digits when it is written out"
        elif isinstance(stored, float) and not _sure(found, places):
            reason = (
                f"{stored!r} is a double with more digits than its currency's {places}"
                if places is not None and _behind(found) > places and _length(found) <= DOUBLE_DIGITS
                else f"{stored!r} is a double, and as such no exact amount"
            )
            hint = 'store it as a decimal, NumberDecimal("..."), with the amount that is meant'
        else:
            return found
    raise RefusedError(f"{of or 'an amount'}: {reason}", hint=hint or None)


def added(one: Decimal, other: Decimal) -> Decimal:
    """Return the exact sum. Raises RefusedError (6) where it has more than 34 digits."""
    try:
        return _NARROW.add(one, other)
    except ArithmeticError:
        return _within(_WIDE.add(one, other), "the sum")


def subtracted(one: Decimal, other: Decimal) -> Decimal:
    """Return the exact difference. Raises RefusedError (6) where it has more than 34 digits."""
    try:
        return _NARROW.subtract(one, other)
    except ArithmeticError:
        return _within(_WIDE.subtract(one, other), "the difference")


def times(one: Decimal, count: int) -> Decimal:
    """Return the exact product with a whole number. Raises RefusedError (6) where it has more than 34 digits."""
    return _within(_WIDE.multiply(one, Decimal(count)), "the product")


def stored(value: Decimal) -> Decimal128:
    """Return what the database holds for an amount: the same number. Raises RefusedError (6) for one that it can't."""
    # bson would round the 35th digit away without a word.
    return Decimal128(_within(value, "the amount"))


def shown(value: Decimal) -> str:
    """Return an amount as JSON and tables have it: plain digits, never an exponent."""
    return f"{value:f}"


def _within(value: Decimal, what: str) -> Decimal:
    """Return a number of at most 34 digits, without zeros at the end that it has no room for."""
    found = _written(value, None)
    if found is None or _length(found) > MOST_DIGITS:
        raise RefusedError(f"{what} has more than {MOST_DIGITS} digits")
    return found


def _written(value: Decimal, places: int | None) -> Decimal | None:
    """Return a finite number with at least `places` digits behind the point, no exponent and no signed zero.

    None for one that takes more than 34 digits. Zeros at its end go where it would have too many digits,
    or, with `places`, more than those.
    """
    exponent = int(value.as_tuple().exponent)
    if not value:
        written = -exponent if -MOST_DIGITS <= exponent <= 0 else 0
        return Decimal(0).scaleb(-(written if places is None else places))
    if value.adjusted() > MOST_DIGITS:
        return None
    if exponent > 0:
        value = _WIDE.quantize(value, Decimal(1))
    least = 0 if places is None else places
    if exponent < -least and (places is not None or _length(value) > MOST_DIGITS):
        short = _WIDE.normalize(value)
        value = _places(short, max(least, -int(short.as_tuple().exponent))) or value
    elif exponent > -least:
        longer = _places(value, least)
        # 34 digits before the point leave no room for cents: the number is as exact without them.
        value = value if longer is None or _length(longer) > MOST_DIGITS else longer
    return None if _length(value) > MOST_DIGITS else value


def _places(value: Decimal, places: int) -> Decimal | None:
    """Return the number with so many digits behind the point, None where it isn't the same number then."""
    try:
        return _WIDE.quantize(value, Decimal(1).scaleb(-places))
    except (Inexact, InvalidOperation):
        return None


def _length(value: Decimal) -> int:
    """Return how many digits a number has when it is written out, without a zero before the point."""
    return max(value.adjusted() + 1, 0) + _behind(value)


def _sure(value: Decimal, places: int | None) -> bool:
    """Tell whether a double near this amount is this amount's alone, among those with its currency's digits."""
    return (places is None or _behind(value) <= places) and _length(value) <= DOUBLE_DIGITS


def _behind(value: Decimal) -> int:
    """Return how many digits a number has behind the point."""
    return max(0, -int(value.as_tuple().exponent))


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…")


def _hint(text: str) -> str:
    """Return how to write the amount that a text seems to mean."""
    western = "".join(
        str(unicodedata.decimal(c)) if c.isdecimal() else c for c in unicodedata.normalize("NFKC", text)
    )
    if text[:1] in ("-", "−"):
        return "an amount has no sign: what goes the other way is a transfer the other way"
    if re.fullmatch(r"\d+(\.\d*)?[eE][+-]?\d{1,5}", western):
        return "write out all its digits, without an exponent"
    if re.fullmatch(r"\d{1,3}([,.])\d{3}", western) and "," in western:
        whole, part = western.split(",")
        return f"a comma is a thousand to some and a point to others: {whole}{part}, or {whole}.{part}"
    bare = re.sub(r"^(?:[^\W\d_]+|[$€£¥₹+])\s*|\s*(?:[^\W\d_]+|[$€£¥₹])$", "", western)
    if re.fullmatch(r"\d+(,\d{3})*\.\d*|\d+(,\d{3})+|\d*\.\d+", bare):
        meant = bare.replace(",", "")  # 1,000.00
    elif re.fullmatch(r"\d{1,3}(\.\d{3})+,\d+|\d+,\d+|\d{1,3}(\.\d{3}){2,}", bare):
        meant = bare.replace(".", "").replace(",", ".")  # 1.000,00
    elif re.fullmatch(r"\d{1,3}([ _'’]\d{3})+([.,]\d+)?|\d+(_\d+)+(\.\d+)?", bare):
        meant = re.sub(r"[ _'’]", "", bare).replace(",", ".")
    else:
        meant = bare
    meant = re.sub(r"^\.(?=\d)", "0.", meant).removesuffix(".")
    match = _AMOUNT.fullmatch(meant)
    if match is None or len(meant) > MOST_DIGITS:
        return _PATTERN
    if western != text and meant == western:
        return f"with the digits 0 to 9: {meant}"
    if text[-1:].isalpha() or text[:1].isalpha() or re.search(r"[$€£¥₹]", text):
        return f"the number alone, the currency is the account's: {meant}"
    return f"write {meant}"
