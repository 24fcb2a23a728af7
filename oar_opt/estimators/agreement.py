"""Whether an estimator is the instance's learner: by its decision values, or within what its own tolerance leaves.

Letters of :mod:`oar_opt.risk`: ``J`` is the learner's objective, ``theta*`` its optimum as trained here (of several:
the one whose intercept is nearest to the estimator's), ``theta`` the estimator's parameters. Decision values that agree
to :data:`AGREEMENT` settle it. Otherwise two things are demanded.

1. *The same program.* A copy of the estimator, trained on these records with its own settings, has the same parameters
   to :data:`SAME`: one that was fitted to other records, labels, weights or constants has others.
2. *Its own stopping rule holds here.* With ``W = C sum s_i`` (``W = C n`` without weights):

   - ``SVC``, ``SVR`` (libsvm). Let ``u_i`` be minus the gradient of the dual in its variable ``alpha_i`` in
     ``[0, C s_i]``, at the intercept ``b``. The duality gap is ``sum_i (C s_i - alpha_i) max(0, u_i) + alpha_i max(0,
     -u_i)``. libsvm stops where the largest violation of optimality, ``max u_i`` over variables that can rise minus
     ``min u_i`` over those that can fall (``u`` without ``b``; libsvm's ``b`` lies between the two), is at most
     ``tol``; it keeps the kernel in single precision, which moves every ``u_i`` by at most ``k = 2^-24 max_i sum_j
     |x_i'x_j| alpha_j``. So every term is at most ``C s_i (tol + 2 k)``, and

         J(theta) - J(theta*)  <=  W (tol + 2 k)        (SVR has two variables for a record: twice that).

   - ``LogisticRegression`` by lbfgs, newton-cg or newton-cholesky minimises ``J / W`` and stops where no entry of its
     gradient exceeds ``tol``: ``max_j |dJ/dtheta_j| <= tol W``.
   - liblinear in its primal form (``LinearSVC(dual=False)`` and ``LogisticRegression(solver="liblinear")``) stops
     where ``||grad J(theta)|| <= tol max(1, n_small) / n ||grad J(0)||``, with ``n_small`` the size of the smaller
     class.

   Both are evaluated on the instance, at the estimator's parameters. Others (liblinear's dual form, ``sag``, ``saga``,
   iterative ridge) stop by quantities that their parameters do not show: there only decision values count.

How far that leaves the weights is known from strong convexity, ``||w - w*|| <= sqrt(2 (J(theta) - J(theta*)) / lam)``,
and told, with the measured difference of decision values.

Where a free intercept has an interval of optima, the estimator took one of them, and the instance has to say by its
``position`` which one counts.

Reference: C.-C. Chang, C.-J. Lin, "LIBSVM: A Library for Support Vector Machines", 2011; R.-E. Fan and others,
"LIBLINEAR: A Library for Large Linear Classification", 2008.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from oar_opt.contracts import Fit
from oar_opt.discovery import learner_of
from oar_opt.errors import InputError
from oar_opt.estimators.learners import decision_values, learner_values
from oar_opt.parameters import LinearParameters, Parameters
from oar_opt.problem import Matrix, Position, RecourseProblem, Vector
from oar_opt.risk import RegularizedRisk

AGREEMENT = 1e-6
"""Of decision values with the estimator's, relative to the largest of them (at least 1)."""
SAME = 1e-7
"""Of parameters trained twice in the same way, relative to the largest of them (at least 1)."""
ROUNDING = 1 + 1e-6
"""Of quantities that a solver held against its tolerance before it scaled them back."""
LOOSE = 1e-2
"""Decision values further off than this, relative to the largest of them (at least 1), are those of no optimum,
whatever the tolerance allows."""
SINGLE = 2.0**-24
BY_GRADIENT = ("lbfgs", "newton-cg", "newton-cholesky")


