"""What an instance of the library is made from, and the name that this gives it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from oar_opt.errors import InputError
from oar_opt.problem import GoalKind, Intercept

Kind = TypeVar("Kind", bound=StrEnum)


class ActionKind(StrEnum):
    """What members may do."""

    LABELS = "labels"
    STRIKE = "strike"
    MENUS = "menus"
    CHANGES = "changes"
    MIXED = "mixed"

    @property
    def words(self) -> str:
        return {
            ActionKind.LABELS: "another label or target may be reported",
            ActionKind.STRIKE: "records may be withheld",
            ActionKind.MENUS: "three alternative records for each member",
            ActionKind.CHANGES: "small changes of features",
            ActionKind.MIXED: "small changes of features, another label or target, or withholding",
        }[self]


def chosen(kinds: type[Kind], where: str, text: str) -> Kind:
    """The one that the text names; an error that lists all where it names none."""
    if text in list(kinds):
        return kinds(text)
    raise InputError(where, f"'{text}' is unknown", f"there are: {', '.join(kinds)}")


@dataclass(frozen=True)
class Setting:
    """A learner as recipes call it: its kind in the file, and the update's kind and steps (0: re-training)."""

    kind: str
    update: str = "retrain"
    steps: int = 0


SETTINGS: dict[str, Setting] = {
    "centroid": Setting("nearest_centroid"),
    "ridge": Setting("ridge"),
    "svm": Setting("svm"),
    "sqhinge": Setting("squared_hinge"),
    "logistic": Setting("logistic"),
    "huber": Setting("huber"),
    "epsilon": Setting("epsilon_insensitive"),
    "l1svm": Setting("l1_svm"),
    "lad": Setting("lad"),
    "gradient1": Setting("logistic", "gradient", 1),
    "gradient3": Setting("svm", "gradient", 3),
    "running": Setting("nearest_centroid", "running_centroid", 1),
}
"""By the words that stand in names, which have no underscores."""


@dataclass(frozen=True)
class Recipe:
    """A family with sizes and settings; the same recipe always gives the same problem.

    ``reach`` places required margins: the share of the way from the present margin to the best that quick heuristics
    find; above 1 it is likely out of reach. ``cap`` is the share of members that may act, None for all. ``columns`` is
    how many of the family's features are used, None for all.
    """

    family: str
    rows: int
    members: int
    learner: str
    action: ActionKind
    seed: int = 0
    goal: GoalKind = GoalKind.MAX_MARGIN
    columns: int | None = None
    queries: int = 1
    guards: int = 0
    reach: float = 0.6
    cap: float | None = None
    radius: float = 0.5
    intercept: Intercept | None = None

    def __post_init__(self) -> None:
        if self.learner not in SETTINGS:
            raise InputError("--learner", f"'{self.learner}' is unknown", f"there are: {', '.join(SETTINGS)}")
        for name, least in (("rows", 6), ("members", 1), ("queries", 1), ("guards", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise InputError(f"--{name}", f"is {getattr(self, name)}", f"give at least {least}")
        if self.members > self.rows - 2:
            raise InputError("--members", f"is {self.members} of {self.rows} records", "leave at least two to others")
        if self.columns is not None and self.columns < 1:
            raise InputError("--features", f"is {self.columns}", "give at least 1")
        if not self.radius > 0:
            raise InputError("--radius", f"is {self.radius:g}", "give a number above 0")
        if self.cap is not None and not 0 < self.cap <= 1:
            raise InputError("--cap", f"is {self.cap:g}", "give the share of members that may act, above 0 and up to 1")

    @property
    def setting(self) -> Setting:
        return SETTINGS[self.learner]

    def name(self, d: int) -> str:
        """``<family>-n<rows>-d<features>-k<members>-<learner>-<action>-s<seed>``."""
        size = f"n{self.rows}-d{d}-k{self.members}"
        return f"{self.family}-{size}-{self.learner}-{self.action}-s{self.seed}"

    def command(self) -> str:
        """The command that makes the instance again."""
        words = ["oar generate", self.family, f"--rows {self.rows} --members {self.members}"]
        words += [f"--learner {self.learner} --action {self.action} --seed {self.seed}"]
        plain = Recipe(self.family, self.rows, self.members, self.learner, self.action)
        for option, field in OPTIONS.items():
            value = getattr(self, field)
            if value != getattr(plain, field):
                words.append(f"{option} {value:g}" if isinstance(value, float) else f"{option} {value}")
        return " ".join(words)


OPTIONS = {
    "--goal": "goal",
    "--features": "columns",
    "--queries": "queries",
    "--guards": "guards",
    "--reach": "reach",
    "--cap": "cap",
    "--radius": "radius",
    "--intercept": "intercept",
}
"""Options of the command line and the fields that they set, beside those that every recipe states."""
