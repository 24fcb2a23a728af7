"""Menus: our formulations against the textbook's single-level program, on seeded instances.

    python -m oar_opt.bench.menus --limit 300 --methods ours,textbook --results FILE.jsonl
    python -m oar_opt.bench.menus --report FILE.jsonl [FILE.jsonl ...]

The instances are those of :mod:`oar_opt.bench.menu_instances`, the rival is :mod:`oar_opt.bench.textbook`, and
:mod:`oar_opt.bench.runs` says what a method is and how it is measured. Every run has a process of its own and leaves
one line in the file of results; a run whose line is there already is not repeated. The report of
:mod:`oar_opt.bench.comparison` comes at the end, or by itself with ``--report``. The exit code is 1 where two runs
contradict each other.
"""

from __future__ import annotations

from oar_opt.bench.command import Benchmark
from oar_opt.bench.comparison import report
from oar_opt.bench.menu_instances import menu_instances

BENCHMARK = Benchmark("menus", (__doc__ or "").split("\n")[0], menu_instances, report, limit=300.0)
main, tell = BENCHMARK.main, BENCHMARK.tell

if __name__ == "__main__":
    BENCHMARK.as_program()
