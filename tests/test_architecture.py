"""What imports what, what a page contains, and what importing costs."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

import formulations as mathematics
import oar_opt
from oar_opt.contracts import PAGE_SECTIONS
from oar_opt.discovery import formulations, heuristics, learners, page, update_rules

MACHINERY = Path(oar_opt.__file__).parent
MATHEMATICS = Path(mathematics.__file__).parent
SOLVING = ("formulations", "oar_opt.bounds", "oar_opt.tightening", "oar_opt.solvers", "oar_opt.pipeline")
MODELLING = ("pyomo", "cvxpy", "highspy", "pyscipopt")


def imported(path, *, lazily=True):
    """The modules that a file imports while running: not those for annotations only; with or without functions' own."""
    found = []

    def visit(node):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if not lazily and isinstance(node, ast.FunctionDef):
            return
        if isinstance(node, ast.Import):
            found.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.append(node.module)
            found.extend(f"{node.module}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return found


def among(modules, forbidden):
    return sorted({m for m in modules for f in forbidden if m == f or m.startswith(f + ".")})


def loaded_by(*statements):
    """The top-level modules that a fresh interpreter has loaded after some statements."""
    program = "; ".join([*statements, "import sys", "print(*sys.modules, sep='\\n')"])
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "name", ["verification", "evaluate", "rules", "certificate", "parameters", "proved_bounds", "proving"]
)
def test_what_verifies_imports_nothing_of_what_it_verifies(name):
    assert not among(imported(MACHINERY / f"{name}.py"), (*SOLVING, *MODELLING))


def test_importing_the_verification_loads_no_modelling_library_or_solver():
    assert not loaded_by("import oar_opt.verification") & set(MODELLING)


def test_checking_a_certificate_loads_no_modelling_library_or_solver():
    assert not loaded_by("import oar_opt.proving") & set(MODELLING)


def test_verifying_an_svm_answer_loads_no_modelling_library(tmp_path):
    """Formulations are loaded by whoever solves; a re-training by scikit-learn needs none of their libraries."""
    statements = (
        "from oar_opt.library import load",
        "from oar_opt.evaluate import evaluate",
        "evaluate(load('school-two-neighbourhoods'), ())",
    )
    assert not loaded_by(*statements) & set(MODELLING)


def test_importing_the_package_loads_no_numpy():
    loaded = loaded_by("import oar_opt")
    assert not loaded & {"numpy", "scipy", "sklearn", "pydantic", "matplotlib", *MODELLING}


def test_the_command_lines_help_loads_no_numpy():
    statement = "from typer.testing import CliRunner; from oar_opt.cli import app; CliRunner().invoke(app, ['--help'])"
    assert not loaded_by(statement) & {"numpy", "scipy", "sklearn", "matplotlib", *MODELLING}


@pytest.mark.parametrize("name", sorted(oar_opt.__all__))
def test_every_public_name_is_there(name):
    assert getattr(oar_opt, name) is not None and name in dir(oar_opt)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="magic"):
        _ = oar_opt.magic


@pytest.mark.parametrize("path", sorted(MACHINERY.rglob("*.py")), ids=lambda path: str(path.relative_to(MACHINERY)))
def test_the_machinery_knows_no_particular_learner_or_formulation(path):
    known = [
        f"formulations.{kind}.{item}"
        for kind in ("learners", "updates", "single_level")
        for item in ("", *_files(kind))
    ]
    assert not [name for name in imported(path) if name in known or name.rstrip(".") in known]


def _files(kind):
    return [path.stem for path in (MATHEMATICS / kind).glob("*.py") if path.stem != "__init__"]


REPLAYED = [*(MATHEMATICS / "learners").glob("[a-z]*.py"), *(MATHEMATICS / "updates").glob("[a-z]*.py")]


@pytest.mark.parametrize("path", sorted(REPLAYED), ids=lambda path: path.stem)
def test_a_learner_or_an_update_rule_knows_no_formulation_and_loads_no_solver(path):
    assert not among(imported(path), ("formulations.single_level", "oar_opt.solvers", "oar_opt.pipeline", "pyomo"))
    assert not among(imported(path, lazily=False), (*MODELLING, "sklearn"))


@pytest.mark.parametrize("path", sorted((MATHEMATICS / "single_level").glob("[a-z]*.py")), ids=lambda path: path.stem)
def test_a_formulation_knows_no_other_formulation_and_no_verification(path):
    assert not among(imported(path), ("formulations.single_level", "oar_opt.verification", "oar_opt.pipeline"))


@pytest.mark.parametrize("name", list(formulations()))
def test_every_formulations_page_has_all_sections_in_order(name):
    lines = page(formulations()[name]).splitlines()
    underlined = [a for a, b in pairwise(lines) if b and set(b) == {"-"} and len(b) >= 3]
    assert underlined == list(PAGE_SECTIONS)
    for section in PAGE_SECTIONS:
        assert lines[lines.index(section) + 2].strip(), f"{section} is empty"


@pytest.mark.parametrize("item", [*learners().values(), *update_rules().values()], ids=lambda item: item.kind)
def test_the_page_of_every_learner_and_update_rule_has_a_reference(item):
    assert "Reference: " in page(item)


def test_every_file_of_additions_provides_one_under_its_own_name():
    assert set(_files("learners")) == set(learners())
    assert set(_files("updates")) == set(update_rules())
    assert set(_files("single_level")) == set(formulations())
    assert {path.stem for path in (MACHINERY / "heuristics").glob("[a-z]*.py")} == set(heuristics())


def test_auto_prefers_the_lowest_rank():
    ranks = [item.rank for item in formulations().values()]
    assert ranks == sorted(ranks)


@pytest.mark.parametrize(
    "path",
    sorted([*MACHINERY.rglob("*.py"), *MATHEMATICS.rglob("*.py")]),
    ids=lambda path: f"{path.parent.name}.{path.stem}",
)
def test_every_module_that_is_not_empty_has_a_docstring_and_can_be_imported(path):
    text = path.read_text(encoding="utf-8")
    assert not text or ast.get_docstring(ast.parse(text))
    if path.stem != "__main__":
        root = MACHINERY.parent if MACHINERY in path.parents else MATHEMATICS.parent
        importlib.import_module(".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"))
