"""The benchmark over feature changes: the rival against grids with real re-training, the instances and the report."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from oar_opt.bench import features
from oar_opt.bench.comparison import Comparison, disadvantages, gap_report, is_near
from oar_opt.bench.feature_instances import POISONING_SPECS, SPECS, FeatureSpec, make, make_poisoning
from oar_opt.bench.menu_instances import Data, menu_instances
from oar_opt.bench.runs import UNSUPPORTED, Run, append_run, digest_of, instances, judged, measure, open_tasks, rival
from oar_opt.bench.textbook import NormBound, farthest, risk_of
from oar_opt.bench.textbook_features import accepts, textbook_features_program
from oar_opt.changes import change_sets
from oar_opt.discovery import formulations
from oar_opt.errors import InputError, UnsupportedError
from oar_opt.evaluate import evaluate, evaluate_present
from oar_opt.instance_file import dump_instance, parse_instance
from oar_opt.problem import (
    Budget,
    Collective,
    CostKind,
    Feature,
    FeatureAction,
    FeatureConstraint,
    FeatureType,
    GoalKind,
    Intercept,
    LearnerSpec,
    Member,
    Norm,
    Position,
    Prior,
    Query,
    Records,
    RecourseProblem,
    Sense,
    WithholdAction,
)
from oar_opt.result import Claim, Request, Status, StoppedBy, relative_gap
from oar_opt.verification import move_violation

EXACT = Request(solver="scip", relative_gap=1e-6, time_limit=20.0)
GIGABYTE = 1 << 30
MINIMISING = ("l1", "l2", "sql2", "linf")


def small(learner, d, *, seed=0, intercept="penalized", norm="l2", radius=0.6, n=6, cost=None, prior=False, **others):
    """The last of ``n`` records may move; ``cost`` asks for the least one that buys half of what can be had."""
    draw = np.random.default_rng([seed, n, d])
    y = np.where(np.arange(n) % 2 == 0, 1.0, -1.0)
    X = np.round(draw.normal(0.0, 1.0, (n, d)) + 0.5 * y[:, None], 3)
    b0 = 0.1 if intercept == "penalized" else 0.0
    before = Prior(tuple(np.round(draw.normal(0.0, 0.3, d), 3).tolist()), b0) if prior else None
    strength = {"alpha": 0.7} if learner == "ridge" else {"C": 0.7}
    team = Collective((Member(n - 1, (FeatureAction(Norm(norm), radius),)),), cost=CostKind(cost or "l2"))
    problem = RecourseProblem(
        name="small",
        records=Records(X, y, np.ones(n)),
        learner=LearnerSpec(learner, Intercept(intercept), prior=before, **strength),
        collective=team,
        queries=(Query("q", tuple(np.round(draw.normal(0.0, 1.0, d), 3).tolist()), 1.0),),
        goal=GoalKind.MAX_MARGIN,
        classes=("no", "yes"),
        position=Position.OPTIMISTIC,
        **others,
    )
    if cost is None:
        return problem
    (now,) = evaluate_present(problem).margins
    best = ridge_margins(problem, grid(problem, 41)).max()
    required = replace(problem.queries[0], threshold=round(now - 0.1, 4), required=0.1 + (best - now) / 2)
    return replace(problem, goal=GoalKind.MIN_COST, queries=(required,))


def grid(problem, per_feature):
    """Changes of the one member: a grid over their box, as far as they obey all rules."""
    (one,) = change_sets(problem, problem.collective.members[0])
    axes = [
        np.linspace(one.lower[j], one.upper[j], per_feature) if grid is None else grid
        for j, grid in enumerate(one.grids)
    ]
    deltas = np.stack([axis.ravel() for axis in np.meshgrid(*axes)], axis=1)
    return np.array([delta for delta in deltas if one.violation(delta) <= 1e-9])


def on_grid(problem, per_feature):
    """What re-training gives for every change of the grid."""
    (one,) = change_sets(problem, problem.collective.members[0])
    moves = [one.move(delta) for delta in grid(problem, per_feature)]
    return [evaluate(problem, [move] if move else []) for move in moves]


def ridge_margins(problem, deltas):
    """The query's margins after each change, by the closed form of ridge with a penalised intercept."""
    x, y = np.append(problem.records.X[-1], 1.0), problem.records.y
    fixed = np.column_stack([problem.records.X[:-1], np.ones(problem.n - 1)])
    moved = x + np.column_stack([deltas, np.zeros(len(deltas))])
    left = fixed.T @ fixed + problem.learner.alpha * np.eye(len(x)) + moved[:, :, None] * moved[:, None, :]
    theta = np.linalg.solve(left, (fixed.T @ y[:-1] + y[-1] * moved)[:, :, None])[:, :, 0]
    (query,) = problem.queries
    return query.target * (theta @ np.append(query.x, 1.0) - query.threshold)


