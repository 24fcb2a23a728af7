"""Makes instances of named families, reproducibly: ``oar generate FAMILY``.

A recipe (family, sizes, learner, what members may do, goal, seed) gives one instance: records are drawn, the query
subjects are some of those with the unwanted decision near the boundary and leave the records, members are the records
nearest to them, and required margins lie part of the way to what quick heuristics reach. Nothing here knows how hard an
instance will be.
"""

from oar_opt.generation.compose import compose
from oar_opt.generation.family import Family
from oar_opt.generation.invented import Gig, Loan, School, Tenant
from oar_opt.generation.measured import BreastCancer, Diabetes, Digits, Iris, Wine
from oar_opt.generation.recipe import ActionKind, Recipe

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (School(), Loan(), Tenant(), Gig(), Iris(), Wine(), BreastCancer(), Digits(), Diabetes())
}
"""By name."""

__all__ = ["FAMILIES", "ActionKind", "Family", "Recipe", "compose"]