def agreement(problem: RecourseProblem, teacher: Any, asked: Matrix, was_fitted: bool) -> str:
    """What is to be said about the estimator's parameters, in words; "" where they are the optimum.

    Parameters
    ----------
    problem : the instance, whose records are those of the estimator.
    teacher : the fitted estimator.
    asked : the queries as the learner sees them, ``(Q, d)``.
    was_fitted : by the caller, not here.

    Raises
    ------
    InputError : it is not this learner's optimum, and its own tolerance does not explain that; or its intercept is one
        of several that are optimal, and the position is ``unique``.
    """
    from oar_opt.evaluate import UndefinedLearner, evaluate

    try:
        fit = evaluate(problem, ()).fit
    except UndefinedLearner as error:
        raise InputError("y", str(error), "give records of both classes with weight") from None
    own = _nearest(fit, teacher)
    words = _tie_words(problem, fit, teacher)
    Z = np.vstack([problem.records.X, asked])
    theirs, ours = decision_values(teacher, Z), learner_values(own, Z)
    off = np.abs(theirs - ours).reshape(len(Z), -1).max(axis=1)
    worst = int(np.argmax(off))
    size = max(1.0, float(np.abs(theirs).max()))
    if off[worst] <= AGREEMENT * size:
        return words
    loose = _Loose(problem, teacher, own) if isinstance(own, LinearParameters) else None
    where = f"X[{worst}]" if worst < problem.n else f"query[{worst - problem.n}]"
    what = f"the estimator's decision value is off by {off[worst]:.3g} from that of its optimum here"
    if loose is None or off[worst] > LOOSE * size or not loose.is_explained:
        fix = "fit it on these records, to the end (tol=1e-10, more max_iter), or give it unfitted"
        raise InputError(where, what, fix if was_fitted else "scale the features, so that it reaches its optimum")
    if was_fitted and not loose.is_repeated:
        fix = "it was fitted to other records, weights or constants: give those, or give it unfitted"
        raise InputError(where, f"{what}, and trained again it gives other parameters", fix)
    words += (
        f"; the estimator's decision values are off its optimum by up to {off[worst]:.2g}, as its tol={teacher.tol:g} "
        f"and its arithmetic allow (its weights by at most {loose.distance:.2g})"
    )
    return words.removeprefix("; ")


def _nearest(fit: Fit, teacher: Any) -> Parameters:
    """Of several optimal intercepts the one nearest to the estimator's."""
    parameters = fit.parameters
    if fit.intercepts is None or not isinstance(parameters, LinearParameters):
        return parameters
    low, high = fit.intercepts
    return LinearParameters.of(np.array(parameters.w), min(max(float(_theta(teacher)[-1]), low), high))


def _tie_words(problem: RecourseProblem, fit: Fit, teacher: Any) -> str:
    if fit.intercepts is None:
        return ""
    low, high = fit.intercepts
    what = f"every intercept from {low:.6g} to {high:.6g} is optimal, of which the estimator took"
    what += f" {float(_theta(teacher)[-1]):.6g}"
    if problem.position is Position.UNIQUE:
        fix = "give position='optimistic' or 'pessimistic', which says what the learner does; or penalise the intercept"
        raise InputError("position", f"is 'unique', but {what}", fix)
    return f"{what}; here it takes the one that the position '{problem.position}' means"


def _theta(model: Any) -> Vector:
    """``(w, b)`` of a fitted linear estimator."""
    return np.append(np.ravel(model.coef_), np.ravel(model.intercept_))