# -- the rival ---

MARGINS = (
    ("ridge", 1, {"intercept": "none"}),
    ("ridge", 2, {"seed": 1}),
    ("ridge", 1, {"intercept": "free", "prior": True, "seed": 2}),
    ("ridge", 2, {"norm": "l1", "prior": True, "seed": 3}),
    ("ridge", 2, {"norm": "linf", "radius": 0.4, "seed": 4}),
    ("svm", 2, {"radius": 0.3, "seed": 5}),
    ("svm", 1, {"intercept": "free", "seed": 6}),
    ("svm", 1, {"prior": True, "seed": 7}),
    ("squared_hinge", 1, {"seed": 8}),
)


@pytest.mark.parametrize(("learner", "d", "settings"), MARGINS)
def test_the_rivals_largest_margin_is_that_of_a_grid(learner, d, settings):
    problem = small(learner, d, **settings)
    claim = textbook_features_program(problem).run(EXACT)
    best = max(outcome.objective for outcome in on_grid(problem, 25 if d == 1 else 6))
    outcome = evaluate(problem, claim.moves)
    assert all(move_violation(problem, move) is None for move in claim.moves)
    assert claim.objective == pytest.approx(outcome.objective, abs=1e-5)
    assert claim.bound == pytest.approx(outcome.objective, abs=1e-5)
    assert best - 1e-6 <= claim.bound <= best + 0.1


@pytest.mark.parametrize("cost", MINIMISING)
def test_the_rivals_least_cost_is_that_of_a_grid(cost):
    problem = small("ridge", 2, seed=9, cost=cost, radius=0.8)
    deltas = grid(problem, 101)
    reached = deltas[ridge_margins(problem, deltas) >= problem.queries[0].required]
    least = min(CostKind(cost).of(delta) for delta in reached)
    claim = textbook_features_program(problem).run(EXACT)
    outcome = evaluate(problem, claim.moves)
    assert outcome.is_answer and outcome.objective == pytest.approx(claim.objective, abs=1e-5)
    assert claim.bound == pytest.approx(outcome.objective, abs=1e-5)
    assert least - 0.03 <= claim.bound <= least + 1e-6
    assert least > 0.05


def test_steps_groups_and_rows_are_kept_to():
    """A number in [0, 1] between two columns of a category, which it must not pass by more than a half."""
    features = (
        Feature("number", lower=-2.0, upper=0.7),
        Feature("a", FeatureType.CATEGORICAL, group="kind"),
        Feature("b", FeatureType.CATEGORICAL, group="kind"),
    )
    row = FeatureConstraint((("number", 1.0), ("a", -1.0)), Sense.LE, 0.5)
    base = small("ridge", 3, seed=10, norm="linf", radius=1.0)
    X = base.records.X.copy()
    X[:, 0] = np.clip(X[:, 0], -2.0, 0.5)
    X[:, 1] = np.arange(base.n) % 3 == 0
    X[:, 2] = 1.0 - X[:, 1]
    problem = replace(base, records=Records(X, base.records.y, base.records.s), features=features, constraints=(row,))
    claim = textbook_features_program(problem).run(EXACT)
    best = ridge_margins(problem, grid(problem, 2001)).max()
    assert judged(problem, claim, 20.0, 1.0).status == Status.OPTIMAL
    assert best - 1e-6 <= claim.bound <= best + 1e-3


