"""The policies of several rounds in words and tables, and as one JSON document."""

from __future__ import annotations

from typing import Any

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from oar_opt.problem import Move, RecourseProblem
from oar_opt.report import GOAL_WORDS, number
from oar_opt.result import Status
from oar_opt.rounds import Aim, Plan, Play, Policy, Round, Rounds
from oar_opt.verification import listed_changes, stated_parameters

PROVED = (
    "Each plan is a verified answer to the forecast it was made from, and its certificate is about that forecast; what "
    "the moves achieve in the world was re-trained and checked. No policy is proved to be best in the world."
)


# -- words ---


def rounds_words(rounds: Rounds) -> RenderableType:
    """A table for each policy, side by side, a summary line for each, what is out of the ordinary, what is proved."""
    tables = Columns([_table(rounds, play) for play in rounds.plays], padding=(0, 1))
    lines = [_summary(rounds, play) for play in rounds.plays]
    lines += [f"{_title(play)}, {text}." for play in rounds.plays for text in _notes(play)]
    return Group(Text(_headline(rounds)), tables, Text("\n".join([*lines, PROVED])))


def _headline(rounds: Rounds) -> str:
    turned_out = "as forecast" if rounds.world is rounds.forecast else f"as {rounds.world.name}"
    goal = GOAL_WORDS[rounds.forecast.goal]
    return f"{rounds.forecast.name}: {rounds.T} rounds, which turn out {turned_out}; goal {goal}"


def _title(play: Play) -> str:
    return play.name[0].upper() + play.name[1:]


def _table(rounds: Rounds, play: Play) -> Table:
    table = Table(title=_title(play), title_justify="left")
    acts = play.policy is not Policy.NOBODY
    several = "least margin" if len(rounds.world.queries) > 1 else "margin"
    for column in ("round", *(("acts", "cost") if acts else ()), several):
        table.add_column(column, justify="left" if column == "acts" else "right")
    for t, one in enumerate(play.rounds, start=1):
        who = ", ".join(str(move.record) for move in one.moves) or "-"
        table.add_row(str(t), *((who, number(one.cost)) if acts else ()), number(min(one.margins)))
    return table


def _summary(rounds: Rounds, play: Play) -> str:
    goal, members = GOAL_WORDS[rounds.forecast.goal], len(rounds.forecast.collective.members)
    parts = [f"{_title(play)}: {goal} {number(play.objective)}"]
    if play.broken:
        parts[0] += f", NOT what is required: {'; '.join(play.broken)}"
    else:
        parts += [_query(rounds.world, play, q) for q in range(len(play.margins))]
    if play.policy is not Policy.NOBODY:
        parts.append(f"{len(play.moves)} of {members} members act, cost {number(play.cost)}")
    if play.policy is Policy.OPEN_LOOP and play.plans:
        parts.append(f"forecast {_forecast(play.plans[0])}")
    return "; ".join(parts) + "."


def _query(world: RecourseProblem, play: Play, q: int) -> str:
    helped = "" if not play.helped else " (helped)" if play.helped[q] else " (not helped)"
    return f"{world.queries[q].name} has the margin {number(play.margins[q])}{helped}"


def _forecast(plan: Plan) -> str:
    unit = "" if plan.aim is Aim.GOAL else f" ({plan.aim.value.replace('_', ' ')})"
    if plan.status is Status.OPTIMAL:
        return f"{number(plan.objective)}{unit}, optimal, grade {plan.grade}"
    return f"{number(plan.objective)}{unit}, {plan.status}, bound {number(plan.bound)}"


def _notes(play: Play) -> list[str]:
    return [f"round {t}: {one.note}" for t, one in enumerate(play.rounds, start=1) if one.note]


# -- one document ---


def rounds_document(rounds: Rounds) -> dict[str, Any]:
    """All policies with all rounds; rounds and members as in the instance's file, rounds counted from 1."""
    forecast, world = rounds.forecast, rounds.world
    return {
        "instance": forecast.name,
        "instance_sha256": forecast.sha256,
        "world": None if world is forecast else world.name,
        "world_sha256": None if world is forecast else world.sha256,
        "goal": forecast.goal.value,
        "rounds": rounds.T,
        "policies": [_play_document(world, play) for play in rounds.plays],
        "proved": PROVED,
    }


def _play_document(world: RecourseProblem, play: Play) -> dict[str, Any]:
    return {
        "policy": play.policy.value,
        "horizon": play.horizon,
        "objective": play.objective,
        "gives_what_is_required": play.outcome is not None and not play.broken,
        "broken": list(play.broken),
        "stopped_by": play.stopped_by.value if play.stopped_by else None,
        "cost": play.cost,
        "members": len(play.moves),
        "queries": [
            {"name": query.name, "margin": margin, "helped": play.helped[q] if play.helped else None}
            for q, (query, margin) in enumerate(zip(world.queries, play.margins, strict=bool(play.margins)))
        ],
        "rounds": [_round_document(world, t, one) for t, one in enumerate(play.rounds, start=1)],
    }


def _round_document(world: RecourseProblem, t: int, one: Round) -> dict[str, Any]:
    return {
        "round": t,
        "arrives": list(one.arrives),
        "moves": [_move_document(world, move) for move in one.moves],
        "cost": one.cost,
        "parameters": stated_parameters(world, one.parameters).model_dump(mode="json"),
        "margins": {query.name: margin for query, margin in zip(world.queries, one.margins, strict=True)},
        "guard_margins": {guard.name: margin for guard, margin in zip(world.guards, one.guard_margins, strict=True)},
        "plan": None if one.plan is None else _plan_document(one.plan),
        "note": one.note,
        "seconds": one.seconds,
    }


def _plan_document(plan: Plan) -> dict[str, Any]:
    return {
        "first_round": plan.first + 1,
        "last_round": plan.last,
        "aim": plan.aim.value,
        "status": plan.status.value,
        "grade": plan.grade.value,
        "objective": plan.objective,
        "bound": plan.bound,
        "formulation": plan.formulation,
        "members": [move.record for move in plan.moves],
    }


def _move_document(world: RecourseProblem, move: Move) -> dict[str, Any]:
    return {
        "record": move.record,
        "x": list(move.x),
        "y": world.label_of(move.y),
        "weight": move.s,
        "cost": move.cost,
        "changes": listed_changes(world, move.record, move.x),
    }
