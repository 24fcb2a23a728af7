"""The mathematics: one file is one learner or one statement of the single-level problem; its docstring is its page."""

OWNER = "oar_opt"
