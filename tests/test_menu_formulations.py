"""Every program over menus against re-training of every choice: optimum, parameters, excluded moves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from oar_opt.discovery import formulations, learner_of
from oar_opt.evaluate import enumerate_choices, evaluate
from oar_opt.problem import resulting_records
from oar_opt.result import Request, StoppedBy

EXACT = Request(relative_gap=1e-9, tightening=0.0)


def outcomes(problem, moves_of):
    """Every answer by re-training, the best first; moves with the same result count once, by the best of them."""
    found = {}
    for _, moves in moves_of(problem):
        if not learner_of(problem).undefined(problem, problem.apply(moves)):
            outcome = evaluate(problem, moves)
            result = resulting_records(problem, moves)
            if not outcome.broken and (result not in found or outcome.exceeds(found[result])):
                found[result] = outcome
    return sorted(found.values(), key=lambda o: -o.objective if problem.goal.maximises else o.objective)


# -- excluded moves ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["kkt_big_m", "enumeration"])
@pytest.mark.parametrize("seed", range(12))
def test_excluding_the_answers_one_by_one_goes_through_all_of_them_in_order(make, moves_of, name, seed):
    goal = ("max_margin", "min_cost", "min_members")[seed % 3]
    kind = ("ridge", "svm")[seed % 2]
    problem = make(
        seed, kind, "penalized", goal, n=7, options=1, withhold=seed % 4 == 1, identical=seed % 2 == 0, required=0.01
    )
    formulation, excluded = formulations()[name], ()
    every = outcomes(problem, moves_of)
    for expected in every:
        claim = formulation.build(problem, replace(EXACT, excluded=excluded)).run(replace(EXACT, excluded=excluded))
        assert claim.objective == pytest.approx(expected.objective, abs=1e-6)
        assert resulting_records(problem, claim.moves) not in {resulting_records(problem, moves) for moves in excluded}
        excluded = (*excluded, claim.moves)
    claim = formulation.build(problem, replace(EXACT, excluded=excluded)).run(replace(EXACT, excluded=excluded))
    assert claim.infeasible and claim.moves is None and claim.stopped_by is StoppedBy.PROOF


@pytest.mark.parametrize("name", ["kkt_big_m", "enumeration"])
def test_a_collective_of_nobody_has_one_move_to_exclude(make, name):
    request = replace(EXACT, excluded=((),))
    assert formulations()[name].build(make(1, members=0), request).run(request).infeasible


@pytest.mark.parametrize("name", ["kkt_big_m", "enumeration"])
def test_excluding_what_no_member_can_do_changes_nothing(make, name):
    problem = make(1)
    best = enumerate_choices(problem).best
    stranger = replace(best.moves[0], s=17.0) if best.moves else None
    assert stranger is not None
    request = replace(EXACT, excluded=((stranger,), (replace(stranger, record=0),)))
    claim = formulations()[name].build(problem, request).run(request)
    assert claim.moves == best.moves

