"""Everything discovered passes the conformance suite, and what is generated is up to date."""

import json
import subprocess
import sys

import pytest

from oar_opt import testing
from oar_opt.catalogue import TARGET, catalogue
from oar_opt.discovery import formulations, heuristics, learners, update_rules
from oar_opt.families import shipped_documents, write
from oar_opt.instance_file import instance_schema
from oar_opt.library import FOLDER, load, shipped
from oar_opt.proof.certificate_file import certificate_schema
from oar_opt.solution_file import solution_schema

pytestmark = pytest.mark.usefixtures("trained_once")


@pytest.mark.parametrize("kind", learners())
def test_every_learner_conforms(kind):
    testing.check_learner(learners()[kind])


@pytest.mark.parametrize("kind", update_rules())
def test_every_update_rule_conforms(kind):
    testing.check_update_rule(update_rules()[kind])


@pytest.mark.parametrize("name", formulations())
def test_every_formulation_conforms(name):
    testing.check_formulation(formulations()[name])


def test_every_worked_example_is_solved_by_some_formulation():
    for owner, example in testing.worked_examples():
        assert any(f.accepts(example.problem) is None for f in formulations().values()), (owner, example.why)


@pytest.mark.parametrize("name", heuristics())
def test_every_heuristic_obeys_budgets_and_options(name):
    from oar_opt.rules import budget_violations
    from oar_opt.verification import move_violation

    heuristic, applied = heuristics()[name], 0
    for instance in ("tenant-immutable", "loan-data-strike", "gig-two-colleagues", "iris-centroid-linf-rules"):
        problem = load(instance)
        if heuristic.accepts(problem) is None:
            moves = heuristic.propose(problem, time_limit=0.3).moves
            assert not budget_violations(problem, moves)
            assert not [text for move in moves if (text := move_violation(problem, move))]
            applied += 1
    assert applied


def test_the_catalogue_is_made_from_the_docstrings():
    assert TARGET.read_text(encoding="utf-8") == catalogue()


def test_shipped_instances_are_what_their_makers_make(tmp_path):
    write(tmp_path)
    made = {path.name: path.read_bytes() for path in tmp_path.glob("*.json")}
    assert made == {path.name: path.read_bytes() for path in shipped().values()}
    assert set(shipped_documents()) == set(shipped())
    assert len(made) >= 12


SCHEMAS = {
    "oar-instance-1": instance_schema,
    "oar-solution-1": solution_schema,
    "oar-certificate-1": certificate_schema,
}


@pytest.mark.parametrize("name, schema", SCHEMAS.items())
def test_shipped_schemas_are_generated(name, schema):
    shipped_schema = json.loads((FOLDER / "schema" / f"{name}.schema.json").read_text(encoding="utf-8"))
    assert shipped_schema == schema()


@pytest.mark.parametrize("name", shipped())
def test_shipped_instances_validate_against_the_schema(name):
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator(instance_schema()).validate(json.loads(shipped()[name].read_text(encoding="utf-8")))


def test_protected_features_are_fixed():
    for name in shipped():
        problem = load(name)
        fixed = {feature.name for feature in problem.features if feature.is_fixed}
        assert set(problem.provenance.get("protected", ())) <= fixed


def test_the_package_imports_without_its_heavy_dependencies():
    code = "import sys, oar_opt; print([m for m in ('numpy', 'pyomo', 'sklearn', 'pydantic') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
