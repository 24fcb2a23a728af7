"""Rules of features at random, and changes as far out as the verification admits, for tests of several learners."""

from __future__ import annotations

import numpy as np

from oar_opt.problem import Direction, Feature, FeatureConstraint, Move, Norm, Sense
from oar_opt.verification import move_violation


def random_features(X, draw):
    """Features of records ``X (n, d)``, with bounds that all of them keep, directions and scales."""
    return tuple(
        Feature(
            f"x{j}",
            lower=None if draw.random() < 0.6 else float(X[:, j].min() - 0.1),
            upper=None if draw.random() < 0.6 else float(X[:, j].max() + 0.1),
            direction=Direction(draw.choice(["any", "any", "increase", "decrease", "fixed"])),
            scale=float(draw.choice([1.0, 0.5, 2.0])),
        )
        for j in range(X.shape[1])
    )


def some_rules(X, draw):
    """Now and then a linear constraint that all records keep, some of them barely."""
    d = X.shape[1]
    if draw.random() < 0.6:
        return ()
    a = draw.normal(size=d).round(2)
    sense = list(Sense)[int(draw.integers(2))]
    end = (X @ a).max() + 0.05 if sense is Sense.LE else (X @ a).min() - 0.05
    return (FeatureConstraint(tuple((f"x{j}", float(a[j])) for j in range(d)), sense, float(end)),)


def random_move(problem, member, draw):
    """A change as far out as the verification lets it be, in a random direction, and beyond bounds by the tolerance; or
    a move of the menu; or None."""
    options = problem.options(member)[1:]
    if draw.random() < 0.2:
        option = options[int(draw.integers(len(options)))] if options else None
        return option and Move(member.record, option.x, option.y, option.s, option.cost)
    action, i, tau = member.feature_actions[0], member.record, problem.tolerances.feasibility
    x, direction = problem.records.X[i], draw.normal(size=problem.d)
    if draw.random() < 0.5:
        direction = np.sign(direction) if action.norm is Norm.LINF else direction * (np.arange(problem.d) == 0)
    for share in (1 + 0.999 * tau / max(1.0, 1 / action.radius), 1.0, 0.7, 0.2, 0.0):
        length = action.norm.of(direction)
        after = x + share * action.radius * problem.scales * direction / (length or 1.0)
        for j, feature in enumerate(problem.features):
            slack = 0.999 * tau
            low, high = feature.lower, feature.upper
            after[j] = after[j] if low is None else max(after[j], low - slack)
            after[j] = after[j] if high is None else min(after[j], high + slack)
            if feature.direction in (Direction.FIXED, Direction.INCREASE):
                after[j] = max(after[j], x[j] - slack)
            if feature.direction in (Direction.FIXED, Direction.DECREASE):
                after[j] = min(after[j], x[j] + slack)
        cost = action.charge + problem.collective.cost.of((after - x) / problem.scales)
        move = Move(i, tuple(after.tolist()), float(problem.records.y[i]), float(problem.records.s[i]), cost)
        if move_violation(problem, move) is None:
            return move
    return None
