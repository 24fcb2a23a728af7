"""The nodes of a certificate's tree, as its file states them.

``nodes`` is the tree in preorder: a node that splits is followed by all of its first child's nodes, then by all of its
second's. Every node is an object with a ``kind``:

``"options"``
    splits upon what a member does: in the first child the member with index ``record`` takes one of ``options``
    (0: it stays; 1, 2, ...: its other options within its own budget, in the instance's order, and then its features
    actions), in the second one of
    the others that it had left.
``"room"``
    splits upon where a set of feature changes leads: in the first child ``direction' delta`` is at most ``at`` where
    the member with index ``record`` takes the set ``option``, in the second at least.
``"query"``
    for ``max_helped``: in the first child the query with index ``query`` counts as helped, in the second it is left
    aside.
``"centroid"``
    a leaf for the nearest centroid, bounded by :mod:`oar_opt.proof.centroid_bound`: ``pairs`` (triples of a subject,
    queries first and then guards, of another class's position and of a weight), ``points`` (one for every class),
    ``cost`` and ``acting`` (prices), ``balls`` (whether feature changes are bounded by their lengths, where that
    matters, or coordinate by coordinate).
``"step"``
    a leaf for one gradient step, bounded by :mod:`oar_opt.proof.step_bound`: ``queries`` and ``guards`` (weights of
    their margins), ``cost`` and ``acting`` (prices), and ``sets`` for options that are sets of feature changes
    (``record``, ``option``, ``lines``: pairs of a point and a slope, see :mod:`oar_opt.proof.step_changes`); it may be
    left out, and so may sets.
``"choice"``
    a leaf with one option left for every member: the checker re-trains the learner.
``"few"``
    a leaf, for ``max_helped``: the queries that are not left aside are no more than the bound.
``"duality"``
    a leaf that the Lagrangian of :mod:`oar_opt.proof.lagrangian` bounds, with its multipliers: ``mu`` (``mu_0``),
    ``beta`` and ``theta`` (``p`` numbers each), ``pulls`` (pairs of a row and its pull), ``balance`` (a row, or null),
    ``members`` (``record``, ``mu``, ``omega``), ``changes`` (``row``, and ``cases``, one for each line of the row's
    graph: ``kappa``, ``tau``, ``sides``, ``ball``, ``direction``, ``cuts``, ``facet``, ``rows``, see
    :mod:`oar_opt.proof.changed_record`), ``queries`` and ``guards`` (weights of their margins), ``cost`` and ``acting``
    (prices). Rows are counted from 0: records of non-members with a weight above 0, then the options of each member in
    the instance's order. A pull, or a balance, of a row that is not the same in every choice of the part says nothing.

All numbers are floating-point numbers, taken as the rationals that they are.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from oar_opt.json_input import Number, Numbers, Part, Whole, kind_tag


class OptionsNode(Part):
    """A split upon what a member does."""

    kind: Literal["options"]
    record: Whole = Field(ge=0, description="Index of the member's record.")
    options: tuple[Whole, ...] = Field(description="What it may do in the first child.")


class QueryNode(Part):
    """A split upon whether a query counts."""

    kind: Literal["query"]
    query: Whole = Field(ge=0, description="Index of the query.")


class RoomNode(Part):
    """A split upon how a member changes its features."""

    kind: Literal["room"]
    record: Whole = Field(ge=0, description="Index of the member's record.")
    option: Whole = Field(ge=1, description="One of its sets of feature changes.")
    direction: Numbers = Field(description="A number for every feature.")
    at: Number = Field(description="The change in this direction that divides the children.")


class ChoiceLeaf(Part):
    """One choice is left."""

    kind: Literal["choice"]


class FewLeaf(Part):
    """Too few queries are left to count."""

    kind: Literal["few"]


class MemberMultipliers(Part):
    """Of one member with several options left."""

    record: Whole = Field(ge=0, description="Index of the member's record.")
    mu: Number = Field(description="Its share of the learner's duality.")
    omega: Numbers = Field(description="Its coefficients of theta.")


class ChangeCase(Part):
    """Of one line of a loss's graph, for a set of feature changes."""

    kappa: Number = Field(description="Multiplier of the decision value.")
    tau: Number = Field(description="Multiplier of the line's end.")
    sides: Numbers = Field(description="Multipliers of the features' ranges.")
    cuts: Numbers = Field(default=(), description="Multipliers of splits upon directions.")
    facet: Numbers = Field(default=(), description="Multipliers of an l1 radius, or none.")
    rows: Numbers = Field(default=(), description="Multipliers of linear rules among features, or none.")
    ball: Number = Field(description="Multiplier of the radius.")
    direction: Numbers = Field(description="Direction in which cost is bounded, or none.")


