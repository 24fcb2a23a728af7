"""The benchmark over menus: the textbook's program against enumeration, the instances, the runner and its report."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.optimize import linprog

from oar_opt.bench import menus
from oar_opt.bench.comparison import Comparison, contradictions, report, shifted_mean
from oar_opt.bench.menu_instances import MORE_SPECS, SPECS, Limit, make, menu_instances
from oar_opt.bench.runs import (
    CRASHED,
    KILLED,
    UNSUPPORTED,
    Run,
    Task,
    append_run,
    check_method,
    digest_of,
    judged,
    measure,
    open_tasks,
    read_runs,
    run_in_process,
    selected,
)
from oar_opt.bench.textbook import NormBound, accepts, mirrored, oriented, program_of, textbook_program
from oar_opt.discovery import formulations, learner_of, learners
from oar_opt.errors import InputError, UnsupportedError
from oar_opt.evaluate import evaluate, evaluate_present
from oar_opt.instance_file import dump_instance, parse_instance
from oar_opt.problem import GoalKind, Intercept, LearnerSpec
from oar_opt.result import Claim, Request, Status, StoppedBy
from oar_opt.risk import PenaltyNorm, RegularizedRisk

KINDS = ("ridge", "svm", "squared_hinge", "huber", "epsilon_insensitive", "l1_svm", "lad")
REGRESSIONS = ("huber", "epsilon_insensitive", "lad")
INTERCEPTS = tuple(Intercept)
EXACT = Request(solver="highs", relative_gap=1e-9)
GIGABYTE = 1 << 30
SMALLEST = "iris-n50-d2-k5-o3-svm-none-min-cost-s1"
HARDEST = "cancer-n500-d20-k15-o6-svm-penalized-max-margin-s1"


def spec_of(kind, intercept, prior=None, *, strength=0.7, epsilon=0.3):
    return LearnerSpec(
        kind,
        intercept,
        C=None if kind == "ridge" else strength,
        alpha=strength if kind == "ridge" else None,
        delta=0.5 if kind == "huber" else None,
        epsilon=epsilon if kind == "epsilon_insensitive" else None,
        prior=prior,
    )


def small(make, seed, kind, intercept):
    """A small problem in which goals, labels, withholding, weights, guards, priors and joining records take turns."""
    regression = kind in REGRESSIONS or (kind == "ridge" and seed % 2 == 1)
    problem = make(
        seed,
        "ridge",
        str(intercept),
        str(list(GoalKind)[seed % 4]),
        n=8,
        members=3,
        labels=seed % 3 == 0,
        withhold=seed % 2 == 0,
        queries=1 + seed % 2,
        guards=int(seed % 5 == 0),
        prior=seed % 3 == 1,
        regression=regression,
        joins=seed % 7 == 0,
    )
    epsilon = 0.3 if seed % 2 else 0.0
    return replace(problem, learner=spec_of(kind, intercept, problem.learner.prior, epsilon=epsilon))


def run_of(instance="one", method="ours", seconds=1.0, status="optimal", objective=1.0, bound=1.0, **others):
    settings = {"digest": "0", "limit": 300.0, "verified": True, **others}
    return Run(
        instance=instance, method=method, seconds=seconds, status=status, objective=objective, bound=bound, **settings
    )


# -- the textbook's program ---


@pytest.fixture(scope="module")
def trained(make, moves_of):
    """Two problems for every pair, with the outcomes of all choices: two of the goals for every pair, all four for
    every learner and every intercept."""

    @cache
    def of(kind, intercept, turn):
        place = (INTERCEPTS.index(intercept) + KINDS.index(kind) + 2 * turn) % 4
        problem = small(make, place + 4 * KINDS.index(kind), kind, intercept)
        every, undefined = (moves for _, moves in moves_of(problem)), learner_of(problem).undefined
        return problem, [evaluate(problem, m) for m in every if not undefined(problem, problem.apply(m))]

    return of


@pytest.mark.parametrize("turn", range(2))
@pytest.mark.parametrize("intercept", INTERCEPTS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_textbooks_optimum_is_that_of_re_training_every_choice(trained, kind, intercept, turn):
    problem, outcomes = trained(kind, intercept, turn)
    claim = textbook_program(problem).run(EXACT)
    assert all(outcome.inaccuracy <= problem.tolerances.feasibility for outcome in outcomes)
    reached = [outcome.objective for outcome in outcomes if outcome.is_answer]
    if not reached:
        assert claim.infeasible and claim.moves is None
        return
    best = (max if problem.goal.maximises else min)(reached)
    assert claim.objective == pytest.approx(best, abs=1e-5)
    assert claim.bound == pytest.approx(best, abs=1e-5)
    outcome = evaluate(problem, claim.moves)
    assert outcome.is_answer and outcome.objective == pytest.approx(best, abs=1e-5)
    assert claim.parameters.w == pytest.approx(outcome.parameters.w, abs=1e-5)


def best_margin_under_l1(risk, records, query):
    """The largest margin over all optima of the l1 norm with hinge loss, by two linear programs in (w+, w-, b, xi)."""
    X, y = records.X[records.s > 0], records.y[records.s > 0]
    n, d = X.shape
    free = risk.intercept is Intercept.FREE
    cost = np.concatenate([np.full(2 * d, risk.lam), [0.0], np.full(n, risk.factor)])
    value = np.column_stack([X, -X, np.full(n, float(free))])
    rows, limits = np.hstack([-y[:, None] * value, -np.eye(n)]), -np.ones(n)
    ends = [(0, None)] * (2 * d) + [(None, None)] + [(0, None)] * n
    least = linprog(cost, rows, limits, bounds=ends).fun
    x = np.array(query.x)
    margin = -query.target * np.concatenate([x, -x, [float(free)], np.zeros(n)])
    return -linprog(margin, np.vstack([rows, cost]), np.append(limits, least + 1e-9), bounds=ends).fun


@pytest.mark.parametrize("intercept", [Intercept.NONE, Intercept.FREE])
@pytest.mark.parametrize("seed", range(4))
def test_the_textbooks_optimum_under_an_l1_penalty_is_the_best_of_linear_programs(make, moves_of, seed, intercept):
    problem = make(seed, "svm", str(intercept), n=8, members=2, withhold=True, strength=0.8)
    # Records count with weight 1 or not at all, as in the linear programs.
    records = replace(problem.records, s=np.minimum(1.0, np.ceil(problem.records.s)))
    team = problem.collective
    menus_of_one = [
        replace(member, menu=tuple(replace(o, s=min(1.0, np.ceil(o.s))) for o in member.menu))
        for member in team.members
    ]
    problem = replace(problem, records=records, collective=replace(team, members=tuple(menus_of_one)))
    hinge = learner_of(problem).risk(problem.learner, problem.d).loss
    risk = RegularizedRisk.of(problem.learner, problem.d, hinge, lam=0.5, factor=0.8, norm=PenaltyNorm.L1)
    found = program_of(problem, risk).run(EXACT)
    (query,) = problem.queries
    best = max(best_margin_under_l1(risk, problem.apply(moves), query) for _, moves in moves_of(problem))
    assert found.objective == pytest.approx(best, abs=1e-5)
    assert best_margin_under_l1(risk, problem.apply(found.moves), query) == pytest.approx(best, abs=1e-5)


@pytest.mark.parametrize("intercept", INTERCEPTS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_norm_bound_holds_for_every_choice(trained, kind, intercept):
    for turn in range(2):
        problem, outcomes = trained(kind, intercept, turn)
        risk = learner_of(problem).risk(problem.learner, problem.d)
        bound = NormBound.of(problem, risk)
        boxes = np.array([bound.of_theta(j) for j in range(risk.p)])
        for outcome in outcomes:
            fit = outcome.fit
            theta = risk.join(np.array(fit.parameters.w), fit.parameters.b)
            assert (theta >= boxes[:, 0] - 1e-9).all() and (theta <= boxes[:, 1] + 1e-9).all()
            for end in fit.intercepts or ():
                assert abs(end) <= bound.intercept + 1e-9
            rows = risk.extend(outcome.records.X)
            assert all(abs(float(row @ theta)) <= bound.of_value(row) + 1e-9 for row in rows)


@pytest.mark.parametrize("kind", ("ridge", "svm", "squared_hinge"))
def test_the_other_classs_graph_is_the_mirror_image(kind):
    loss = learners()[kind].risk(spec_of(kind, Intercept.NONE), 1).loss
    image = oriented(loss.pieces(-1.0), loss.pieces(1.0))
    same = oriented(loss.pieces(1.0), loss.pieces(1.0))
    assert (image.sigma, same.sigma) == (-1.0, 1.0) and image.graph == same.graph
    assert mirrored(mirrored(loss.pieces(1.0))) == loss.pieces(1.0)


@pytest.mark.parametrize("kind", REGRESSIONS)
def test_another_targets_graph_is_a_shift(kind):
    loss = learners()[kind].risk(spec_of(kind, Intercept.NONE), 1).loss
    moved, stayed = (oriented(loss.pieces(y), loss.pieces(1.0)) for y in (3.0, 1.0))
    assert moved.sigma == 1.0 and moved.graph.is_like(stayed.graph)
    assert moved.graph.corner_f - stayed.graph.corner_f == pytest.approx(2.0)
    assert moved.graph.corner_g == pytest.approx(stayed.graph.corner_g)


def test_graphs_of_different_shape_are_neither():
    hinge, squared = (learners()[k].risk(spec_of(k, Intercept.NONE), 1).loss for k in ("svm", "squared_hinge"))
    assert oriented(hinge.pieces(1.0), squared.pieces(1.0)) is None


def test_a_free_intercept_without_fixed_records_is_refused_with_the_reason(make):
    problem = make(0, "svm", "free", n=4, members=4, core=0)
    assert "both classes" in accepts(problem)
    with pytest.raises(UnsupportedError, match="both classes"):
        textbook_program(problem)


def test_a_curved_loss_is_refused_with_the_reason(make):
    if "logistic" not in learners():
        pytest.skip("there is no learner with a curved loss here yet")
    problem = replace(make(0), learner=spec_of("logistic", Intercept.PENALIZED))
    assert "linear and complementary" in accepts(problem)


# -- the instances ---


def available():
    return [spec for spec in (*SPECS, *MORE_SPECS) if spec.learner in learners()]


def test_there_are_36_instances_with_names_of_their_own_and_the_prior_ones():
    assert len(SPECS) == 36
    assert len(menu_instances()) == len(SPECS) + len(MORE_SPECS) + 4
    assert sum(name.startswith("prior-") for name in menu_instances()) == 4


@pytest.mark.parametrize("spec", available(), ids=lambda spec: spec.name)
def test_an_instance_is_what_its_name_says(spec):
    problem = make(spec)
    members = problem.collective.members
    assert (problem.n, problem.d, len(members)) == (spec.n, spec.d, spec.k)
    assert {len(problem.options(member)) for member in members} == {spec.o}
    assert 50 <= spec.n <= 500 and 2 <= spec.d <= 30 and 5 <= spec.k <= 20 and 3 <= spec.o <= 8
    assert problem.learner.kind == spec.learner and problem.goal is spec.goal
    margins = evaluate_present(problem).margins
    assert margins == pytest.approx([-spec.shortfall * (q + 1) for q in range(spec.queries)], abs=3e-4)


@pytest.mark.parametrize("name", ["prior-label-flips-n20", "prior-menus-ridge-n200", *(s.name for s in SPECS[::6])])
def test_an_instance_is_the_same_each_time_and_as_a_file(name):
    problem, again = (menu_instances()[name]() for _ in range(2))
    assert problem == again and digest_of(problem) == digest_of(again)
    read = parse_instance(dump_instance(problem))
    assert read.name == name and digest_of(read) == digest_of(problem)


def test_learners_intercepts_goals_and_budgets_all_occur():
    assert {spec.learner for spec in (*SPECS, *MORE_SPECS)} == {*KINDS, "logistic"}
    assert {spec.goal for spec in SPECS} == set(GoalKind)
    assert {spec.limit for spec in SPECS} == set(Limit)
    assert {spec.intercept for spec in SPECS if spec.learner == "svm"} == set(Intercept)


# -- runs ---


def test_the_textbook_and_solve_agree_on_the_smallest_instance():
    """With three of its five members, which is enough for the same answer."""
    problem = menu_instances()[SMALLEST]()
    problem = replace(problem, collective=replace(problem.collective, members=problem.collective.members[:3]))
    textbook, ours = (measure(problem, method, 60.0) for method in ("textbook", "formulation:enumeration"))
    assert textbook.is_closed and ours.is_closed and textbook.verified and ours.verified
    assert textbook.objective == pytest.approx(ours.objective, abs=1e-9)
    assert (textbook.formulation, ours.formulation) == ("textbook", "enumeration")
    assert 0 < textbook.cpu < 1.5 * textbook.seconds + 1


def test_an_instance_that_a_method_does_not_support_gets_a_line_with_the_reason():
    problem = menu_instances()[HARDEST]()
    run = measure(problem, "formulation:enumeration", 5.0)
    assert run.status == UNSUPPORTED and "enumeration" in run.note


@pytest.mark.parametrize("method", ["theirs", "formulation:magic", "kkt_big_m"])
def test_an_unknown_method_is_an_error(method):
    with pytest.raises(InputError, match="is unknown"):
        check_method(method)


def test_a_claim_is_judged_by_its_re_training():
    """A solver that says 0.5 for moves that cost 0.78, with a bound that those do not reach."""
    problem = menu_instances()[SMALLEST]()
    found = formulations()["copies"].build(problem).run(EXACT)
    honest = judged(problem, found, 10.0, 1.0)
    assert honest.status == Status.OPTIMAL and honest.verified
    wrong = judged(problem, replace(found, objective=0.5, bound=0.5), 10.0, 1.0)
    assert wrong.status == Status.FEASIBLE and not wrong.verified
    assert (wrong.objective, wrong.claimed) == (honest.objective, 0.5)
    assert wrong.gap == pytest.approx(honest.objective - 0.5)
    useless = judged(problem, replace(found, moves=()), 10.0, 1.0)
    assert useless.status == Status.UNKNOWN and useless.objective is None and "re-training" in useless.note


def test_a_claim_without_moves_is_unknown_or_infeasible():
    problem = menu_instances()[SMALLEST]()
    nothing = judged(problem, Claim(StoppedBy.TIME_LIMIT, bound=0.1), 10.0, 10.0)
    assert nothing.status == Status.UNKNOWN and nothing.bound == 0.1 and nothing.gap is None
    assert judged(problem, Claim(StoppedBy.PROOF, infeasible=True), 10.0, 1.0).status == Status.INFEASIBLE


def test_a_process_that_does_not_end_is_killed():
    run = run_in_process(Task(HARDEST, "textbook", 60.0, 4 * GIGABYTE), grace=-59.0)
    assert run.status == KILLED and run.seconds == 60.0 and not run.is_closed
    assert run.digest == digest_of(menu_instances()[HARDEST]())


def test_a_process_without_memory_is_recorded_as_crashed(capfd):
    run = run_in_process(Task(SMALLEST, "textbook", 5.0, 1 << 20))
    assert run.status == CRASHED and run.seconds == 5.0
    capfd.readouterr()


def test_what_is_done_is_not_done_again_unless_the_instance_or_the_limit_has_changed():
    names, digest = [SMALLEST], digest_of(menu_instances()[SMALLEST]())

    def left(**others):
        settings = {"digest": digest, "method": "ours", "limit": 20.0, "status": "feasible", **others}
        done = [run_of(SMALLEST, **settings)]
        return [task.method for task in open_tasks(names, ["ours", "textbook"], 20.0, GIGABYTE, done)]

    assert left() == ["textbook"]
    assert left(limit=10.0) == ["ours", "textbook"]
    assert left(limit=10.0, status="optimal") == ["textbook"]
    assert left(digest="old") == ["ours", "textbook"]


def test_patterns_select_instances_and_one_that_fits_nothing_is_an_error():
    assert all(name.startswith("iris-") for name in selected(menu_instances(), "iris-*")) and selected(
        menu_instances(), "iris-*"
    )
    assert (
        all("-huber-" in name for name in selected(menu_instances(), "huber"))
        and len(selected(menu_instances(), "huber")) >= 3
    )
    assert selected(menu_instances(), None) == list(menu_instances())
    with pytest.raises(InputError, match="--only"):
        selected(menu_instances(), "iris-n7")


def test_the_command_runs_reports_and_resumes(tmp_path, capsys):
    results = tmp_path / "results.jsonl"
    arguments = ["--only", SMALLEST, "--methods", "formulation:copies", "--limit", "60", "--results", str(results)]
    assert menus.main(arguments) == 0
    first = capsys.readouterr().out
    assert "1 of 1 runs to do" in first and "contradictions beyond 0.0001: none" in first
    (run,) = read_runs(results)
    assert run.is_closed and run.verified and run.objective == pytest.approx(0.78)
    assert menus.main(arguments) == 0
    assert "0 of 1 runs to do" in capsys.readouterr().out
    assert menus.main(["--report", str(results)]) == 0
    assert len(results.read_text().splitlines()) == 1


def test_several_files_are_reported_together_and_ours_comes_first(tmp_path, capsys):
    files = [tmp_path / "textbook.jsonl", tmp_path / "ours.jsonl"]
    for path, seconds in zip(files, (7.0, 3.0), strict=True):
        append_run(path, run_of(method=path.stem, seconds=seconds))
    assert menus.main(["--report", *map(str, files)]) == 0
    assert "ratio textbook / ours: 2.33" in capsys.readouterr().out


def test_a_line_that_is_none_is_named(tmp_path, capsys):
    results = tmp_path / "results.jsonl"
    results.write_text(json.dumps({"instance": "one"}) + "\n")
    assert menus.main(["--report", str(results)]) == 2
    assert "results.jsonl:1" in capsys.readouterr().err


# -- the report ---


def test_the_shifted_mean_of_a_few_numbers():
    assert shifted_mean([0.0, 3.0]) == pytest.approx(1.0)
    assert shifted_mean([5.0, 5.0, 5.0]) == pytest.approx(5.0)
    assert shifted_mean([0.0, 8.0], shift=0.0 + 1e-12) == pytest.approx(0.0, abs=1e-5)


def test_means_are_over_what_all_methods_support_and_what_is_open_counts_the_limit():
    runs = [
        run_of("one", "ours", 1.0, cpu=0.5),
        run_of("one", "textbook", 31.0),
        run_of("two", "ours", 3.0),
        run_of("two", "textbook", 250.0, "feasible", bound=2.0),
        run_of("three", "ours", 100.0),
        run_of("three", "textbook", 0.0, UNSUPPORTED, None, None),
    ]
    found = Comparison.of(runs)
    assert found.shared(found.methods) == ["one", "two"]
    assert found.mean("ours", ["one", "two"]) == pytest.approx(math.sqrt(2 * 4) - 1)
    assert found.mean("textbook", ["one", "two"]) == pytest.approx(math.sqrt(32 * 301) - 1)
    text = report(found)
    assert "50 %   1.83 s" in text
    assert "closed by ours and not by textbook: 1\n  two" in text
    assert "closed by textbook and not by ours: 0" in text
    assert "contradictions beyond 0.0001: none" in text


def test_only_lines_of_the_instance_as_it_is_now_count():
    runs = [run_of("one", digest="old", objective=5.0, bound=5.0), run_of("one", "textbook", digest="new")]
    assert list(Comparison.of(runs).runs) == [("one", "textbook")]


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"objective": 1.0, "bound": 1.0}, None),
        ({"objective": 1.00005, "bound": 1.00005}, None),
        ({"objective": 0.9, "bound": 0.9}, "beyond the bound 0.9 of textbook"),
        ({"objective": 0.5, "bound": 2.0, "status": "feasible"}, None),
        ({"objective": 0.5, "bound": 0.99, "status": "feasible"}, "beyond the bound 0.99 of textbook"),
        ({"objective": None, "bound": None, "status": "infeasible"}, "says that there is none"),
        ({"objective": 3.0, "bound": 3.0}, "textbook reaches 3, beyond the bound 1 of ours"),
        ({"objective": 0.9, "bound": 0.9, "maximises": False}, "textbook reaches 0.9, beyond the bound 1 of ours"),
    ],
)
def test_contradictions_are_found(other, words):
    ours = run_of(maximises=other.get("maximises", True))
    found = contradictions(Comparison.of([ours, run_of(method="textbook", **other)]))
    assert (found == []) if words is None else any(words in line for line in found)


def test_a_run_beyond_its_own_bound_is_a_contradiction_and_so_is_the_exit_code(capsys):
    runs = [run_of(objective=2.0, bound=1.0)]
    assert "its own bound" in contradictions(Comparison.of(runs))[0]
    assert menus.tell(runs) == 1
    assert "its own bound" in capsys.readouterr().out


def test_a_claim_that_re_training_does_not_give_is_listed():
    text = report(Comparison.of([run_of(objective=0.5, claimed=1.0, verified=False, status="feasible")]))
    assert "NOT as claimed" in text and "one, ours: 1 for 0.5" in text
