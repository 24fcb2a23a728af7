"""Performance profiles as a picture: the share of instances closed within a multiple of the fastest method's time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from oar_opt.bench.comparison import Comparison
from oar_opt.bench.summary import TAUS, profile
from oar_opt.pictures.curves import LINES, MARKERS
from oar_opt.pictures.picture import WIDTH, Picture, own_settings

HEIGHT = 4.5


def profile_picture(comparison: Comparison, names: Sequence[str]) -> Picture:
    """One step line for each method, over the instances that all of them support."""
    title = f"Performance profiles on {len(names)} instances"
    with own_settings(title):
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        axes = figure.add_subplot()
        for k, method in enumerate(comparison.methods):
            shares = [share for _, share in profile(comparison, method, names)]
            look: dict[str, Any] = {
                "color": LINES[k % len(LINES)],
                "marker": MARKERS[k % len(MARKERS)],
                "markerfacecolor": "none",
            }
            axes.plot(TAUS, shares, drawstyle="steps-post", label=method, **look)
        axes.set_xscale("log", base=2)
        axes.set_xticks(TAUS, [f"{tau:g}" for tau in TAUS])
        axes.set_ylim(-0.02, 1.05)
        axes.set_xlabel("multiple of the fastest method's seconds")
        axes.set_ylabel("share of instances closed")
        axes.grid(alpha=0.25)
        figure.suptitle(title)
        figure.legend(loc="outside right upper")
    return Picture(figure, title, _alt(comparison, names))


def _alt(comparison: Comparison, names: Sequence[str]) -> str:
    parts = []
    for method in comparison.methods:
        shares = dict(profile(comparison, method, names))
        parts.append(f"{method}: the fastest on {shares[1.0]:.0%}, closed {shares[TAUS[-1]]:.0%} within {TAUS[-1]:g}")
    return "; ".join(parts) + "."
