"""All choices of a region, settled by re-training: most of them in batches and only as far as they matter.

Every choice that obeys the budgets is trained in a batch (:mod:`oar_opt.batch_training`) until upper bounds on its
margins show that it is no better move than the best one, which takes a few steps for most. What is left over, few
choices as a rule, is re-trained like any answer. Learners that have no batches are re-trained choice by choice.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from oar_opt.batch_training import BatchTraining, has_batches
from oar_opt.choice_batches import ChoiceBatches, Limit
from oar_opt.evaluate import Evaluation
from oar_opt.menu_program import equal_options
from oar_opt.problem import Flags, GoalKind, Indices, Matrix
from oar_opt.relaxation import WIDENING, Region
from oar_opt.result import Progress
from oar_opt.retraining_search import RetrainingSearch

GUESSED_SECONDS = 5e-7
"""For one term of one choice, before any was tried."""
BATCH = 1000
"""Choices at a time where they are re-trained one by one."""
FARTHEST = 3
"""For how many members a move may differ from the best one to be tried next."""
REPORTS = 1.0
"""Seconds between two reports of progress."""


@dataclass
class Screening:
    """What a search settles in this way, and how long that takes: ``seconds`` for ``tried`` choices so far; ``told``
    is when progress was last reported."""

    search: RetrainingSearch
    seconds: float = 0.0
    tried: int = 0
    told: float = 0.0

    def __post_init__(self) -> None:
        problem, bounds = self.search.problem, self.search.bounds
        subjects = (*problem.queries, *problem.guards)
        self.subjects = np.array([s.target * bounds.risk.extend(np.array([s.x]))[0] for s in subjects])
        self.constants = np.array([-s.target * s.threshold for s in subjects])
        self.needed = np.array([problem.needed_margin(subject) for subject in subjects]) - WIDENING
        self.in_batches = has_batches(bounds.risk) and self.search.loss_limit is None

    def expected_seconds(self, region: Region, terms: int) -> float:
        """What closing a region may take whose fixed records have so many terms that are no lines."""
        return self.choices(region).count * self._each(terms + len(self.search.menus))

    def _each(self, terms: int) -> float:
        """What a choice with so many terms takes."""
        if not self.in_batches:
            return self.search.training_seconds()
        return self.seconds / self.tried if self.tried else GUESSED_SECONDS * terms

    def choices(self, region: Region) -> ChoiceBatches:
        """The region's choices that obey the budgets and do not cost more than a better move may."""
        search = self.search
        problem, target = search.problem, search.target()
        budget = problem.collective.budget
        total = math.inf if budget.total is None else budget.total
        members = math.inf if budget.members is None else budget.members
        if target is not None and problem.goal is GoalKind.MIN_COST:
            total = min(total, target)
        if target is not None and problem.goal is GoalKind.MIN_MEMBERS:
            members = min(members, math.floor(target + WIDENING))
        bounds = search.bounds
        return ChoiceBatches(
            tuple(np.flatnonzero(region.allowed & (bounds.owner == i)) for i in range(len(search.menus))),
            np.array([option.cost for menu in search.menus for option in menu]),
            (bounds.place > 0).astype(float),
            Limit(total + 1e-9 * (1 + total) if math.isfinite(total) else total, members),
        )

    def close(self, region: Region, bound: float) -> bool:
        """Settle every choice of the region, for all of which ``bound`` holds; False if there was no time for it."""
        begun = time.monotonic()
        try:
            with threadpool_limits(self.search.request.threads):
                return self._close(region, bound)
        finally:
            self.seconds += time.monotonic() - begun

    def _close(self, region: Region, bound: float) -> bool:
        batch = self._batch(region)
        for options in self.choices(region).batches(batch.size if batch else BATCH):
            if self.search.stopped() is not None:
                return False
            if batch is not None:
                self._screen(batch, options, bound)
            elif not self._one_by_one(options, bound):
                return False
            self.tried += len(options)
            self._report(bound)
        return True

    def _report(self, bound: float) -> None:
        search, now = self.search, self.search.elapsed()
        if search.request.progress is not None and now - self.told >= REPORTS:
            self.told = now
            primal = None if search.best is None else search.best.objective
            search.request.progress(Progress(now, search.nodes, primal, bound if math.isfinite(bound) else None))

    def climb(self, region: Region, seconds: float) -> None:
        """Replace the best move by a better one of the region that differs for two or three members, as long as there
        is one and ``seconds`` are left; every one of them is tried at once."""
        batch, end = self._batch(region), self.search.elapsed() + seconds
        distance = 2
        while batch is not None and self.search.best is not None and distance <= FARTHEST:
            choices, begun = self.choices(region), time.monotonic()
            expected = choices.count_near(distance) * self._each(batch.terms.width)
            if self.search.elapsed() + expected > min(end, self.search.elapsed() + self.search.seconds_left()):
                return
            known = self.search.best
            rows = self._rows_of(known)
            if rows is None:
                return
            with threadpool_limits(self.search.request.threads):
                for options in choices.near(rows, distance, batch.size):
                    if self.search.stopped() is not None:
                        return
                    self._screen(batch, options, self.search.sign * math.inf)
                    self.tried += len(options)
            self.seconds += time.monotonic() - begun
            distance = distance + 1 if self.search.best is known else 2

    def _rows_of(self, answer: Evaluation) -> Indices | None:
        """The rows of the options that an answer chooses, ``(k,)``; None where it has a move that is no option."""
        moves = {move.record: move for move in answer.moves}
        members = self.search.problem.collective.members
        equal = [
            equal_options(menu, moves.get(member.record))
            for member, menu in zip(members, self.search.menus, strict=True)
        ]
        if not all(equal):
            return None
        return np.asarray(self.search.first_row[:-1] + np.array([places[0] for places in equal], dtype=np.int64))

    def _batch(self, region: Region) -> BatchTraining | None:
        if self.in_batches:
            batch = BatchTraining(self.search.bounds, region, self.subjects, self.constants)
            self.in_batches = batch.is_sound
        return batch if self.in_batches else None

    def _screen(self, batch: BatchTraining, options: Indices, bound: float) -> None:
        found = batch.screen(options, lambda upper, _: self.hopeless(upper))
        worst = found.upper[:, : len(self.search.problem.queries)].min(axis=1)
        for j in np.argsort(-worst, kind="stable"):
            # The best move, and with it what is hopeless, may have changed since.
            if not self.hopeless(found.upper[j : j + 1])[0]:
                self._settle(options[found.left[j]], bound)

    def _one_by_one(self, options: Indices, bound: float) -> bool:
        for rows in options:
            if self.search.stopped() is not None:
                return False
            self._settle(rows, bound)
        return True

    def _settle(self, rows: Indices, bound: float) -> None:
        self.search.settle(tuple(int(place) for place in rows - self.search.first_row[:-1]), bound)

    def hopeless(self, upper: Matrix) -> Flags:
        """Which choices are no better move, given upper bounds on the margins of queries and guards, ``(m, S)``."""
        problem, target = self.search.problem, self.search.target()
        queries = len(problem.queries)
        short = upper < self.needed
        dead: Flags = np.asarray(short[:, queries:].any(axis=1))
        match problem.goal:
            case GoalKind.MAX_MARGIN:
                return dead if target is None else dead | (upper[:, :queries].min(axis=1) < target)
            case GoalKind.MAX_HELPED:
                return dead if target is None else dead | ((~short[:, :queries]).sum(axis=1) < target)
            case _:
                return dead | short[:, :queries].any(axis=1)
