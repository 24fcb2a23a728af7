"""Instances from a table in a csv file and a JSON file with what the collective may do.

:mod:`oar_opt.conversion.converting` has the whole, :mod:`oar_opt.conversion.table_file` reads the table,
:mod:`oar_opt.conversion.columns` infers what its columns hold, :mod:`oar_opt.conversion.wishes` reads the options.
"""

from __future__ import annotations

from oar_opt.conversion.converting import Converted, convert
from oar_opt.conversion.wishes import Wishes

__all__ = ["Converted", "Wishes", "convert"]
