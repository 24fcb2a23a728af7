"""Instances from scikit-learn's estimators: stated in the learner's coordinates, told in original units.

:mod:`oar_opt.estimators.stating` has the whole; :mod:`oar_opt.estimators.learners` says which estimators are learners
here, :mod:`oar_opt.estimators.columns` which transformers may stand before them,
:mod:`oar_opt.estimators.original_units` why changes can be stated exactly, and :mod:`oar_opt.estimators.agreement` what
is checked.
"""

from __future__ import annotations

from oar_opt.estimators.moves_back import table_after
from oar_opt.estimators.stating import problem_from_estimator

__all__ = ["problem_from_estimator", "table_after"]
