"""A table that a caller holds, an array or a pandas DataFrame, by rows, names and cells.

DataFrames are told by what they can do, so that pandas is needed only by those who use it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from oar_opt.errors import InputError
from oar_opt.json_input import suggestion


@dataclass(frozen=True, eq=False)
class InputTable:
    """``data (n, columns)`` and the columns' names: a DataFrame's own, else x0, x1, ..."""

    data: Any
    names: tuple[str, ...]

    @classmethod
    def of(cls, data: Any) -> InputTable:
        """The table that an array or a DataFrame is.

        Raises
        ------
        InputError : it has not two dimensions, or two columns of one name.
        """
        is_frame = hasattr(data, "iloc") and hasattr(data, "columns")
        table: Any = data if is_frame else np.asarray(data)
        if table.ndim != 2 or 0 in table.shape:
            raise InputError("X", f"has the shape {table.shape}", "give at least one row and one column")
        names = tuple(str(name) for name in (table.columns if is_frame else (f"x{j}" for j in range(table.shape[1]))))
        for j, name in enumerate(names):
            if name in names[:j]:
                raise InputError("X", f"has two columns '{name}'", "rename one")
        return cls(table, names)

    @property
    def is_frame(self) -> bool:
        return hasattr(self.data, "iloc")

    def rows_like(self, rows: Any, where: str) -> Any:
        """One row (a sequence, or a mapping by column), or several, as a table with the same columns."""
        listed = rows if self._are_several(rows) else [rows]
        cells = [self._cells(row, f"{where}[{q}]") for q, row in enumerate(_each(listed))]
        if not self.is_frame:
            return np.array(cells, dtype=object if self.data.dtype == object else None)
        return type(self.data)(cells, columns=self.data.columns)

    def changed(self, cells: Mapping[tuple[int, int], Any]) -> Any:
        """A copy with other values in some cells; whole numbers become floats, and numbers objects, where they must."""
        if self.is_frame:
            changed = self.data.copy()
            for j in sorted({j for _, j in cells}):
                column = list(self.data.iloc[:, j])
                for i in (i for i, at in cells if at == j):
                    column[i] = cells[i, j]
                changed[self.data.columns[j]] = column
            return changed
        kind = np.result_type(self.data, *(np.asarray(value) for value in cells.values()))
        changed = self.data.astype(self.data.dtype if self.data.dtype == object else kind)
        for at, value in cells.items():
            changed[at] = value
        return changed

    @staticmethod
    def _are_several(rows: Any) -> bool:
        if isinstance(rows, Mapping):
            return False
        if hasattr(rows, "iloc"):
            return bool(rows.ndim == 2)
        listed = list(rows)
        return bool(listed) and (isinstance(listed[0], Mapping | list | tuple) or np.ndim(listed[0]) == 1)

    def _cells(self, row: Any, where: str) -> list[Any]:
        if isinstance(row, Mapping) or hasattr(row, "to_dict"):
            named = {str(name): value for name, value in dict(row).items()}
            for name in named:
                if name not in self.names:
                    raise InputError(where, f"'{name}' is no column", suggestion(name, self.names))
            missing = [name for name in self.names if name not in named]
            if missing:
                raise InputError(where, f"leaves out '{missing[0]}'", "give every column")
            return [named[name] for name in self.names]
        cells = list(row)
        if len(cells) != len(self.names):
            raise InputError(where, f"has {len(cells)} entries", f"give one per column: {len(self.names)}")
        return cells


def _each(rows: Any) -> list[Any]:
    if hasattr(rows, "iterrows"):
        return [row for _, row in rows.iterrows()]
    return list(rows)