class ChangeMultipliers(Part):
    """Of one set of feature changes."""

    row: Whole = Field(ge=0, description="The row of the set.")
    cases: tuple[ChangeCase, ...] = Field(description="Of the lines of its loss's graph, left to right.")


class DualityLeaf(Part):
    """Multipliers of the learner's optimality conditions."""

    kind: Literal["duality"]
    mu: Number = Field(description="The share of the learner's duality that no member has.")
    beta: Numbers = Field(description="Multipliers of stationarity.")
    theta: Numbers = Field(description="A point for the pulls that are not stated.")
    pulls: tuple[tuple[Whole, Number], ...] = Field(description="Pulls of rows, each as a pair.")
    balance: Whole | None = Field(description="The row that balances a free intercept, or null.")
    members: tuple[MemberMultipliers, ...] = Field(description="Of members with several options left.")
    changes: tuple[ChangeMultipliers, ...] = Field(default=(), description="Of sets of feature changes.")
    queries: Numbers = Field(description="Weights of the queries' margins.")
    guards: Numbers = Field(description="Weights of the guards' margins.")
    cost: Number = Field(description="Price of cost.")
    acting: Number = Field(description="Price of one who acts.")


class CentroidLeaf(Part):
    """Weights of margins against other classes, for the nearest centroid."""

    kind: Literal["centroid"]
    pairs: tuple[tuple[Whole, Whole, Number], ...] = Field(description="Subject, other class, weight.")
    points: tuple[Numbers, ...] = Field(description="A point for every class.")
    cost: Number = Field(description="Price of cost.")
    acting: Number = Field(description="Price of one who acts.")
    balls: bool = Field(description="Whether feature changes are bounded by their lengths.")


class ChangeLines(Part):
    """Of one set of feature changes, for one gradient step."""

    record: Whole = Field(ge=0, description="Index of the member's record.")
    option: Whole = Field(ge=0, description="The option that is the set.")
    lines: tuple[tuple[Number, Number], ...] = Field(description="Points and slopes, each as a pair.")


class StepLeaf(Part):
    """Weights of margins, for one gradient step."""

    kind: Literal["step"]
    queries: Numbers = Field(description="Weights of the queries' margins.")
    guards: Numbers = Field(description="Weights of the guards' margins.")
    cost: Number = Field(description="Price of cost.")
    acting: Number = Field(description="Price of one who acts.")
    sets: tuple[ChangeLines, ...] = Field(default=(), description="Lines for sets of feature changes.")


Node = Annotated[
    Annotated[OptionsNode, Tag("<options>")]
    | Annotated[QueryNode, Tag("<query>")]
    | Annotated[RoomNode, Tag("<room>")]
    | Annotated[ChoiceLeaf, Tag("<choice>")]
    | Annotated[FewLeaf, Tag("<few>")]
    | Annotated[DualityLeaf, Tag("<duality>")]
    | Annotated[CentroidLeaf, Tag("<centroid>")]
    | Annotated[StepLeaf, Tag("<step>")],
    Discriminator(kind_tag),
]
