"""What a table became, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oar_opt.conversion.converting import Converted
from oar_opt.problem import FeatureType

if TYPE_CHECKING:
    from rich.console import RenderableType


def converted_words(converted: Converted) -> RenderableType:
    """Which column became what, as a table."""
    from rich.table import Table

    caption = None
    if converted.left_out is not None:
        caption = f"row {converted.left_out}, the query, is no record to learn from (weight 0; --keep-query)"
    table = Table(
        caption=caption, title=f"{converted.file.path.name}: {converted.problem.n} records, target '{converted.target}'"
    )
    for head in ("column", "type", "values", "features"):
        table.add_column(head)
    names, X = [feature.name for feature in converted.problem.features], converted.problem.records.X
    for column in converted.columns:
        if column.type is FeatureType.CATEGORICAL:
            values = ", ".join(column.categories[:4]) + (", ..." if len(column.categories) > 4 else "")
        else:
            own = X[:, names.index(column.name)]
            values = f"{own.min():g} to {own.max():g}"
        table.add_row(column.name, str(column.type), values, str(len(column.features)))
    return table
