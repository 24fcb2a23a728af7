"""Writes the library's instances that are not there yet, and its index: ``python -m oar_opt.generation``.

A file that is there stays as it is: an instance is never edited. The index is made from the files.
"""

from __future__ import annotations

from oar_opt.bench.sets import index_path, index_text
from oar_opt.generation import FAMILIES, compose
from oar_opt.generation.library import library
from oar_opt.instance_file import parse_instance, save_instance
from oar_opt.library import LIBRARY, benchmarks


def main() -> None:
    """Write them, and print the name of each."""
    for recipe in library():
        family = FAMILIES[recipe.family]
        if recipe.name(family.checked(recipe.rows, recipe.columns)) not in benchmarks():
            problem = parse_instance(compose(recipe, family))
            save_instance(problem, LIBRARY / f"{problem.name}.json")
            print(problem.name)
    index_path().write_text(index_text(), encoding="utf-8")


if __name__ == "__main__":
    main()