@pytest.mark.parametrize(("learner", "d"), [("ridge", 2), ("svm", 1)])
def test_the_rival_and_our_bilinear_program_agree(learner, d):
    problem = small(learner, d, seed=11)
    ours = formulations()["kkt_bilinear"].build(problem, EXACT).run(EXACT)
    textbook = textbook_features_program(problem).run(EXACT)
    assert textbook.objective == pytest.approx(ours.objective, abs=1e-5)


@pytest.mark.parametrize("intercept", list(Intercept))
@pytest.mark.parametrize("learner", ["ridge", "svm"])
def test_the_norm_bound_holds_for_changes(learner, intercept):
    problem = small(learner, 2, seed=12, intercept=intercept, prior=True, radius=3.0)
    risk = risk_of(problem)
    bound = NormBound.of(problem, risk)
    boxes = np.array([bound.of_theta(j) for j in range(risk.p)])
    (one,) = change_sets(problem, problem.collective.members[0])
    reach = bound.of_values_within(farthest(one))
    for outcome in on_grid(problem, 4):
        fit = outcome.fit
        theta = risk.join(np.array(fit.parameters.w), fit.parameters.b)
        assert (theta >= boxes[:, 0] - 1e-9).all() and (theta <= boxes[:, 1] + 1e-9).all()
        assert abs(fit.parameters.value(tuple(outcome.records.X[-1].tolist()))) <= reach + 1e-9


def test_the_loss_of_a_change_at_the_prior_counts_in_the_norm_bound():
    """The prior predicts 0 where the record is and 2 where it may go, with the target 0: ``V = 4``."""
    problem = RecourseProblem(
        name="far",
        records=Records(np.array([[0.0]]), np.array([0.0]), np.array([1.0])),
        learner=LearnerSpec("ridge", Intercept.NONE, alpha=1.0, prior=Prior((1.0,))),
        collective=Collective((Member(0, (FeatureAction(Norm.L2, 2.0),)),)),
        queries=(Query("q", (1.0,), 1.0),),
        goal=GoalKind.MAX_MARGIN,
    )
    assert NormBound.of(problem, risk_of(problem)).rho == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"actions": (FeatureAction(Norm.L2, 1.0, charge=0.1),)}, "charged"),
        ({"actions": (FeatureAction(Norm.L2, 1.0), WithholdAction())}, "something else"),
        ({"budget": Budget(members=1)}, "who acts"),
        ({"cost": CostKind.COUNT, "budget": Budget(total=1.0)}, "changed records"),
    ],
)
def test_what_the_rival_cannot_state_is_refused_with_the_reason(change, words):
    problem = small("ridge", 1)
    actions = change.get("actions", problem.collective.members[0].actions)
    others = {name: value for name, value in change.items() if name != "actions"}
    team = replace(problem.collective, members=(Member(problem.n - 1, actions),), **others)
    problem = replace(problem, collective=team)
    assert words in accepts(problem)
    with pytest.raises(UnsupportedError, match=words):
        textbook_features_program(problem)


def test_a_member_that_must_move_is_refused():
    problem = small("ridge", 1)
    least = float(problem.records.X[-1, 0]) + 0.1
    assert "where it stays" in accepts(replace(problem, features=(Feature("x0", lower=least),)))


def test_the_rival_fits_the_instance():
    assert rival(small("ridge", 1))[1] == "scip"
    assert rival(menu_instances()["iris-n50-d2-k5-o3-svm-none-min-cost-s1"]())[1] == "highs"


