"""Gradient steps under feature changes, or under menus with the logistic loss, written out for SCIP.

Statement
---------
Letters of :mod:`formulations.single_level.unrolled`, whose rows for steps, means, finite options, goals and budgets
hold here. Member ``i`` picks one finite option or one change set ``a`` (``z_ia``, :mod:`oar_opt.changes`), which turns
``xhat`` into ``xhat + sum_j h_j tau_j E_j`` with ``h_j`` the most that feature ``j`` moves and ``|tau_j| <= z``; the
rules of change and their costs are the rows of :mod:`oar_opt.change_program`. In step ``t`` a set has

    f = xhat'theta_t + sum_j h_j theta_tj tau_j,     pulls (z g) xhat + sum_j h_j u_j E_j,     u_j = (z g) tau_j

with ``g = s l'(y, f)``. Two products for each feature and step are all there is: ``theta_tj tau_j`` and ``u_j``.

- *First step.* ``theta_0`` is given, so ``f`` is linear in ``tau``, and ``z f = f - xhat'theta_0 (1 - z)``: the squared
  loss has pulls linear in the move, the hinge needs one binary at most.
- *Squared loss.* ``z g = 2 s (z f - y z)``, with ``z f`` by the rows of ``unrolled``; ``u_j`` is bilinear.
- *Hinge.* ``z g = -s y e`` with a binary ``e <= z``, so ``u_j = -s y e tau_j`` is linear by ``l e <= p <= u e``, ``l (z
  - e) <= tau_j - p <= u (z - e)`` for ``l <= tau_j <= u``. With one step all rows are linear but those of round balls.
- *Logistic loss.* ``g = -s y p`` and ``p = 1 / (1 + exp(y f))``, for every option, set and record of nobody, with the
  lines that bound the curve over the interval of ``f``; ``z p`` by the rows of a product with a binary.
- *Features in up to 12 steps* have a binary for each value, and then their products are linear.
- *Redundant.* Where the ball has radius ``r``, ``|| h u / scale || <= r |z g|``, with the chord of ``|g|`` over its
  interval in its place.

Intervals are those of :mod:`oar_opt.unrolled_ranges`, over changes too. Required margins are stated half the
feasibility tolerance above what the replay must reach if there are change sets, since a continuum of moves ends exactly
on such rows; so the bound is one for margins that high.

Hypotheses
----------
Update ``gradient``. Some member has room to move features (menus, labels and withholding may be mixed in), or the loss
is logistic and ``T > 1``. No ``max_loss_increase``. Finite intervals, as for ``unrolled``; for the logistic loss none
beyond 16. A solver with quadratic rows, and exponentials for the logistic loss: SCIP.

Exactness
---------
Exact but at the hinge's kink, by the argument of ``unrolled``: for fixed moves the rows leave the rule's pulls. At ``y
f = 1`` the program takes whichever pull it likes, also in the first step. With one record there, that makes the value
of the program the supremum of the moves' values, which need not be attained: answers are then taken from beside the
kink, at a distance of 1e-8 to 1e-5 over scaled features. Where several records lie at kinks at once the program may
take pulls that no points nearby have together: there it is a relaxation. Its bound holds for all moves; answers are
replayed, and where they fall short of the bound the gap says so. Answers are made to obey budgets to the last digit.
Bounds are the solver's word within its tolerance of 1e-8 on every row. A pool of several best answers means nothing in
a continuum and is refused.

Size
----
With ``K`` options, ``A`` sets and ``D`` the features with room summed over sets: ``K + A`` binaries, and ``2 D T - D``
bilinear terms (hinge: ``D (T - 1)`` and up to ``K + A + n`` binaries a step); for the logistic loss one exponential for
each record, option and set in each step but the first, where only sets have one. ``D T`` decides.

Reference
---------
G. P. McCormick, "Computability of global solutions to factorable nonconvex programs", 1976; L. Munoz-Gonzalez et al.,
"Towards Poisoning of Deep Learning Algorithms with Back-gradient Optimization", 2017 (moved records under unrolled
steps, by local search). The form with two products for each feature and the intervals are derived here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from oar_opt.contracts import Formulation, Program, WorkedExample, line_example, line_with_room
from oar_opt.errors import UnsupportedError
from oar_opt.problem import LearnerSpec, RecourseProblem
from oar_opt.result import Request
from oar_opt.solver_features import SolverFeature
from oar_opt.unrolled_changes import UnrolledChangeModel, too_steep
from oar_opt.unrolled_program import no_gradient
from oar_opt.update_settings import GradientSettings, StepLoss, gradient_update


class UnrolledNonlinear(Formulation):
    """See the module's docstring."""

    name = "unrolled_nonlinear"
    rank = 41
    exportable = True
    needs = frozenset({SolverFeature.QUADRATIC})
    excludes = False

    def accepts(self, problem: RecourseProblem) -> str | None:
        reason = no_gradient(problem) or _is_linear(problem)
        if reason:
            return reason
        model = UnrolledChangeModel(problem, Request())
        unproved = model.unproved() or too_steep(model)
        return f"no finite bound is proved for {unproved}" if unproved else None

    def build(self, problem: RecourseProblem, request: Request | None = None) -> Program:
        is_curved = GradientSettings.of(problem).loss is StepLoss.LOGISTIC
        needs = self.needs | {SolverFeature.EXPONENTIAL} if is_curved else self.needs
        return UnrolledChangeModel(problem, request or Request()).change_program(needs)

    def examples(self) -> Sequence[WorkedExample]:
        """One feature, two records, from 0."""
        return _examples()


def _is_linear(problem: RecourseProblem) -> str | None:
    """Why the steps are a linear program with binaries, or None."""
    settings = GradientSettings.of(problem)
    is_curved = settings.loss is StepLoss.LOGISTIC and settings.T > 1
    try:
        if problem.is_menu_problem and not is_curved:
            return "nobody has room to move a feature, and then the steps are a linear program with binaries"
    except UnsupportedError as unsupported:
        return str(unsupported)
    return None


# -- worked examples ---


def _examples() -> tuple[WorkedExample, ...]:
    room, steps = line_with_room().problem, {T: gradient_update([0.0], rate=0.25, T=T, reduction="sum") for T in (1, 2)}
    curved = gradient_update([0.0], rate=0.25, T=2, reduction="sum", loss="logistic")
    after_two = 0.125 + 0.25 * (2 / (1 + math.exp(0.25)) - 1 / (1 + math.exp(-0.125)))
    return (
        WorkedExample(
            replace(room, update=steps[1]), -0.75, "theta_1 = -(1 + x) / 2 for x in [1/2, 3/2] is largest at 1/2"
        ),
        WorkedExample(
            replace(room, update=steps[2]),
            -15 / 32,
            "theta_2 = -(1 + x) (3 - x^2) / 4 is -33/32 at 1/2, falls, then rises to -15/32 at 3/2",
        ),
        WorkedExample(
            replace(line_example(LearnerSpec("logistic", C=1.0)), update=curved),
            after_two,
            "(2, +) leads to 1/8 and then adds a quarter of 2 / (1 + e^(1/4)) - 1 / (1 + e^(-1/8)); (1, +) stays at 0",
        ),
    )
