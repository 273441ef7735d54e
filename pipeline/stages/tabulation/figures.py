"""How the tables reckon: quarters as whole numbers, money in pence, ratios in whole units of their last decimal.

Everything is integer arithmetic, so that DuckDB and Spark, whatever their idea of dividing decimals, come to the same last digit on any number of
threads. Nothing here knows a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import ibis
import ibis.expr.types as ir

PUBLISHED = "published"
UNAVAILABLE = "x"
NOT_APPLICABLE = "z"
ALL = "all"
RATIO_DECIMALS = 4

_QUARTERS_IN_YEAR = 4
_MONTHS_IN_QUARTER = 3
_DIGITS = 18
_MOST_DIGITS = 38


def number_of(quarter: ir.StringValue) -> ir.IntegerValue:
    """Return the running number of a quarter written like 2024-Q1; neighbours differ by one."""
    return quarter.substr(0, 4).cast("int64") * _QUARTERS_IN_YEAR + quarter.substr(6, 1).cast("int64") - 1


def number_of_day(day: ir.DateValue) -> ir.IntegerValue:
    """Return the running number of the quarter in which a day lies."""
    return day.year().cast("int64") * _QUARTERS_IN_YEAR + day.quarter().cast("int64") - 1


def written(number: ir.IntegerValue) -> ir.StringValue:
    """Return a quarter as it is written, from its running number."""
    return _year(number).cast("string").lpad(4, "0") + ibis.literal("-Q") + _place(number).cast("string")


def last_day(number: ir.IntegerValue) -> ir.DateValue:
    """Return the last day of a quarter."""
    following = number + 1
    month = (_place(following) - 1) * _MONTHS_IN_QUARTER + 1
    return ibis.date(_year(following), month, ibis.literal(1)) - ibis.interval(days=1)


def _year(number: ir.IntegerValue) -> ir.IntegerValue:
    return number // _QUARTERS_IN_YEAR


def _place(number: ir.IntegerValue) -> ir.IntegerValue:
    return number % _QUARTERS_IN_YEAR + 1


def pence(amount: ir.DecimalValue) -> ir.IntegerValue:
    """Return an amount of pounds with two decimals as whole pence."""
    return (amount * 100).cast("int64")


def pounds(whole_pence: ir.IntegerValue) -> ir.DecimalValue:
    """Return whole pence as pounds with two decimals."""
    return with_decimals(whole_pence, 2)


def with_decimals(units: ir.IntegerValue, decimals: int) -> ir.DecimalValue:
    """Return whole units of the last decimal as the number that they stand for.

    Engines give a product more decimals than its factors, and Ibis, which does not, would leave out a cast to a type that it takes for granted: hence
    the step over a wider one.
    """
    kind, wide = (f"decimal({digits}, {decimals})" for digits in (_DIGITS, _MOST_DIGITS))
    return (units.cast(kind) * ibis.literal(Decimal(1).scaleb(-decimals), kind)).cast(wide).cast(kind)


def quotient(numerator: ir.IntegerValue, denominator: ir.IntegerValue, decimals: int = 0) -> ir.IntegerValue:
    """Divide and round half to even, in whole units of the last decimal; null when a part is null or the denominator is 0.

    Args: denominator, not negative. Half a unit is added and the fraction dropped; an exact half that would land on an odd number steps back. What
    is left over is taken off before the division, since engines divide integers as floating-point numbers.
    """
    unit = denominator.nullif(0) * 2
    raised = numerator.abs() * (2 * 10**decimals) + denominator
    rounded = ((raised - raised % unit) / unit).round().cast("int64") - ibis.ifelse(raised % (unit * 2) == unit, 1, 0)
    return ibis.ifelse(numerator < 0, -1, 1) * rounded


def status(value: ir.Value, is_not_applicable: ir.BooleanValue | None = None) -> ir.StringValue:
    """Say how to read a figure: published where it has a value, else z where it does not apply, else x."""
    if is_not_applicable is None:
        return ibis.ifelse(value.notnull(), PUBLISHED, UNAVAILABLE)
    return ibis.cases((value.notnull(), PUBLISHED), (is_not_applicable.fill_null(False), NOT_APPLICABLE), else_=UNAVAILABLE)


def attach(rows: ir.Table, more: ir.Table, keys: Sequence[str]) -> ir.Table:
    """Return rows with the columns of another table beside them where the keys agree, nulls where nothing agrees."""
    joined = rows.left_join(more, list(keys), rname="{name}_of_more")
    return joined.drop(*[f"{key}_of_more" for key in keys])
