"""What all statements for the nearest centroid share: they are written for re-training, and running centroids go
through :mod:`oar_opt.running_mean` to them and back."""

from __future__ import annotations

from abc import abstractmethod

from oar_opt.contracts import Formulation, Program
from oar_opt.discovery import not_replayed
from oar_opt.errors import UnsupportedError
from oar_opt.problem import RecourseProblem, UpdateKind
from oar_opt.result import Request
from oar_opt.running_mean import SameByRetraining, not_a_mean


class CentroidFormulation(Formulation):
    """A formulation whose program is about re-trained centroids."""

    @abstractmethod
    def declines(self, problem: RecourseProblem) -> str | None:
        """As :meth:`accepts`, of a problem whose centroids are re-trained."""

    @abstractmethod
    def retraining_program(self, problem: RecourseProblem, request: Request) -> Program:
        """As :meth:`build`, for a problem whose centroids are re-trained."""

    def accepts(self, problem: RecourseProblem) -> str | None:
        try:
            return no_centroids(problem) or self.declines(_retrained(problem))
        except UnsupportedError as unsupported:
            return str(unsupported)

    def build(self, problem: RecourseProblem, request: Request | None = None) -> Program:
        request = request or Request()
        if not _is_running(problem):
            return self.retraining_program(problem, request)
        same = SameByRetraining.of(problem)
        return same.program_back(self.retraining_program(same.retrained, same.request_there(request)))

    def single(self, problem: RecourseProblem) -> str | None:
        unheard = SameByRetraining.of(problem).unheard if _is_running(problem) else ()
        if unheard:
            return f"what member {unheard[0]} does changes nothing, and a pool would have to tell such moves apart"
        return super().single(problem)


def no_centroids(problem: RecourseProblem) -> str | None:
    """Why the learner is no nearest centroid that is re-trained, or as good as re-trained, or None."""
    if not problem.learner.is_centroid:
        return f"learner '{problem.learner.kind}' is no nearest centroid"
    if _is_running(problem):
        return not_replayed(problem) or not_a_mean(problem)
    return not_replayed(problem)


def _is_running(problem: RecourseProblem) -> bool:
    return problem.update.kind is UpdateKind.RUNNING_CENTROID


def _retrained(problem: RecourseProblem) -> RecourseProblem:
    return SameByRetraining.of(problem).retrained if _is_running(problem) else problem
