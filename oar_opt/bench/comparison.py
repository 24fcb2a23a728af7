"""What a file of runs says: one table, shifted geometric means, and everything that does not fit together.

A run that is not closed (optimal or infeasible) counts as its limit, whatever ended it, and so does a closed one whose
answer does not survive re-training. The mean over the instances that all methods support is ``(prod (t + s))^(1/m) -
s`` with the shift ``s`` = 1 second, which keeps instances of a few milliseconds from deciding it (T. Achterberg,
"Constraint Integer Programming", 2007).

Contradictions are sought among all pairs of runs of one instance, closed or not: a verified objective better than
another run's bound, and an answer where another run says that there is none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

from oar_opt.bench.runs import OURS, TEXTBOOK, UNSUPPORTED, Run
from oar_opt.result import Status, relative_gap

SHIFT = 1.0
ORDER = {OURS: 0, TEXTBOOK: 2}
TOLERANCE = 1e-4
"""Of a contradiction, relative to 1 or the value."""
WITHIN = 1e-3
"""The relative gap to which a run over a continuum counts as closed."""
TIMED = 0.5
"""Seconds of a run that make its share of a processor worth telling."""
SLOWER = 1.0
"""Seconds that make a difference."""


@dataclass(frozen=True)
class Comparison:
    """Runs by instance and method, the latest of each; instances in the order of their first line, ours first."""

    runs: Mapping[tuple[str, str], Run]
    instances: tuple[str, ...]
    methods: tuple[str, ...]

    @classmethod
    def of(cls, runs: Iterable[Run]) -> Comparison:
        """Lines of an instance that has changed since are left out: only the digest of its last line counts."""
        listed = list(runs)
        latest = {run.instance: run.digest for run in listed}
        kept = {(run.instance, run.method): run for run in listed if run.digest == latest[run.instance]}
        instances = tuple(dict.fromkeys(instance for instance, _ in kept))
        methods = dict.fromkeys(method for _, method in kept)
        return cls(kept, instances, tuple(sorted(methods, key=lambda method: ORDER.get(method, 1))))

    def shared(self, methods: Sequence[str]) -> list[str]:
        """Instances that all these methods were run on and support."""
        found = []
        for instance in self.instances:
            lines = [self.runs.get((instance, method)) for method in methods]
            if all(run is not None and run.status != UNSUPPORTED for run in lines):
                found.append(instance)
        return found

    def closed(self, method: str) -> set[str]:
        return {i for i in self.instances if (i, method) in self.runs and self.runs[i, method].is_closed}

    def mean(self, method: str, instances: Sequence[str]) -> float:
        return shifted_mean([counted_seconds(self.runs[instance, method]) for instance in instances])


def counted_seconds(run: Run) -> float:
    return min(run.seconds, run.limit) if run.is_closed else run.limit


def shifted_mean(seconds: Sequence[float], shift: float = SHIFT) -> float:
    """``(prod (t + s))^(1/m) - s``."""
    return math.exp(sum(math.log(t + shift) for t in seconds) / len(seconds)) - shift


# -- contradictions ---


def contradictions(comparison: Comparison) -> list[str]:
    """Pairs of runs that cannot both be right, in words."""
    found = []
    for instance in comparison.instances:
        runs = [run for (name, _), run in comparison.runs.items() if name == instance]
        for one, other in permutations(runs, 2):
            words = _refutes(one, other)
            found += [f"{instance}: {words}"] if words else []
        found += [f"{instance}: {words}" for run in runs if (words := _refutes_itself(run))]
    return found


def _refutes(one: Run, other: Run) -> str | None:
    """How the verified answer of ``one`` refutes what ``other`` claims."""
    if one.objective is None:
        return None
    if other.status == Status.INFEASIBLE:
        return f"{one.method} has the answer {one.objective:.8g}, and {other.method} says that there is none"
    if other.bound is not None and _beyond(one, one.objective, other.bound):
        return f"{one.method} reaches {one.objective:.8g}, beyond the bound {other.bound:.8g} of {other.method}"
    return None


def _refutes_itself(run: Run) -> str | None:
    if run.objective is not None and run.bound is not None and _beyond(run, run.objective, run.bound):
        return f"{run.method} reaches {run.objective:.8g}, beyond its own bound {run.bound:.8g}"
    return None


def _beyond(run: Run, objective: float, bound: float) -> bool:
    excess = objective - bound if run.maximises else bound - objective
    return excess > TOLERANCE * max(1.0, abs(objective))


# -- text ---


def report(comparison: Comparison) -> str:
    """The whole report as text."""
    return "\n".join(
        [*_table(comparison), "", *_means(comparison), "", *_differences(comparison), "", *_unfit(comparison)]
    )


def _table(comparison: Comparison) -> list[str]:
    width = max(len(name) for name in (*comparison.instances, "instance"))
    label = max(len(name) for name in (*comparison.methods, "method"))
    row = f"{{:<{width}}} {{:<{label}}} {{:<20}} {{:>9}} {{:<11}} {{:>12}} {{:>12}} {{:>8}}  {{}}"
    head = ("instance", "method", "formulation", "seconds", "status", "objective", "bound", "gap", "")
    lines = [row.format(*head).rstrip()]
    for instance in comparison.instances:
        for method in comparison.methods:
            run = comparison.runs.get((instance, method))
            if run is None:
                continue
            verdict = "" if run.verified or run.objective is None else "NOT as claimed"
            cells = (_number(run.objective), _number(run.bound), _percent(run.gap), verdict)
            mark = "" if run.is_closed else ">"
            line = row.format(instance, method, run.formulation, f"{mark}{run.seconds:.2f}", run.status, *cells)
            lines.append(line.rstrip())
    return lines


def _means(comparison: Comparison) -> list[str]:
    methods = comparison.methods
    shared = comparison.shared(methods)
    counted = f"shifted geometric mean over {len(shared)} instances"
    lines = [f"{'method':<36} {'closed':>7} {'of':>4} {'processor':>10}   {counted}"]
    for method in methods:
        mine = comparison.shared([method])
        mean = f"{comparison.mean(method, shared):.2f} s" if shared else "-"
        closed = len(comparison.closed(method).intersection(mine))
        share = _processor_share([comparison.runs[instance, method] for instance in mine])
        lines.append(f"{method:<36} {closed:>7} {len(mine):>4} {share:>10}   {mean}")
    if shared:
        lines += [
            f"ratio {other} / {methods[0]}: "
            f"{comparison.mean(other, shared) / max(comparison.mean(methods[0], shared), 1e-9):.2f}"
            for other in methods[1:]
        ]
    return lines


def _processor_share(runs: Sequence[Run]) -> str:
    """How much of one processor the runs had of all their seconds; see :mod:`oar_opt.bench.runs`."""
    timed = [(run.cpu, run.seconds) for run in runs if run.cpu is not None and run.seconds > TIMED]
    seconds = sum(seconds for _, seconds in timed)
    return f"{100 * sum(cpu for cpu, _ in timed) / seconds:.0f} %" if seconds else "-"


def _differences(comparison: Comparison) -> list[str]:
    first, *rest = comparison.methods
    lines = []
    for one, other in [pair for method in rest for pair in ((first, method), (method, first))]:
        both = set(comparison.shared([one, other]))
        alone = sorted((comparison.closed(one) - comparison.closed(other)) & both)
        lines.append(f"closed by {one} and not by {other}: {len(alone)}")
        lines += [f"  {name}" for name in alone]
    return lines


def _unfit(comparison: Comparison) -> list[str]:
    found = contradictions(comparison)
    broken = [run for run in comparison.runs.values() if run.objective is not None and not run.verified]
    lines = [f"contradictions beyond {TOLERANCE:g}: {len(found) or 'none'}", *(f"  {words}" for words in found)]
    if broken:
        lines.append("claims that re-training does not give:")
        lines += [f"  {r.instance}, {r.method}: {_number(r.claimed)} for {_number(r.objective)}" for r in broken]
    return lines


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"


def _percent(gap: float | None) -> str:
    return "-" if gap is None else f"{100 * gap:.2f} %"


# -- gaps ---


def is_near(run: Run, within: float = WITHIN) -> bool:
    """Whether a run is closed to that relative gap, by the objective of re-training; infeasible counts as closed."""
    if run.status == Status.INFEASIBLE:
        return True
    return run.objective is not None and run.bound is not None and relative_gap(run.objective, run.bound) <= within


def gap_report(comparison: Comparison, within: float = WITHIN) -> str:
    """Seconds, status and relative gap of every method side by side; what is closed to a gap; where the first method
    is worse than another one."""
    methods = comparison.methods
    lines = [*_side_by_side(comparison), ""]
    for method in methods:
        mine = comparison.shared([method])
        near = [name for name in mine if is_near(comparison.runs[name, method], within)]
        lines.append(f"closed to a gap of {within:g} by {method}: {len(near)} of {len(mine)}")
    for other in methods[1:]:
        found = disadvantages(comparison, methods[0], other, within)
        lines += ["", f"where {methods[0]} is worse than {other}: {len(found) or 'nowhere'}"]
        lines += [f"  {words}" for words in found]
    return "\n".join(lines)


def _side_by_side(comparison: Comparison) -> list[str]:
    width = max(len(name) for name in (*comparison.instances, "instance"))
    label = max(30, *(len(method) for method in comparison.methods))
    cell = "{:>9} {:<11} {:>8}"
    head = cell.format("seconds", "status", "gap")
    lines = ["  ".join([" " * width, *(f"{method:>{label}}" for method in comparison.methods)])]
    lines.append("  ".join([f"{'instance':<{width}}", *(f"{head:>{label}}" for _ in comparison.methods)]))
    for name in comparison.instances:
        cells = []
        for method in comparison.methods:
            run = comparison.runs.get((name, method))
            gap = None if run is None or run.objective is None or run.bound is None else run.gap
            text = "" if run is None else cell.format(f"{run.seconds:.2f}", run.status, _short(gap))
            cells.append(f"{text:>{label}}")
        lines.append("  ".join([f"{name:<{width}}", *cells]).rstrip())
    return lines


def disadvantages(comparison: Comparison, one: str, other: str, within: float = WITHIN) -> list[str]:
    """Every way in which ``one`` is worse than ``other`` on an instance that both support, in words.

    Slower: both are closed to the gap, and it took more than a second longer. Answers and bounds are worse only beyond
    :data:`TOLERANCE`.
    """
    found = []
    for name in comparison.shared([one, other]):
        mine, others = comparison.runs[name, one], comparison.runs[name, other]
        words = [*_worse_end(mine, others, within), *_worse_numbers(mine, others)]
        found += [f"{name}: {'; '.join(words)}"] if words else []
    return found


def _worse_end(mine: Run, others: Run, within: float) -> list[str]:
    if not is_near(others, within):
        return []
    if not is_near(mine, within):
        return ["not closed, and the other is"]
    slower = counted_end(mine) - counted_end(others)
    return [f"slower by {slower:.1f} s"] if slower > SLOWER else []


def counted_end(run: Run) -> float:
    return min(run.seconds, run.limit)


def _worse_numbers(mine: Run, others: Run) -> list[str]:
    words = []
    sign = 1.0 if mine.maximises else -1.0
    for what, own, rival, side in (
        ("answer", mine.objective, others.objective, sign),
        ("bound", mine.bound, others.bound, -sign),
    ):
        if rival is None or (what == "bound" and Status.INFEASIBLE in (mine.status, others.status)):
            continue
        if own is None:
            words.append(f"no {what}, and the other has {_number(rival)}")
        elif side * (rival - own) > TOLERANCE * max(1.0, abs(own)):
            words.append(f"{what} {_number(own)} for {_number(rival)}")
    return words


def _short(gap: float | None) -> str:
    return "-" if gap is None else f"{gap:.1e}"
