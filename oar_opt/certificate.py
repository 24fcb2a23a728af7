"""Grades of evidence for a bound, and what a certificate states, in words."""

from __future__ import annotations

from enum import StrEnum


class Grade(StrEnum):
    """Strength of the evidence for a bound; ordered from weak to strong.

    ``claimed``: one solver said so. ``confirmed``: a second formulation or solver agrees. ``enumerated``: the real
    learner was re-trained for every admissible choice. ``proved``: checked in exact or ball arithmetic without any
    solver.
    """

    CLAIMED = "claimed"
    CONFIRMED = "confirmed"
    ENUMERATED = "enumerated"
    PROVED = "proved"

    @property
    def rank(self) -> int:
        return list(Grade).index(self)

    def __lt__(self, other: str) -> bool:
        return self.rank < Grade(other).rank

    def __gt__(self, other: str) -> bool:
        return self.rank > Grade(other).rank

    def __le__(self, other: str) -> bool:
        return self.rank <= Grade(other).rank

    def __ge__(self, other: str) -> bool:
        return self.rank >= Grade(other).rank

    @property
    def words(self) -> str:
        return {
            Grade.CLAIMED: "the bound rests on one solver's word (its optimum was re-trained and re-checked)",
            Grade.CONFIRMED: "a second formulation or solver, run independently, agrees with the bound",
            Grade.ENUMERATED: "the learner was re-trained for every admissible choice, and none does better",
            Grade.PROVED: "the bound was checked in exact arithmetic, without trust in any solver",
        }[self]
