"""Writes ``formulations/README.md`` from the docstrings: ``python -m oar_opt.catalogue``. A test keeps it true."""

from __future__ import annotations

from pathlib import Path

from oar_opt.discovery import formulations, heuristics, learners, page, summary, update_rules

TARGET = Path(__file__).resolve().parent.parent / "formulations" / "README.md"

HEAD = """# Learners, update rules and formulations

One file is one learner, one update rule or one statement of the single-level problem; its docstring is its page. This
catalogue is made from the docstrings by `python -m oar_opt.catalogue`.

`oar formulations --instance NAME` says which formulations apply to an instance, and why the others do not.
"""


def catalogue() -> str:
    """The catalogue as Markdown."""
    parts = [HEAD, "## Learners\n", "| kind | learner |", "|---|---|"]
    parts += [f"| [`{name}`](learners/{name}.py) | {summary(item)} |" for name, item in sorted(learners().items())]
    parts += ["\n## Update rules\n", "| kind | rule |", "|---|---|"]
    parts += [f"| [`{name}`](updates/{name}.py) | {summary(item)} |" for name, item in sorted(update_rules().items())]
    parts += [
        "\n## Formulations\n",
        "`auto` takes the first that applies.\n",
        "| name | statement | exactness |",
        "|---|---|---|",
    ]
    parts += [
        f"| [`{name}`](single_level/{name}.py) | {summary(item)} | {item.exactness} |"
        for name, item in formulations().items()
    ]
    parts += ["\n## Heuristics\n", "| name | rule |", "|---|---|"]
    parts += [f"| `{name}` | {summary(item)} |" for name, item in sorted(heuristics().items())]
    parts.append("\n## Pages of the formulations")
    for name, item in formulations().items():
        parts += [f"\n### {name}\n", _markdown(page(item))]
    return "\n".join(parts) + "\n"


def _markdown(docstring: str) -> str:
    """A docstring's underlined sections as headings, its indented formulas as they are."""
    lines: list[str] = []
    for line in docstring.split("\n"):
        if line and set(line) == {"-"} and lines and len(line) == len(lines[-1]):
            lines[-1] = f"**{lines[-1]}**\n"
        else:
            lines.append(line.replace("``", "`"))
    return "\n".join(lines)


def main() -> None:
    """Write the catalogue."""
    TARGET.write_text(catalogue(), encoding="utf-8")


if __name__ == "__main__":
    main()
