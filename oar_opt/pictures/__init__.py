"""Pictures of instances and answers, one file for each kind.

=====================================  ========================================================
:mod:`oar_opt.pictures.regions`        records, moves and decision regions, before and after
:mod:`oar_opt.pictures.moves`          who changes what: now and then, with the cost
:mod:`oar_opt.pictures.progress`       the best answer and the bound over time
=====================================  ========================================================

Each has one function that returns a :class:`~oar_opt.pictures.picture.Picture`: a matplotlib figure, and in words what
it shows. No figure is registered with pyplot, and no setting of the caller's is changed.
"""
