"""Comparisons: numbers are those of re-training, nothing beats the bound or breaks a rule unnoticed, formats agree."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from oar_opt.compare import EXACT, compare, wanted
from oar_opt.compare_words import (
    columns_of,
    comparison_document,
    comparison_latex,
    comparison_records,
    comparisons_csv,
    gain_sentence,
    individual_sentences,
    left_out,
)
from oar_opt.contracts import Proposal
from oar_opt.discovery import heuristics
from oar_opt.errors import InputError, UnsupportedError, VerificationError
from oar_opt.evaluate import Evaluation, enumerate_choices, evaluate
from oar_opt.library import load
from oar_opt.problem import Collective, GoalKind, Move
from oar_opt.result import Status

QUICK = {"heuristic_seconds": 0.3}


@pytest.fixture(scope="module")
def school():
    return load("school-two-neighbourhoods")


@pytest.fixture(scope="module")
def compared(school):
    return compare(school, heuristic_seconds=0.5)


def test_every_number_is_that_of_re_training(make):
    problem = make(2, "ridge", "penalized", members=3, options=3)
    found, best = compare(problem, ["stay", "local_search", EXACT], **QUICK), enumerate_choices(problem).best
    stay, joint = found.row("stay"), found.row(EXACT)
    assert stay.objective == stay.margin == evaluate(problem, ()).objective and stay.members == 0 and stay.cost == 0
    assert joint.objective == pytest.approx(best.objective, abs=1e-6) and joint.status is Status.OPTIMAL
    assert joint.members == len(best.moves) and joint.cost == pytest.approx(sum(m.cost for m in best.moves))
    size = max(1.0, abs(stay.objective))
    assert stay.gap == pytest.approx((found.exact.bound - stay.objective) / size, abs=1e-9)
    assert 0 <= joint.gap <= problem.tolerances.relative_gap
    assert found.present.margins == (stay.margin,)


@pytest.mark.parametrize("goal", list(GoalKind))
def test_the_gap_of_costs_is_what_they_exceed_the_bound_by(make, goal):
    problem = make(5, "ridge", "free", goal=goal, members=3, options=3, required=0.02)
    found = compare(problem, ["stay", "local_search", EXACT], **QUICK)
    best = enumerate_choices(problem).best
    if best is None:
        assert found.exact.status is Status.INFEASIBLE and all(row.objective is None for row in found.rows)
        return
    sign = 1 if goal.maximises else -1
    for row in found.rows:
        if row.objective is not None:
            assert sign * row.objective <= sign * best.objective + 1e-6
            expected = sign * (found.exact.bound - row.objective) / max(1.0, abs(row.objective))
            assert row.gap == pytest.approx(max(0.0, expected), abs=1e-9)


def test_methods_come_in_one_order_and_unknown_ones_are_told():
    assert wanted()[0] == "stay" and wanted()[-1] == EXACT and set(heuristics()) < set(wanted())
    assert wanted([EXACT, "stay"]) == ("stay", EXACT)
    with pytest.raises(InputError, match=r"'magic' is unknown.*stay"):
        wanted(["magic"])
    with pytest.raises(InputError, match="names none"):
        wanted([])


def test_methods_that_do_not_apply_are_told_with_the_reason(compared):
    assert any("projected_gradient: no member has room" in text for text in left_out(compared))


def test_a_method_that_breaks_a_rule_is_an_error(school, monkeypatch):
    far = Proposal((Move(school.collective.members[0].record, (1e6,) * school.d, 1.0, 1.0, 0.0),))
    monkeypatch.setattr(type(heuristics()["local_search"]), "propose", lambda *_, **__: far)
    with pytest.raises(VerificationError, match="'local_search' breaks a rule"):
        compare(school, ["local_search"])


def test_a_method_beyond_the_bound_is_an_error(school, compared):
    lie = compared.exact.model_copy(update={"bound": -0.5, "objective": -0.5})
    with pytest.raises(VerificationError, match=r"'stay' reaches .*, beyond the bound -0.5"):
        compare(school, ["stay"], exact=lie)
    none = compared.exact.model_copy(update={"status": Status.INFEASIBLE, "objective": None, "bound": None})
    with pytest.raises(VerificationError, match="says that there is none"):
        compare(school, ["stay"], exact=none)


def test_an_answer_that_is_given_is_not_solved_for_again(school, compared, monkeypatch):
    monkeypatch.setattr("oar_opt.pipeline.solve", None)
    again = compare(school, ["stay", EXACT], exact=compared.exact)
    assert again.row(EXACT).objective == compared.row(EXACT).objective


def test_infeasible_instances_and_empty_collectives_have_a_table():
    found = compare(load("loan-beyond-reach"), ["stay", EXACT])
    assert found.exact.status is Status.INFEASIBLE and found.row(EXACT).reason == "infeasible" and found.gain is None
    problem = load("school-two-neighbourhoods")
    nobody = compare(replace(problem, collective=Collective(())), **QUICK)
    assert nobody.row(EXACT).objective == nobody.row("stay").objective and nobody.row(EXACT).members == 0


def refusing(error):
    """A function that raises an error, whatever it is called with."""

    def refuse(*_, **__):
        raise error

    return refuse


def test_what_one_method_cannot_do_is_its_own_reason_only(school, monkeypatch):
    monkeypatch.setattr(type(heuristics()["local_search"]), "propose", refusing(UnsupportedError("too many values")))
    found = compare(school, ["stay", "local_search"])
    assert found.row("local_search").reason == "too many values" and found.row("local_search").seconds is None
    assert found.row("stay").objective == evaluate(school, ()).objective


def test_an_optimum_on_an_unsettled_tie_is_a_reason_and_other_mistakes_are_errors(school, monkeypatch):
    monkeypatch.setattr("oar_opt.pipeline.solve", refusing(InputError("position", "is unsettled")))
    found = compare(school, ["stay", EXACT])
    assert found.row(EXACT).reason == "position: is unsettled" and found.row("stay").objective is not None
    monkeypatch.setattr("oar_opt.pipeline.solve", refusing(InputError("--formulation", "is unknown")))
    with pytest.raises(InputError, match="--formulation"):
        compare(school, ["stay", EXACT])


def test_without_a_model_before_anyone_acts_members_are_compared_all_the_same(make):
    """Only + has records; whoever reports - makes a learner of it."""
    problem = make(1, "logistic", "free", labels=True, options=0)
    problem = replace(problem, records=replace(problem.records, y=np.ones(problem.n)))
    found = compare(problem, ["stay", "local_search"], **QUICK)
    assert found.present is None and found.individual == () and "has no weight left" in found.row("stay").reason
    assert found.row("local_search").objective is not None and found.row("local_search").members >= 1
    (sentence,) = individual_sentences(found)
    assert sentence.startswith("No individual recourse: the learner is undefined")
    assert comparison_document(found)["without_individual"].startswith("no individual recourse")


def test_margins_that_re_training_does_not_settle_are_no_answer(school, monkeypatch):
    monkeypatch.setattr(Evaluation, "inaccuracy", 0.01)
    row = compare(school, ["stay"]).row("stay")
    assert row.objective is None and not row.succeeds and row.margin == min(evaluate(school, ()).margins)
    assert row.reason == "margins are known to 0.01 only, by re-training"


def test_an_answer_that_helps_nobody_is_no_success(make):
    problem = make(2, "ridge", "penalized", goal="max_helped", members=0, required=1e3)
    for row in compare(problem, ["stay", EXACT], **QUICK).rows:
        assert (row.objective, row.helped, row.succeeds) == (0.0, 0, False)


# -- formats ---


def test_records_csv_and_json_say_the_same(compared):
    records = comparison_records(compared)
    lines = list(csv.DictReader(io.StringIO(comparisons_csv([compared, compared]))))
    assert len(lines) == 2 * len(records)
    for line, record in zip(lines, records, strict=False):
        assert line["method"] == record["method"]
        assert line["objective"] == ("" if record["objective"] is None else repr(record["objective"]))
    document = json.loads(json.dumps(comparison_document(compared), allow_nan=False))
    assert document["methods"] == json.loads(json.dumps(records)) and document["bound"] == compared.exact.bound


def test_latex_has_a_cell_for_every_column_and_escapes(compared):
    text = comparison_latex(compared)
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.count(" & ") for line in rows} == {len(columns_of(compared.problem)) - 2}
    assert r"\%" in text and " % " not in text.replace(r"\%", "").split("\n", 1)[1]


def test_what_the_query_could_do_alone_is_told_for_each(compared):
    first, second = individual_sentences(compared)
    assert "Individual recourse of neighbour" in first and "grade" in first
    assert "No member moves features" in second


def test_the_gain_is_told_where_it_is_known(compared):
    assert (gain_sentence(compared) is None) == (compared.gain is None)


# -- the command ---


def test_the_command_prints_tables_for_several_instances(oar):
    code, out, err = oar("compare", "gig-two-colleagues", "tenant-immutable", "--methods", "stay,exact")
    assert code == 0 and "gig-two-colleagues" in out and "tenant-immutable" in out and "joint optimum" in out
    assert "gig-two-colleagues: exact" in err
    code, out, _ = oar("compare", "gig-two-colleagues", "--methods", "stay", "--json", "-q")
    assert code == 0 and json.loads(out)[0]["methods"][0]["method"] == "stay"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--methods", "magic"], "'magic' is unknown"),
        (["--methods", ","], "names none"),
        (["--csv", "--json"], "are given together"),
        (["--formulation", "magic"], "'magic' is unknown"),
        (["--time-limit", "0"], "above 0"),
    ],
)
def test_mistakes_are_told(oar, arguments, words):
    code, _, err = oar("compare", "gig-two-colleagues", "-q", "--heuristic-seconds", "0.1", *arguments)
    assert code == 2 and words in err


# -- shipped instances ---

SOLVED_QUICKLY = (
    "gig-two-colleagues",
    "iris-centroid-l2-r05-k10",
    "iris-running-centroids",
    "iris-svm-label-flips",
    "loan-next-update",
    "tenant-immutable",
    "wine-ridge-fewest",
)


@pytest.mark.parametrize("name", SOLVED_QUICKLY)
def test_no_method_beats_the_bound_or_breaks_a_rule_on_shipped_instances(name):
    """Either would be an error of the comparison."""
    found = compare(load(name), heuristic_seconds=0.4)
    assert found.exact.status is Status.OPTIMAL and sum(row.seconds is not None for row in found.rows) >= 6
    sign = 1 if found.problem.goal.maximises else -1
    size = max(1.0, abs(found.exact.objective))
    for row in found.rows:
        if row.objective is not None:
            # Better than the answer itself only as far as the gap to which it is optimal.
            assert sign * (row.objective - found.exact.objective) <= found.problem.tolerances.relative_gap * size
    if found.gain is not None and found.gain.most is not None:
        assert found.gain.most >= found.gain.least


def test_a_gain_over_members_problems_that_are_not_solved_is_called_provisional(monkeypatch):
    """One gradient step adds up what members do, so there is next to no gain; cut off, it would look like one."""
    problem, methods = load("loan-next-update"), ["independent", EXACT]
    whole = compare(problem, methods, heuristic_seconds=10)
    assert whole.row("independent").settled and not whole.gain.is_provisional
    assert "none beyond the tolerance" in gain_sentence(whole) and "Provisional" not in gain_sentence(whole)
    monkeypatch.setattr("oar_opt.alone.SOLVE_SECONDS", 1e9)
    cut = compare(problem, methods, heuristic_seconds=0.1, exact=whole.exact)
    assert not cut.row("independent").settled and cut.gain.is_provisional
    assert "Provisional" in gain_sentence(cut) and comparison_document(cut)["coordination_gain"]["is_provisional"]


def test_members_who_help_only_together_gain_by_coordination():
    """Everybody optimises as if alone, and the sum of that is less than what they reach together, certified."""
    found = compare(load("iris-svm-label-flips"), ["isolated", "independent", EXACT], heuristic_seconds=2)
    assert found.gain.least > 0.19 and found.gain.grade == "enumerated"
    assert found.row("isolated").objective < found.row("independent").objective < found.exact.objective