@dataclass(frozen=True, eq=False)
class _Loose:
    """An estimator that stopped before its optimum; see the module's docstring."""

    problem: RecourseProblem
    teacher: Any
    optimum: LinearParameters

    @cached_property
    def risk(self) -> RegularizedRisk:
        risk = learner_of(self.problem).risk(self.problem.learner, self.problem.d)
        assert risk is not None, "linear parameters are those of a regularised risk"
        return risk

    @cached_property
    def _rows(self) -> Matrix:
        return self.risk.extend(self.problem.records.X)

    @property
    def total(self) -> float:
        """``W``."""
        return self.risk.factor * float(self.problem.records.s.sum())

    @cached_property
    def gap(self) -> float:
        """``J(theta) - J(theta*)``."""
        best = self._objective(np.append(self.optimum.w, self.optimum.b))
        return max(0.0, self._objective(_theta(self.teacher)) - best)

    @property
    def distance(self) -> float:
        """At most ``||w - w*||``."""
        return math.sqrt(2 * self.gap / self.risk.lam)

    @property
    def is_explained(self) -> bool:
        """Whether its own stopping rule holds on these records."""
        kind, solver = type(self.teacher).__name__, getattr(self.teacher, "solver", None)
        if kind in ("SVC", "SVR"):
            return bool(self.gap <= ROUNDING * self._gap_of_libsvm())
        if kind == "LogisticRegression" and solver in BY_GRADIENT:
            slope = float(np.abs(self._gradient(_theta(self.teacher))).max())
            return bool(slope <= ROUNDING * self.teacher.tol * self.total)
        if self._is_primal():
            y = self.problem.records.y
            share = max(1, min((y > 0).sum(), (y < 0).sum())) / len(y)
            start = float(np.linalg.norm(self._gradient(np.zeros(self.problem.d + 1))))
            slope = float(np.linalg.norm(self._gradient(_theta(self.teacher))))
            return bool(slope <= ROUNDING * self.teacher.tol * float(share) * start)
        return False

    @property
    def is_repeated(self) -> bool:
        """Whether training a copy on these records gives the same parameters."""
        from sklearn.base import clone
        from sklearn.exceptions import ConvergenceWarning

        records = self.problem.records
        weights = {} if (records.s == 1).all() else {"sample_weight": records.s}
        # Codes, -1 and +1, stand for the classes in scikit-learn's own order; for regression they are the targets.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            again = _theta(clone(self.teacher).fit(records.X, records.y, **weights))
        own = _theta(self.teacher)
        return bool(np.abs(again - own).max() <= SAME * max(1.0, float(np.abs(own).max())))

    def _gap_of_libsvm(self) -> float:
        X = self.problem.records.X
        kernel = np.abs(X @ X[self.teacher.support_].T) @ np.abs(np.ravel(self.teacher.dual_coef_))
        variables = 1 if type(self.teacher).__name__ == "SVC" else 2
        return variables * self.total * float(self.teacher.tol + 2 * SINGLE * kernel.max())

    def _is_primal(self) -> bool:
        """Whether liblinear solved its primal form; by itself ``LinearSVC`` does so for at least as many records as
        features."""
        kind = type(self.teacher).__name__
        if kind == "LogisticRegression":
            return bool(self.teacher.solver == "liblinear" and not self.teacher.dual)
        if kind != "LinearSVC" or self.teacher.loss != "squared_hinge":
            return False
        dual = self.teacher.dual
        return self.problem.n >= self.problem.d if dual == "auto" else not bool(dual)

    def _objective(self, theta: Vector) -> float:
        """``J`` at ``(w, b)``."""
        rows, records = self._rows, self.problem.records
        losses = self.risk.loss.value(records.y, rows @ theta[: self.risk.p])
        penalty = self.risk.penalty @ np.square(theta[: self.risk.p])
        return float(0.5 * self.risk.lam * penalty + self.risk.factor * records.s @ losses)

    def _gradient(self, theta: Vector) -> Vector:
        """Of ``J`` for a smooth loss, at ``(w, b)``; without an intercept of ``w`` alone."""
        rows, records, theta = self._rows, self.problem.records, theta[: self.risk.p]
        pulls = self.risk.factor * records.s * self.risk.loss.pull(records.y, rows @ theta)
        return np.asarray(self.risk.lam * self.risk.penalty * theta + pulls @ rows)