def test_moves_beyond_the_radius_are_no_answer():
    problem = small("ridge", 1)
    (one,) = change_sets(problem, problem.collective.members[0])
    near, far = (
        Claim(StoppedBy.GAP, moves=(one.move(np.array([0.6])),), objective=0.0, bound=1.0),
        Claim(StoppedBy.GAP, moves=(replace(one.move(np.array([0.6])), x=(one.x[0] + 0.7,), cost=0.7),), bound=1.0),
    )
    assert judged(problem, near, 1.0, 1.0).status == Status.FEASIBLE
    run = judged(problem, far, 1.0, 1.0)
    assert run.status == Status.UNKNOWN and "radius" in run.note


# -- the instances ---


def test_there_are_24_instances_and_three_poisoning_tasks_with_names_of_their_own():
    names = [spec.name for spec in (*SPECS, *POISONING_SPECS)]
    assert (len(SPECS), len(POISONING_SPECS), len(set(names))) == (24, 3, 27)
    assert set(names) < set(instances()) and set(menu_instances()) < set(instances())
    assert {spec.goal for spec in SPECS} == {GoalKind.MAX_MARGIN, GoalKind.MIN_COST}
    for n, d, k, radius in ((40, 5, 5, 50), (400, 10, 20, 30), (400, 10, 20, 50)):
        assert f"cancer-n{n}-d{d}-k{k}-l2-r{radius}-ridge-penalized-max-margin-s1" in names


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_an_instance_is_what_its_name_says(spec):
    problem = make(spec)
    (query,) = problem.queries
    assert (problem.n, problem.d, len(problem.collective.members)) == (spec.n, spec.d, spec.k)
    actions = {member.actions for member in problem.collective.members}
    assert actions == {(FeatureAction(spec.norm, spec.radius),)} and problem.collective.cost is spec.cost
    assert not (np.array(query.x) == problem.records.X).all(axis=1).any()
    (margin,) = evaluate_present(problem).margins
    assert margin < (query.required or 0.0)
    assert accepts(problem) is None
    assert digest_of(problem) == digest_of(make(spec))


@pytest.mark.parametrize("name", [SPECS[0].name, SPECS[1].name, SPECS[16].name, POISONING_SPECS[1].name])
def test_an_instance_is_the_same_as_a_file(name):
    problem = instances()[name]()
    read = parse_instance(dump_instance(problem))
    assert read.name == name and digest_of(read) == digest_of(problem)


@pytest.mark.parametrize("spec", POISONING_SPECS, ids=lambda spec: spec.name)
def test_a_poisoning_task_has_features_between_0_and_1_that_a_member_may_set_anywhere(spec):
    problem = make_poisoning(spec)
    assert (problem.n, problem.d, len(problem.collective.members)) == (spec.n, spec.d, spec.k)
    assert problem.records.X.min() >= 0.0 and problem.records.X.max() <= 1.0
    for member in problem.collective.members:
        (one,) = change_sets(problem, member)
        assert one.x + one.lower == pytest.approx(np.zeros(spec.d)) and one.x + one.upper == pytest.approx(
            np.ones(spec.d)
        )
        assert len(one.groups) == spec.groups
    assert accepts(problem) is None


def test_more_than_the_data_have_is_an_error():
    with pytest.raises(InputError, match="leave a record for the query"):
        make(FeatureSpec(Data.IRIS, 100, 3, 3, 0.3, "ridge"))


def test_the_smallest_instance_is_closed_and_verified():
    run = measure(instances()[POISONING_SPECS[0].name](), "textbook", 20.0)
    assert run.is_closed and run.verified and run.solver.startswith("scip")
    assert run.objective == pytest.approx(-0.06525, abs=1e-4)


def test_tasks_are_found_by_name_whatever_the_benchmark():
    names = [POISONING_SPECS[0].name]
    assert [task.method for task in open_tasks(names, ["ours", "textbook"], 1.0, GIGABYTE, [])] == ["ours", "textbook"]


# -- the report ---


def run_of(instance, method="ours", seconds=1.0, status="optimal", objective=0.5, bound=0.5, **others):
    gap = None if objective is None or bound is None else relative_gap(objective, bound)
    settings = {"digest": "0", "limit": 120.0, "verified": True, "gap": gap, **others}
    return Run(
        instance=instance, method=method, seconds=seconds, status=status, objective=objective, bound=bound, **settings
    )


