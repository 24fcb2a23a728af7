"""Bounds on show: what is listed holds for every choice, is told with its reasons, and refusals say why."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from oar_opt.active_bounds import ActiveBound, Quantity, active_bounds
from oar_opt.bounds import ProvedBound, Reason
from oar_opt.bounds_listing import list_bounds
from oar_opt.discovery import formulations
from oar_opt.errors import InputError, UnsupportedError, VerificationError
from oar_opt.evaluate import evaluate
from oar_opt.instance_file import save_instance
from oar_opt.parameters import LinearParameters
from oar_opt.pipeline import solve
from oar_opt.problem import Intercept, LearnerSpec, Move
from oar_opt.result import Request
from oar_opt.solution_file import Solution


@pytest.fixture
def instance(make, tmp_path):
    def write(seed=2, name="small", **traits):
        path = tmp_path / f"{name}.json"
        save_instance(replace(make(seed, **traits), name=name), path)
        return path

    return write


def programs():
    return [name for name, formulation in formulations().items() if formulation.exportable]


# -- what is listed ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ridge", "svm"])
@pytest.mark.parametrize("intercept", ["none", "penalized"])
@pytest.mark.parametrize("seed", range(3))
def test_every_interval_holds_for_every_choice(make, moves_of, seed, kind, intercept):
    """The re-trained value of each quantity lies in its interval, whatever the members choose."""
    problem = make(seed, kind, intercept, withhold=True, queries=2)
    program = formulations()["kkt_big_m"].build(problem, Request(tightening=0.0))
    assert program.quantities.keys() == program.bounds.keys()
    used = set()
    for _, moves in moves_of(problem):
        parameters = evaluate(problem, moves).parameters
        assert isinstance(active_bounds(program.bounds, program.quantities, moves, parameters), tuple)
        for name, bound in program.bounds.items():
            value = program.quantities[name].value(moves, parameters)
            if value is not None:
                used.add(name)
                assert bound.lower - 1e-6 <= value <= bound.upper + 1e-6
    assert used == set(program.bounds)


def test_quantities_are_the_decision_values_that_they_are_called(make):
    problem = make(2, "svm", "penalized", queries=1)
    member = problem.collective.members[0]
    option = problem.admissible_options(member)[1]
    move = Move(member.record, option.x, option.y, option.s, option.cost)
    program = formulations()["kkt_big_m"].build(problem, Request(tightening=0.0))
    theta = LinearParameters((0.7, -0.3), 0.2)

    def value(name, moves=(move,)):
        return program.quantities[name].value(moves, theta)

    def f(x):
        return float(np.dot(theta.w, x) + theta.b)

    i = member.record
    assert value("f(q0)") == pytest.approx(f(problem.queries[0].x))
    assert value(f"f[{i},1] if chosen") == pytest.approx(f(option.x)) and value(f"f[{i},0] if chosen") is None
    assert value(f"f[{i},1] if chosen", ()) is None
    assert value(f"f[{i},0] if chosen", ()) == pytest.approx(f(problem.records.X[i]))
    fixed = next(name for name, quantity in program.quantities.items() if quantity.record is not None)
    record = program.quantities[fixed].record
    assert fixed == f"f[{record}]" and value(fixed) == pytest.approx(f(problem.records.X[record]))


def test_tightening_lists_narrower_intervals_and_what_they_hold_for(make):
    problem = make(5, "svm", "penalized", n=14, members=3)
    loose, tight = list_bounds(problem), list_bounds(problem, tighten=3.0)
    widths = [{one.name: one.bound.upper - one.bound.lower for one in listing.bounds} for listing in (loose, tight)]
    common = widths[0].keys() & widths[1].keys()
    assert sum(widths[1][name] for name in common) < 0.8 * sum(widths[0][name] for name in common)
    assert loose.cutoff is None and loose.conditional == 0 and tight.conditional > 0
    assert tight.cutoff <= solve(problem).objective + 1e-4
    assert Reason.TIGHTENING in tight.ends_by_reason and Reason.TIGHTENING not in loose.ends_by_reason


def test_constant_records_are_those_without_variables(make):
    problem = make(5, "svm", "penalized", n=14, members=2, strength=0.3)
    listing = list_bounds(problem, "kkt_big_m", tighten=3.0)
    request = Request(tightening=3.0, cutoff=listing.cutoff)
    program = formulations()["kkt_big_m"].build(problem, request)
    assert set(program.model.fixed) == set(listing.open_records)
    assert listing.constant and not set(listing.constant) & set(listing.open_records)


# -- the command ------------------------------------------------------------------------------------------------------


def test_the_table_tells_quantities_reasons_and_a_summary(oar, instance):
    code, out, err = oar("bounds", instance(kind="svm", intercept="penalized"))
    assert code == 0 and err == ""
    for words in (
        "decision value of record", "option 1, if chosen", "coordinate 0", "query 'q0'", "intervals. Ends by reason:",
        "Widest: ", "records of no member", "hold for every admissible move",
    ):  # fmt: skip
        assert words in out, out
    code, out, _ = oar("bounds", instance(kind="svm", intercept="penalized"), "--tighten", 2)
    out = " ".join(out.split())
    assert code == 0 and "tightening" in out and "at least as good as the best verified one, which reaches" in out


def test_json_is_the_same_listing(oar, instance):
    path = instance(kind="svm", intercept="free", seed=4)
    code, out, _ = oar("bounds", path, "--json", "--formulation", "kkt_big_m")
    document = json.loads(out)
    assert code == 0 and document["instance"] == "small" and document["formulation"] == "kkt_big_m"
    for bound in document["bounds"]:
        assert bound["lower"] is None or bound["upper"] is None or bound["lower"] <= bound["upper"]
        assert bound["lower_reason"] in set(Reason) and bound["quantity"]
    assert sum(document["ends_by_reason"].values()) == 2 * len(document["bounds"])


@pytest.mark.parametrize("name", programs())
def test_every_program_with_intervals_can_be_listed(make, name):
    problem = make(2, "svm", "penalized")
    if formulations()[name].accepts(problem):
        pytest.skip(f"{name}: {formulations()[name].accepts(problem)}")
    listing = list_bounds(problem, name)
    assert listing.bounds and listing.formulation == name


def test_refusals_exit_with_2_and_say_why(oar, instance, make, tmp_path):
    # Features far apart in size, hardly any penalty: an interval that no solver's tolerance resolves.
    wide = make(0, "svm", "penalized", strength=1e9)
    path = tmp_path / "wide.json"
    save_instance(replace(wide, name="wide"), path)
    code, out, err = oar("bounds", path, "--formulation", "kkt_big_m")
    assert code == 2 and not out and "no finite bound is proved for" in err
    code, out, err = oar("bounds", path)
    assert code == 2 and "kkt_big_m: no finite bound is proved" in err
    for arguments, words in [
        (("--formulation", "magic"), "magic"),
        (("--formulation", "enumeration"), "no proved intervals"),
        (("--tighten", "-1"), "--tighten"),
    ]:
        code, out, err = oar("bounds", instance(), *arguments)
        assert code == 2 and not out and words in err, err
    code, _, err = oar("bounds", "iris-centroid-linf-rules", "--formulation", "centroid_closed_form")
    assert code == 2 and "no proved intervals" in err


def test_a_wrong_time_is_an_input_error(make):
    for seconds in (-1.0, float("nan"), float("inf")):
        with pytest.raises(InputError):
            list_bounds(make(0), tighten=seconds)
    with pytest.raises(UnsupportedError):
        list_bounds(make(0), "enumeration")


# -- active bounds ----------------------------------------------------------------------------------------------------


def interval(lower, upper):
    return ProvedBound(lower, upper, Reason.STATIONARITY, Reason.TIGHTENING)


def at(value):
    return {"f": Quantity("decision value", lambda moves, parameters: value)}


NOBODY = ((), LinearParameters((0.0,), 0.0))


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (0.0, ()),
        (2.0 - 1e-6, (ActiveBound("f", "decision value", 2.0, Reason.TIGHTENING),)),
        (-1.0 + 1e-6, (ActiveBound("f", "decision value", -1.0, Reason.STATIONARITY),)),
        (2.0 - 1e-3, ()),
        (2.0 + 1e-6, (ActiveBound("f", "decision value", 2.0, Reason.TIGHTENING),)),
        (None, ()),
    ],
)
def test_an_answer_at_an_end_is_active(value, found):
    assert active_bounds({"f": interval(-1.0, 2.0)}, at(value), *NOBODY) == found


def test_an_interval_that_is_a_point_is_not_active_and_an_open_end_neither():
    assert active_bounds({"f": interval(1.0 - 1e-6, 1.0 + 1e-6)}, at(1.0), *NOBODY) == ()
    assert active_bounds({"f": interval(-np.inf, np.inf)}, at(1.0), *NOBODY) == ()


@pytest.mark.parametrize("value", [2.1, -1.1])
def test_an_answer_beyond_an_end_refutes_the_proof(value):
    with pytest.raises(VerificationError, match=r"decision value .* outside its proved interval"):
        active_bounds({"f": interval(-1.0, 2.0)}, at(value), *NOBODY)


def test_a_wrong_big_m_is_caught_where_the_answer_refutes_it(make, monkeypatch):
    """Intervals that the answer's re-trained parameters do not obey: the run ends with an error, not with a claim."""
    problem = make(2, "ridge", "penalized", members=2, options=3)
    original = type(formulations()["kkt_big_m"]).build

    def build(self, problem, request):
        program = original(self, problem, request)
        wrong = {name: interval(50.0, 60.0) for name in program.bounds}
        return replace(program, bounds=wrong)

    monkeypatch.setattr(type(formulations()["kkt_big_m"]), "build", build)
    with pytest.raises(VerificationError, match="the proof is wrong"):
        solve(problem, formulation="kkt_big_m")


