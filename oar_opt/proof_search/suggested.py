"""The change that a relaxation suggests: of every member what has the largest share, of a set of changes its mean."""

from __future__ import annotations

import numpy as np

from oar_opt.changes import change_sets
from oar_opt.problem import Member, Move, RecourseProblem
from oar_opt.projection import nearest_on_grids
from oar_opt.proof.exact_changes import is_allowed_change
from oar_opt.proof.parts import Part
from oar_opt.proof_search.assessed import Assessed
from oar_opt.proof_search.cone_rows import Floats


def suggested(part: Part, assessed: Assessed) -> tuple[Move, ...] | None:
    """Its moves, None without sets; a member whose mean is near no change that its rules allow stays."""
    if not assessed.spreads:
        return None
    found = []
    for record, left in part.options.items():
        share = assessed.shares.get(record)
        option = left[0] if share is None else left[int(np.argmax(share))]
        if part.is_set(record, option):
            # There is none where the record has no weight: then it does not matter where its changes lead.
            spread = assessed.spreads.get((record, option))
            move = None if spread is None else _near(part.problem, part.problem.member_at[record], spread.mean)
        else:
            move = part.menus[record][option - 1] if option > 0 else None
        found += [] if move is None else [move]
    return tuple(found)


def _near(problem: RecourseProblem, member: Member, mean: Floats) -> Move | None:
    if not np.isfinite(mean).all():
        return None
    for one in change_sets(problem, member):
        delta = nearest_on_grids(one, mean)
        move = None if delta is None else one.move(delta)
        if move is not None and is_allowed_change(problem, member, move):
            return move
    return None