@pytest.mark.parametrize(
    ("objective", "bound", "near"),
    [(0.5, 0.5009, True), (0.5, 0.5011, False), (10.0, 10.009, True), (10.0, 10.011, False), (None, 0.5, False)],
)
def test_closed_to_a_gap_is_relative_to_1_or_the_objective(objective, bound, near):
    assert is_near(run_of("one", objective=objective, bound=bound, status="feasible")) is near


def test_infeasible_is_closed():
    assert is_near(run_of("one", objective=None, bound=None, status="infeasible"))


def test_gaps_are_listed_and_counted():
    runs = [
        run_of("one", bound=0.5008, status="feasible", seconds=120.0),
        run_of("one", "textbook", bound=0.75, status="feasible", seconds=120.0),
        run_of("two"),
        run_of("two", "textbook", seconds=1.5),
        run_of("three", "textbook", objective=None, bound=None, status=UNSUPPORTED),
        run_of("three"),
    ]
    text = gap_report(Comparison.of(runs))
    assert "closed to a gap of 0.001 by ours: 3 of 3" in text
    assert "closed to a gap of 0.001 by textbook: 1 of 2" in text
    assert "where ours is worse than textbook: nowhere" in text
    (line,) = [line for line in text.splitlines() if line.startswith("one")]
    assert line.split() == ["one", "120.00", "feasible", "8.0e-04", "120.00", "feasible", "2.5e-01"]


@pytest.mark.parametrize(
    ("ours", "textbook", "words"),
    [
        ({}, {}, None),
        ({"seconds": 3.0}, {"seconds": 2.5}, None),
        ({"seconds": 3.0}, {"seconds": 1.5}, "slower by 1.5 s"),
        ({"seconds": 9.0}, {"bound": 0.7, "status": "feasible"}, None),
        ({"bound": 0.51, "status": "feasible"}, {}, "not closed, and the other is; bound 0.51 for 0.5"),
        ({"objective": 0.4, "bound": 0.6}, {"bound": 0.6}, "answer 0.4 for 0.5"),
        ({"objective": None, "bound": 0.6}, {"bound": 0.6}, "no answer, and the other has 0.5"),
        (
            {"objective": 0.6, "bound": 0.4, "maximises": False},
            {"bound": 0.4, "maximises": False},
            "answer 0.6 for 0.5",
        ),
        ({"bound": 0.3, "maximises": False}, {"bound": 0.4, "maximises": False}, "bound 0.3 for 0.4"),
        ({"bound": 0.4, "maximises": False}, {"bound": 0.3, "maximises": False}, None),
        ({"status": "infeasible", "objective": None, "bound": None}, {"objective": None, "bound": 3.0}, None),
        (
            {"status": "unknown", "objective": None, "bound": 0.1},
            {"status": "infeasible", "objective": None, "bound": None},
            "not closed",
        ),
    ],
)
def test_every_way_of_being_worse_is_said(ours, textbook, words):
    comparison = Comparison.of([run_of("one", **ours), run_of("one", "textbook", **textbook)])
    found = disadvantages(comparison, "ours", "textbook")
    assert (found == []) if words is None else (len(found) == 1 and words in found[0])


def test_the_command_lists_and_reports(tmp_path, capsys):
    assert features.main(["--list"]) == 0
    assert capsys.readouterr().out.split() == [spec.name for spec in (*SPECS, *POISONING_SPECS)]
    results = tmp_path / "results.jsonl"
    for method, seconds in (("textbook", 7.0), ("ours", 3.0)):
        append_run(results, run_of("one", method, seconds))
    assert features.main(["--report", str(results)]) == 0
    text = capsys.readouterr().out
    assert "ratio textbook / ours: 2.33" in text and "closed to a gap of 0.001 by ours: 1 of 1" in text
