"""Releases from before an erasure, as the disclosure machinery is told of them: what they showed then, beside what they would show now.

An erasure takes rows away for good, so nobody can say any more what a hidden figure of an earlier release was. The audit therefore looks at such a
release as if the person had never been in it: the same figures shown, the same hidden, with the values of today. That is what an attacker has who
knows whom the erasure was of, so it tells no less than they know. A figure that was shown with another value is told as one that has changed.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from pipeline.domain.tables import Definitions
from pipeline.stages.comparison import STATUS

Tables = Mapping[str, pa.Table]


def as_redacted(public: Tables, true: Tables, definitions: Definitions) -> Tables:
    """Return the tables of an earlier release with the values that its shown figures have without the erased rows; what it hid stays hidden.

    Args: public, as it was published; true, tabulated again without the erased rows, before protection.
    """
    return {name: _with_values(name, table, true[name], definitions) if name in true else table for name, table in public.items()}


def as_published(true: Tables, public: Tables, definitions: Definitions) -> Tables:
    """Return the tables of an earlier release, before protection and without the erased rows, with the values that it really showed."""
    return {name: _with_values(name, table, public[name], definitions) if name in public else table for name, table in true.items()}


def _with_values(name: str, table: pa.Table, values: pa.Table, definitions: Definitions) -> pa.Table:
    """Return a table in which each figure that both tables show has the value of the other; a row that the other lacks is left as it is."""
    key = definitions.table("published", name).primary_key
    if not set(key) <= {*table.column_names} & {*values.column_names}:
        return table
    where = {row: number for number, row in enumerate(zip(*(values[column].to_pylist() for column in key), strict=True))}
    places = [where.get(row) for row in zip(*(table[column].to_pylist() for column in key), strict=True)]
    for column in [column for column in table.column_names if f"{column}{STATUS}" in table.column_names and column in values.column_names]:
        other = values[column].to_pylist()
        mine = [
            cell if cell is None or place is None or other[place] is None else other[place]
            for cell, place in zip(table[column].to_pylist(), places, strict=True)
        ]
        table = table.set_column(table.column_names.index(column), column, pa.chunked_array([pa.array(mine, table.schema.field(column).type)]))
    return table
