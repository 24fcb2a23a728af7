"""Feature changes: our formulations against plain SCIP on the textbook's bilinear program, on seeded instances.

    python -m oar_opt.bench.features --limit 120 --methods ours,textbook --results FILE.jsonl
    python -m oar_opt.bench.features --report FILE.jsonl [FILE.jsonl ...]

The instances are those of :mod:`oar_opt.bench.feature_instances`, the rival is :mod:`oar_opt.bench.textbook_features`;
all else is as in :mod:`oar_opt.bench.menus`. The report has a second part, :func:`oar_opt.bench.comparison.gap_report`:
over a continuum many runs end with a gap, so it says how large the gaps are, which runs are closed to a gap of 1e-3,
and where ours is worse.
"""

from __future__ import annotations

from oar_opt.bench.command import Benchmark
from oar_opt.bench.comparison import Comparison, gap_report, report
from oar_opt.bench.feature_instances import feature_instances


def full_report(comparison: Comparison) -> str:
    return f"{report(comparison)}\n\n{gap_report(comparison)}"


BENCHMARK = Benchmark("features", (__doc__ or "").split("\n")[0], feature_instances, full_report, limit=120.0)
main, tell = BENCHMARK.main, BENCHMARK.tell

if __name__ == "__main__":
    BENCHMARK.as_program()
