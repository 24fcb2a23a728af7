"""The family's interface: coordinates that keep the objective, lines and points around every loss's graph."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from oar_opt.discovery import learners
from oar_opt.problem import Intercept, LearnerSpec, Prior
from oar_opt.risk import PenaltyNorm, segments

INTERVALS = [(-2.0, 2.0), (1.0, 2.0), (-2.0, 1.0), (1.5, 2.5), (-2.0, 0.5), (-0.3, 0.2), (-7.0, 9.0)]


def specification(kind, intercept="none", prior=None):
    return LearnerSpec(kind, Intercept(intercept), C=0.7, alpha=0.7, delta=0.6, epsilon=0.2, prior=prior)


def risks(intercept, prior=None):
    found = {kind: item.risk(specification(kind, intercept, prior), 3) for kind, item in learners().items()}
    return {kind: risk for kind, risk in found.items() if risk is not None}


@pytest.mark.parametrize("prior", [None, Prior((0.4, -1.0, 2.0), 0.3)])
@pytest.mark.parametrize("intercept", ["none", "penalized", "free"])
def test_whitened_coordinates_keep_every_learners_objective_and_decision_values(intercept, prior):
    draw = np.random.default_rng(1)
    X = draw.normal(size=(12, 3)) * np.array([1e-2, 1.0, 50.0]) + np.array([3.0, -1.0, 200.0])
    y, s = draw.choice([-1.0, 1.0], size=12), draw.uniform(0.5, 2, size=12)
    for risk in risks(intercept, prior).values():
        weight = 1.7
        other = risk.whitened(X, 2.5, weight)
        for _ in range(5):
            w, b = draw.normal(size=3), 0.0 if intercept == "none" else float(draw.normal())
            theta, own = risk.join(w, b), other.join(w, b)
            assert other.extend(X) @ own == pytest.approx(risk.extend(X) @ theta, rel=1e-9, abs=1e-9)
            assert other.split(own)[0] == pytest.approx(w, rel=1e-9, abs=1e-9)
            before = risk.objective(theta, risk.extend(X), y, s) / (risk.factor * weight)
            assert other.objective(own, other.extend(X), y, s) == pytest.approx(before, rel=1e-9)
            assert other.penalty_value(own) * other.lam == pytest.approx(
                risk.lam * risk.penalty_value(theta) / (risk.factor * weight), rel=1e-9, abs=1e-12
            )


@pytest.mark.parametrize("intercept", ["none", "penalized", "free"])
def test_whitened_coordinates_of_the_l1_norm_only_scale_and_centre(intercept):
    X = np.random.default_rng(2).normal(size=(9, 3)) + 4.0
    for risk in risks(intercept).values():
        if risk.norm is PenaltyNorm.L1:
            basis = risk.whitened(X, 1.0, 1.0).basis
            features = basis[:3, :3]
            assert np.count_nonzero(features - np.diag(np.diag(features))) == 0
            assert (np.diag(basis) > 0).all()
            spread = (X @ features).std(axis=0) if intercept == "free" else np.sqrt(((X @ features) ** 2).mean(axis=0))
            assert spread == pytest.approx(np.ones(3))


def test_both_norms_are_what_they_say():
    for risk in risks("free", Prior((1.0, 0.0, -1.0))).values():
        theta = np.array([3.0, -2.0, 0.0, 77.0])
        expected = 5.0 if risk.norm is PenaltyNorm.L1 else 0.5 * (4 + 4 + 1)
        assert risk.penalty_value(theta) == expected


def graph_of(loss, y, low, high):
    """Points of the graph: a grid, and both ends of every jump."""
    f = np.linspace(low, high, 401)
    points = list(zip(f, loss.pull(np.full(f.shape, y), f), strict=True))
    for s in segments(loss.pieces(y) or (), low, high, 1.0):
        points += [(s.f_low, s.g_low), (s.f_high, s.g_high)]
    return np.array([point for point in points if low <= point[0] <= high])


@pytest.mark.parametrize("interval", INTERVALS)
@pytest.mark.parametrize("kind", sorted(risks("none")))
def test_lines_and_ranges_bound_the_graph_and_tangents_support_the_loss(kind, interval):
    loss = risks("none")[kind].loss
    for y in (-1.0, 1.0):
        f, g = graph_of(loss, y, *interval).T
        low, high = loss.pulls_over(y, *interval)
        assert low <= g.min() + 1e-12 and high >= g.max() - 1e-12
        for slope, offset in loss.hull(y, *interval, upper=True):
            assert (slope * f + offset >= g - 1e-12).all()
        for slope, offset in loss.hull(y, *interval, upper=False):
            assert (slope * f + offset <= g + 1e-12).all()
        ys, value = np.full(f.shape, y), loss.value(np.full(f.shape, y), f)
        points = loss.tangent_points(y, *interval)
        assert points == sorted(points)
        for f0, g0 in points:
            at = float(loss.value(np.array([y]), np.array([f0]))[0])
            assert (value >= at + g0 * (f - f0) - 1e-9).all()
            assert (loss.conjugate(ys, g) >= f0 * g - at - 1e-9).all()


@pytest.mark.parametrize("interval", INTERVALS)
@pytest.mark.parametrize("kind", sorted(risks("none")))
def test_the_curvature_over_an_interval_can_be_taken_off(kind, interval):
    loss = risks("none")[kind].loss
    f = np.linspace(*interval, 201)
    for y in (-1.0, 1.0):
        ys = np.full(f.shape, y)
        kappa = loss.curvature_over(y, *interval)
        assert kappa >= loss.curvature()
        assert (np.diff(loss.value(ys, f) - kappa / 2 * f**2, 2) >= -1e-10).all()
    assert loss.curvature_over(1.0, -np.inf, np.inf) == loss.curvature()


def test_the_hull_of_a_polyline_is_exact():
    """Huber's graph over [-1, 3] for y = 1: up from -0.6 at 0.4 to 0.6 at 1.6, flat on both sides."""
    loss = risks("none")["huber"].loss
    above = loss.hull(1.0, -1.0, 3.0, upper=True)
    below = loss.hull(1.0, -1.0, 3.0, upper=False)
    assert above == [pytest.approx((1.2 / 2.6, 0.6 - 1.6 * 1.2 / 2.6)), pytest.approx((0.0, 0.6))]
    assert below == [pytest.approx((0.0, -0.6)), pytest.approx((1.2 / 2.6, -0.6 - 0.4 * 1.2 / 2.6))]


def test_every_case_is_met():
    kinds = risks("none")
    assert {risk.norm for risk in kinds.values()} == set(PenaltyNorm)
    assert {risk.loss.pieces(1.0) is None for risk in kinds.values()} == {True, False}
    assert len(list(product(kinds, INTERVALS))) >= 8 * len(INTERVALS)
