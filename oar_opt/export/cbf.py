"""The Conic Benchmark Format, version 3, of programs over linear rows and second-order cones.

The program is ``min or max c'x`` under ``b - A x in K`` (:mod:`oar_opt.cone_form`); the format states rows as ``a'x +
b`` in cones ``L=`` (zero), ``L+`` (at least 0) and ``Q`` (second order), so that the signs of ``A`` are turned round.
Columns have no names in the format; the map lists them by number. It does not apply to programs with whole numbers.

Reference: H. A. Friberg, "CBLIB 2014: a benchmark library for conic mixed-integer and continuous optimization", 2016.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from oar_opt.cone_form import ConeForm


def cbf_text(form: ConeForm, name: str) -> str:
    """The program as the text of a file."""
    rows, columns = form.A.shape
    cones = [("L=", form.zero)] * (form.zero > 0) + [("L+", form.nonnegative)] * (form.nonnegative > 0)
    cones += [("Q", size) for size in form.second_order]
    A = form.A.tocoo()
    entries = sorted(zip(A.row.tolist(), A.col.tolist(), (-A.data).tolist(), strict=True))
    parts = [
        f"# {name}\nVER\n3\n",
        f"OBJSENSE\n{'MAX' if form.maximises else 'MIN'}\n",
        f"VAR\n{columns} 1\nF {columns}\n",
        f"CON\n{rows} {len(cones)}\n" + "".join(f"{kind} {size}\n" for kind, size in cones),
        _listed("OBJACOORD", ((j, float(form.c[j])) for j in np.flatnonzero(form.c).tolist())),
        _listed("ACOORD", (entry for entry in entries if entry[2])),
        _listed("BCOORD", ((i, float(form.b[i])) for i in np.flatnonzero(form.b).tolist())),
    ]
    return "\n".join(part for part in parts if part)


def _listed(key: str, entries: Iterable[tuple[float, ...]]) -> str:
    lines = [" ".join(map(repr, entry)) for entry in entries]
    return f"{key}\n{len(lines)}\n" + "".join(f"{line}\n" for line in lines) if lines else ""
