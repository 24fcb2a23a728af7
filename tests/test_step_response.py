"""What one member gains before a gradient step: never beaten by dense points, reached by its change, closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from oar_opt.change_arrays import ChangeArrays
from oar_opt.problem import CostKind
from oar_opt.step_loss import slopes
from oar_opt.step_response import StepSearch, StepSide
from oar_opt.update_settings import StepLoss

INF = np.inf
TOLERANCE = 1e-5
SQUARED, HINGE, LOGISTIC = StepLoss.SQUARED, StepLoss.HINGE, StepLoss.LOGISTIC


class Crowd:
    """Members with records, the direction that counts, and their sets of changes in two features."""

    def __init__(self, seed, loss, cost, kappa, *, box=True, R1=INF, R2=INF, theta=None, p=None, m=4, d=2):
        draw = np.random.default_rng(seed)
        lower = upper = None
        if box:
            lower, upper = -draw.uniform(0.2, 1.0, (m, d)), draw.uniform(0.2, 1.0, (m, d))
            upper[0, 0] = 0.0
        self.sets = ChangeArrays(
            members=np.arange(m),
            records=np.arange(m),
            scales=np.ones(d),
            free=np.ones(d, dtype=bool),
            cost=cost,
            lower=lower,
            upper=upper,
            R1=np.full(m, float(R1)),
            R2=np.full(m, float(R2)),
            charges=np.zeros(m),
        )
        self.kappa, self.loss = kappa, loss
        self.theta = draw.normal(size=d) if theta is None else np.array(theta)
        self.p = draw.normal(size=d) if p is None else np.array(p)
        X = draw.normal(size=(m, d))
        self.y, self.weight = draw.choice([-1.0, 1.0], m), draw.uniform(0.5, 1.5, m)
        self.u0, self.r0 = X @ self.theta + 0.1, X @ self.p - 0.2

    @property
    def m(self):
        return len(self.y)

    def search(self):
        side = StepSide(self.loss, self.y, self.weight, self.u0, self.theta)
        return StepSearch(self.sets, side, self.r0, self.p, self.kappa)

    def best(self, *, floor=-1e9, toll=0.0, tolerance=TOLERANCE):
        return self.search().best(np.full(self.m, floor), np.full(self.m, toll), tolerance)

    def worth(self, i, e):
        """What changes ``e (points, d)`` of the member ``i`` gain, by the definition."""
        u, y = self.u0[i] + e @ self.theta, self.y[i]
        slope = {
            SQUARED: 2 * (y - u),
            HINGE: np.where(y * u < 1, y, 0.0),
            LOGISTIC: y / (1 + np.exp(y * u)),
        }[self.loss]
        return self.weight[i] * slope * (self.r0[i] + e @ self.p) - self.kappa * self.sets.costs(e)

    def points(self, i, n=121):
        """A dense grid of the member's set, with points of the balls' surfaces."""
        lower, upper = (end[i] for end in self.sets.box())
        axes = [np.linspace(low, high, n) for low, high in zip(lower, upper, strict=True)]
        e = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, len(lower))
        angle = np.linspace(0, 2 * np.pi, 2000)
        ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        if np.isfinite(self.sets.R2[i]):
            e = np.vstack([e, self.sets.R2[i] * ring])
        if np.isfinite(self.sets.R1[i]):
            e = np.vstack([e, self.sets.R1[i] * ring / np.abs(ring).sum(axis=1)[:, None]])
        inside = ((e >= lower) & (e <= upper)).all(axis=1)
        inside &= (np.linalg.norm(e, axis=1) <= self.sets.R2[i] + 1e-12) & (
            np.abs(e).sum(axis=1) <= self.sets.R1[i] + 1e-12
        )
        return e[inside]


def check(crowd, *, open_kink=False):
    """Value and bound meet, the change reaches the value and obeys its set, and no point of the set beats the bound."""
    search = crowd.search()
    found = search.best(np.full(crowd.m, -1e9), np.zeros(crowd.m), TOLERANCE)
    e = search.changes(np.arange(crowd.m), found.u, found.a)
    lower, upper = crowd.sets.box()
    assert (e >= lower - 1e-9).all() and (e <= upper + 1e-9).all()
    assert (np.linalg.norm(e, axis=1) <= crowd.sets.R2 + 1e-9).all()
    assert (np.abs(e).sum(axis=1) <= crowd.sets.R1 + 1e-9).all()
    # A hinge's maximum at its kink is only approached.
    assert (found.bound - found.value <= (3 if open_kink else 1.01) * TOLERANCE).all()
    for i in range(crowd.m):
        assert crowd.worth(i, e[i : i + 1])[0] == pytest.approx(found.value[i], abs=1e-7)
        assert crowd.worth(i, crowd.points(i)).max() <= found.bound[i] + 1e-9
    return found


# Every loss; each cost with radii that cut its boxes. The prices are small enough for changes to pay.
BOXES = [
    (CostKind.COUNT, 0.0, INF, INF),
    (CostKind.L1, 0.3, 0.7, INF),
    (CostKind.L2, 0.2, INF, 0.6),
    (CostKind.SQL2, 0.5, INF, 0.6),
    (CostKind.LINF, 0.3, INF, INF),
]


@pytest.mark.parametrize("loss", list(StepLoss))
@pytest.mark.parametrize(("cost", "kappa", "R1", "R2"), BOXES)
def test_no_point_of_a_box_beats_the_bound(loss, cost, kappa, R1, R2):
    check(Crowd(list(StepLoss).index(loss), loss, cost, kappa, R1=R1, R2=R2), open_kink=loss is HINGE)


def test_no_point_of_a_box_with_two_radii_beats_the_bound():
    check(Crowd(2, HINGE, CostKind.SQL2, 0.5, R1=0.8, R2=0.6, m=2), open_kink=True)


BALLS = [(CostKind.COUNT, 0.0, 0.8), (CostKind.L2, 0.4, 1.5), (CostKind.SQL2, 0.3, 1.0), (CostKind.L2, 9.0, 1.0)]


@pytest.mark.parametrize("loss", list(StepLoss))
@pytest.mark.parametrize(("cost", "kappa", "radius"), BALLS)
def test_no_point_of_a_ball_beats_the_bound(loss, cost, kappa, radius):
    crowd = Crowd(7, loss, cost, kappa, box=False, R2=radius)
    assert crowd.sets.are_balls
    check(crowd, open_kink=loss is HINGE)


@pytest.mark.parametrize("loss", list(StepLoss))
@pytest.mark.parametrize(
    ("box", "theta", "p"),
    [
        (False, [0.0, 0.0], None),
        (False, [1.0, -0.5], [2.0, -1.0]),
        (False, [1.0, -0.5], [-2.0, 1.0]),
        (False, None, [0.0, 0.0]),
        (True, [0.0, 0.0], None),
        (True, [1.0, -0.5], [2.0, -1.0]),
    ],
)
def test_directions_that_do_not_span_a_plane(loss, box, theta, p):
    check(
        Crowd(3, loss, CostKind.SQL2, 0.1, box=box, R2=INF if box else 0.9, theta=theta, p=p, m=2),
        open_kink=loss is HINGE,
    )


def test_balls_are_as_good_as_boxes_that_do_not_cut():
    for loss in (HINGE, LOGISTIC):
        ball = Crowd(11, loss, CostKind.L2, 0.2, box=False, R2=0.7)
        boxed = Crowd(11, loss, CostKind.L2, 0.2, box=False, R2=0.7)
        object.__setattr__(boxed.sets, "lower", np.full((4, 2), -1.0))
        object.__setattr__(boxed.sets, "upper", np.full((4, 2), 1.0))
        assert not boxed.sets.are_balls
        assert ball.best().value == pytest.approx(boxed.best().value, abs=4 * TOLERANCE)


# -- closed forms ---


def one(loss, y, u0, r0, theta, p, *, radius=0.5, cost=CostKind.COUNT, kappa=0.0):
    """One member with a ball."""
    crowd = Crowd(0, loss, cost, kappa, box=False, R2=radius, theta=theta, p=p, m=1, d=len(p))
    crowd.y, crowd.weight, crowd.u0, crowd.r0 = np.array([y]), np.array([2.0]), np.array([u0]), np.array([r0])
    return crowd


def test_an_active_hinge_is_linear():
    found = one(HINGE, 1.0, -3.0, 0.4, [1.0, 0.0], [3.0, 4.0]).best(tolerance=1e-9)
    assert found.value == pytest.approx([2.0 * (0.4 + 0.5 * 5.0)]) and found.bound == pytest.approx(found.value)
    other = one(HINGE, -1.0, 3.0, 0.4, [1.0, 0.0], [3.0, 4.0]).best(tolerance=1e-9)
    assert other.value == pytest.approx([-2.0 * (0.4 - 0.5 * 5.0)]) and other.bound == pytest.approx(other.value)


def test_a_hinge_out_of_reach_gains_nothing():
    found = one(HINGE, 1.0, 3.0, 0.4, [1.0, 0.0], [3.0, 4.0]).best()
    assert found.value == pytest.approx([0.0]) and found.bound == pytest.approx([0.0], abs=1e-12)


def test_a_maximum_at_the_kink_is_approached_from_where_the_hinge_pushes():
    # u = e1 < 1 is pushed by 2; what counts is e1 itself, so the supremum 2 lies at the kink, where nothing is left.
    crowd = one(HINGE, 1.0, 0.0, 0.0, [1.0, 0.0], [1.0, 0.0], radius=3.0)
    search = crowd.search()
    found = search.best(np.full(1, -1e9), np.zeros(1), TOLERANCE)
    e = search.changes(np.zeros(1, dtype=np.int64), found.u, found.a)
    assert 2.0 - 3 * TOLERANCE <= found.value[0] < 2.0 <= found.bound[0] + 1e-12
    assert found.bound[0] <= 2.0 + TOLERANCE and e[0, 0] < 1.0
    assert crowd.worth(0, e)[0] == pytest.approx(found.value[0])


def test_the_kink_itself_pushes_nothing():
    # Withdrawing the push is all there is to gain: y u = 1 is reached at the ball's very end.
    found = one(HINGE, 1.0, 0.5, -4.0, [1.0, 0.0], [0.0, 1.0]).best()
    assert found.value == pytest.approx([0.0], abs=TOLERANCE) and found.bound >= -1e-12
    short = one(HINGE, 1.0, 0.5, -4.0, [1.0, 0.0], [0.0, 1.0], radius=0.499).best()
    assert short.value == pytest.approx([2.0 * (-4.0 + 0.499)], abs=TOLERANCE)
    assert short.bound == pytest.approx(short.value, abs=TOLERANCE)


def test_without_parameters_the_push_is_constant():
    for loss, pushed in ((SQUARED, 4.0), (HINGE, 2.0), (LOGISTIC, 1.0)):
        found = one(loss, 1.0, 0.0, 0.3, [0.0, 0.0], [3.0, 4.0]).best()
        assert found.value == pytest.approx([pushed * (0.3 + 2.5)])
        assert found.bound == pytest.approx(found.value, abs=TOLERANCE)


def test_a_squared_push_along_theta_is_a_parabola():
    # 4 (1 - e)(0.2 + 3 e) less e^2 on [-1, 1] (theta has length 1, so u = e): 13 e^2 - 11.2 e = 0.8 at the top.
    found = one(SQUARED, 1.0, 0.0, 0.2, [1.0], [3.0], radius=1.0, cost=CostKind.SQL2, kappa=1.0).best()
    top = 11.2 / 26
    assert found.value == pytest.approx([0.8 + 11.2 * top - 13 * top**2], abs=TOLERANCE)
    assert found.u == pytest.approx([top], abs=1e-3)


# -- floors, tolls and accuracy ---


def test_tolls_come_off_and_floors_cut_off():
    crowd = Crowd(5, LOGISTIC, CostKind.L1, 0.1)
    plain, charged = crowd.best(), crowd.best(toll=0.3)
    assert charged.value == pytest.approx(plain.value - 0.3, abs=2 * TOLERANCE)
    assert charged.bound == pytest.approx(plain.bound - 0.3, abs=2 * TOLERANCE)
    floor = float(plain.value.max() + 0.1)
    none = crowd.best(floor=floor)
    assert np.isneginf(none.value).all() and (none.bound <= floor + TOLERANCE).all()
    assert (none.bound >= plain.value).all()
    some = crowd.best(floor=float(np.median(plain.value)))
    above = plain.value > np.median(plain.value) + TOLERANCE
    assert np.isfinite(some.value[above]).all() and np.isneginf(some.value[~above]).all()
    assert some.value[above] == pytest.approx(plain.value[above], abs=2 * TOLERANCE)


@pytest.mark.parametrize("loss", list(StepLoss))
def test_a_coarse_tolerance_is_kept_too(loss):
    coarse, fine = (Crowd(6, loss, CostKind.SQL2, 0.2, box=False, R2=0.8).best(tolerance=t) for t in (0.05, 1e-7))
    assert (coarse.bound - coarse.value <= 0.05 + 1e-9).all()
    assert (coarse.bound >= fine.value - 1e-9).all() and (coarse.value <= fine.bound + 1e-9).all()


def test_fixed_features_stay():
    crowd = Crowd(8, SQUARED, CostKind.L2, 0.1, box=False, R2=0.7)
    object.__setattr__(crowd.sets, "free", np.array([True, False]))
    search = crowd.search()
    found = search.best(np.full(4, -1e9), np.zeros(4), TOLERANCE)
    assert (search.changes(np.arange(4), found.u, found.a)[:, 1] == 0).all()
    line = np.stack([np.linspace(-0.7, 0.7, 2001), np.zeros(2001)], axis=1)
    for i in range(4):
        assert found.value[i] == pytest.approx(crowd.worth(i, line).max(), abs=1e-5)


@pytest.mark.parametrize("loss", list(StepLoss))
def test_the_slopes_are_those_of_the_losses(loss):
    u, y, h = np.array([-2.0, -0.3, 0.4, 30.0, -800.0]), np.array([1.0, -1.0, 1.0, -1.0, 1.0]), 1e-4

    def value(at):
        return {SQUARED: (y - at) ** 2, HINGE: np.maximum(0, 1 - y * at), LOGISTIC: np.logaddexp(0, -y * at)}[loss]

    slope = (value(u + h) - value(u - h)) / (2 * h)
    assert slopes(loss, y, u) == pytest.approx(slope, rel=1e-5, abs=1e-6)


def test_a_hinge_has_no_slope_at_its_kink():
    assert slopes(HINGE, np.array([1.0, -1.0]), np.array([1.0, -1.0])).tolist() == [0.0, 0.0]
