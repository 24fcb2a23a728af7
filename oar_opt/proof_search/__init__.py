"""Makes certificates. Nothing here is trusted: what it proposes counts once :mod:`oar_opt.proof.checker` accepts it."""
