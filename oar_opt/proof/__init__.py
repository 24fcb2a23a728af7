"""Proofs that need no solver: re-training in exact or ball arithmetic, and certificates that a reader can check.

The numbers of an instance are floating-point numbers, and each of them is a rational. All that is proved here is
proved of the instance with just these rationals, not with the decimals that somebody may have meant. Approximate
training, where it is used at all, proposes a point; what is then said about the exact optimum is proved without it.
"""