def test_active_bounds_are_in_the_result_the_file_and_the_words(make, oar, tmp_path):
    problem = replace(make(21, "svm", "penalized", members=2), name="small")
    result = solve(problem, formulation="kkt_big_m")
    names = tuple(bound.name for bound in result.active_bounds)
    assert result.solution.method.active_bounds == names
    document = json.loads(result.solution.model_dump_json())
    assert Solution.model_validate_json(json.dumps(document)) == result.solution
    path = tmp_path / "small.json"
    save_instance(problem, path)
    code, out, _ = oar("solve", path, "--formulation", "kkt_big_m")
    assert code == 0 and out.count("\nBounds: ") == 1
    without = solve(problem, formulation="enumeration")
    assert without.active_bounds is None
    assert "active_bounds" not in without.solution.model_dump(mode="json")["method"]


def test_an_answer_at_the_end_of_its_interval_is_told_by_name(make, monkeypatch):
    """One member who may only stay: the query's interval is cut to the value that it has."""
    problem = make(3, "ridge", "penalized", members=1)
    problem = replace(problem, learner=LearnerSpec("ridge", Intercept.PENALIZED, alpha=1.0))
    best = solve(problem, formulation="kkt_big_m")
    value = best.objective * problem.queries[0].target
    original = type(formulations()["kkt_big_m"]).build

    def build(self, problem, request):
        program = original(self, problem, request)
        return replace(program, bounds={**program.bounds, "f(q0)": interval(value - 1.0, value)})

    monkeypatch.setattr(type(formulations()["kkt_big_m"]), "build", build)
    found = solve(problem, formulation="kkt_big_m")
    assert "f(q0)" in found.solution.method.active_bounds
    assert any(bound.words == "decision value of query 'q0'" for bound in found.active_bounds)
