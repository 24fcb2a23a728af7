"""Writes a formulation's program as a file for other solvers, with what its names mean, a start, and a check.

Beside ``FILE`` come ``FILE.map.json`` (:mod:`oar_opt.export.name_map`), ``FILE.sol`` with a verified start and
``FILE.solu`` with what is known of the optimum (:mod:`oar_opt.export.start`). The file is read back by other programs
and compared (:mod:`oar_opt.export.round_trip`), since people's writers and readers have lost rows and constants without
a word. The bilevel program itself goes into a pair of files (:mod:`oar_opt.export.bilevel`). A solver's answer comes
back through :mod:`oar_opt.export.answers` and :mod:`oar_opt.export.answer_import`.
"""

from __future__ import annotations

from oar_opt.export.exporting import Exported, export
from oar_opt.export.formats import FORMATS

__all__ = ["FORMATS", "Exported", "export"]
