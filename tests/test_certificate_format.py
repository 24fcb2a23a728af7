"""The certificate format: its schema in step with its reader, broken files, what ``oar check`` prints, Ctrl-C."""

from __future__ import annotations

import copy
import json
import signal
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from oar_opt.errors import InputError
from oar_opt.instance_file import dump_instance, parse_instance, save_instance
from oar_opt.proof import certificate_file, nodes
from oar_opt.proof.certificate_file import certificate_schema, certificate_text, parse_certificate
from oar_opt.proof.checker import check
from oar_opt.proof_search.enumeration import prove_by_enumeration
from oar_opt.proof_search.producer import prove_by_tree
from oar_opt.solution_file import load_solution

DUALITY_KEYS = {"mu": 0, "beta": [], "theta": [], "pulls": [], "members": [], "queries": [], "guards": []}
DUALITY = {"kind": "duality", **DUALITY_KEYS, "balance": None, "cost": 0, "acting": 0}


@pytest.fixture(scope="module")
def problem(make):
    return parse_instance(dump_instance(make(3, "svm", "penalized", n=6, members=3, guards=1)))


@pytest.fixture(scope="module")
def tree(problem):
    """Its document; it has all kinds of nodes but those of queries."""
    found = json.loads(certificate_text(prove_by_tree(problem, None, 60.0)))
    assert {node["kind"] for node in found["nodes"]} == {"options", "choice", "duality"}
    return found


@pytest.fixture(scope="module")
def enumeration(problem):
    return json.loads(certificate_text(prove_by_enumeration(problem)))


@pytest.fixture(scope="module")
def helped(make):
    """A tree with nodes of queries."""
    problem = parse_instance(dump_instance(make(1, "ridge", goal="max_helped", n=6, queries=2)))
    found = json.loads(certificate_text(prove_by_tree(problem, None, 60.0)))
    assert {"query", "few"} <= {node["kind"] for node in found["nodes"]}
    return found


@pytest.fixture(scope="module")
def validator():
    Draft202012Validator.check_schema(certificate_schema())
    return Draft202012Validator(certificate_schema())


def first(tree, kind):
    """The number of the first node of a kind; of a leaf with multipliers, one with members."""
    return next(k for k, one in enumerate(tree["nodes"]) if one["kind"] == kind and one.get("members", True))


# -- the schema and the reader ---


def test_both_take_what_is_written(validator, tree, enumeration, helped):
    for document in (tree, enumeration, helped, {**enumeration, "nodes": []}, {**tree, "bound": None, "moves": None}):
        validator.validate(document)
        assert parse_certificate(document)


def test_the_schema_describes_every_key_and_the_docstrings_too():
    schema = certificate_schema()
    assert schema["$id"] == "urn:oar-opt:oar-certificate-1"
    for part in (schema, *schema["$defs"].values()):
        for key, entry in part.get("properties", {}).items():
            assert key == "kind" or entry["description"]
    assert all(f"``{key}``" in certificate_file.__doc__ for key in schema["properties"])
    of_nodes = {key for part in schema["$defs"].values() for key in part.get("properties", ())}
    assert all(f"``{key}``" in nodes.__doc__ for key in of_nodes - {"x", "y", "weight"})
    assert all(
        f'``"{kind}"``' in nodes.__doc__
        for kind in ("options", "query", "choice", "few", "duality", "centroid", "step")
    )


BROKEN: list[tuple[tuple[Any, ...], Any, str]] = [
    (("nodes",), [], "nodes: has no node, and the kind is 'tree' (give the tree's nodes in preorder)"),
    (("nodes",), None, "nodes: must be a list, not null"),
    (("nodes", 0), "choice", "nodes[0]: must be an object, not 'choice'"),
    (
        ("nodes", 0),
        {},
        "nodes[0].kind: is missing (use one of 'options', 'query', 'room', 'choice', 'few', 'duality', 'centroid', 'st",
    ),
    (("nodes", 1, "kind"), "choise", "nodes[1].kind: is 'choise', which is not known (did you mean 'choice'?)"),
    (("nodes", 0), {"kind": "options", "options": [1]}, "nodes[0].record: is missing (add it)"),
    (("nodes", 0), {"kind": "options", "record": -1, "options": [1]}, "nodes[0].record: is -1 (give a number of at le"),
    (("nodes", 0), {"kind": "options", "record": 0, "options": [1.5]}, "nodes[0].options[0]: must be a whole number"),
    (("nodes", 0), {"kind": "choice", "record": 0}, "nodes[0].record: unknown key"),
    (("nodes", 0), {**DUALITY, "mu": "1"}, "nodes[0].mu: must be a number, not '1' (write numbers without quotation"),
    (("nodes", 0), {**DUALITY, "balance": 0.5}, "nodes[0].balance: must be a whole number, not 0.5"),
    (("nodes", 0), {**DUALITY, "pulls": [[1]]}, "nodes[0].pulls[0][1]: is missing"),
    (("nodes", 0), {**DUALITY, "beta": [None]}, "nodes[0].beta[0]: must be a number, not null"),
    (("nodes", 0), {**DUALITY, "members": [{"record": 1, "mu": 1}]}, "nodes[0].members[0].omega: is missing (add it)"),
    (("kind",), "enumeration", "nodes: has nodes, and the kind is 'enumeration' (leave them out, or write the kind"),
    (("kind",), "trees", "kind: is 'trees', which is not known (did you mean 'tree'?)"),
    (("bound",), "1e-3", "bound: is '1e-3' (write a plain decimal such as -0.25)"),
    (("bound",), None, "moves: is given, and the bound says that there is no answer"),
    (("instance_sha256",), "0", "instance_sha256: is '0' (give 64 hexadecimal digits)"),
]


@pytest.mark.parametrize(("place", "value", "told"), BROKEN)
def test_both_refuse_what_is_broken_and_the_reader_says_where(validator, tree, place, value, told):
    broken = copy.deepcopy(tree)
    at = broken
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = value
    assert not validator.is_valid(broken)
    with pytest.raises(InputError) as error:
        parse_certificate(broken)
    assert str(error.value).startswith(told)


def test_a_tree_without_nodes_is_told_so(validator, tree):
    del (short := dict(tree))["nodes"]
    assert not validator.is_valid(short)
    with pytest.raises(InputError, match="nodes: has no node"):
        parse_certificate(short)


# -- trees that do not fit their instance ---


@pytest.mark.parametrize(
    ("kind", "key", "change", "told"),
    [
        ("duality", "beta", lambda old: old[:-1], "beta has 2 numbers instead of 3, one for each parameter"),
        ("duality", "theta", lambda old: [*old, 0], "theta has 4 numbers instead of 3, one for each parameter"),
        ("duality", "queries", lambda old: [], "queries has 0 numbers instead of 1, one for each query"),
        ("duality", "guards", lambda old: [0, 0], "guards has 2 numbers instead of 1, one for each guard"),
        ("duality", "members", lambda old: [old[0], old[0]], "a member has multipliers twice"),
        ("duality", "members", lambda old: [{**old[0], "omega": [0]}], "has 1 numbers instead of 3"),
        ("options", "record", lambda old: 0, "record 0 is no member's"),
        ("options", "options", lambda old: [], "it does not split what member"),
        ("options", "options", lambda old: [0, 1, 2, 9], "it does not split what member"),
    ],
)
def test_what_does_not_fit_is_named_by_its_node(problem, tree, kind, key, change, told):
    assert 0 not in problem.member_at
    broken, k = copy.deepcopy(tree), first(tree, kind)
    broken["nodes"][k][key] = change(broken["nodes"][k][key])
    sentence = check(parse_certificate(broken), problem).sentence
    assert sentence.startswith(f"Not proved: node {k}: ") and told in sentence


def test_nodes_too_few_and_too_many_are_counted(problem, tree):
    nodes = tree["nodes"]
    short = check(parse_certificate({**tree, "nodes": nodes[:-1]}), problem)
    assert short.sentence == "Not proved: 1 part of the tree has no node."
    long = check(parse_certificate({**tree, "nodes": [*nodes, {"kind": "choice"}]}), problem)
    assert long.sentence == f"Not proved: node {len(nodes)} belongs to no split."


# -- commands ---


@pytest.fixture
def files(tmp_path, problem, tree, enumeration):
    """The paths of an instance and of its certificates."""
    instance = tmp_path / f"{problem.name}.json"
    save_instance(problem, instance)
    for name, document in (("tree", tree), ("enumeration", enumeration)):
        (tmp_path / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")
    return instance, tmp_path / "tree.json", tmp_path / "enumeration.json"


def test_the_command_says_what_is_proved_and_by_what(oar, files, tree, problem):
    instance, by_tree, by_enumeration = files
    leaves = sum(node["kind"] in ("choice", "duality") for node in tree["nodes"])
    code, out, _ = oar("check", by_tree, instance)
    claim, evidence = out.splitlines()
    assert code == 0 and claim.startswith("No admissible change of these 3 members gives a margin above ")
    told = f"{leaves} parts that together hold all choices, as a tree of {len(tree['nodes'])} nodes."
    assert evidence == f"Checked in exact arithmetic for {told}"
    code, out, _ = oar("check", by_enumeration, instance)
    assert code == 0 and out.splitlines()[1] == "Checked in exact arithmetic for each of the 27 choices."
    for path, counts in ((by_tree, (None, len(tree["nodes"]))), (by_enumeration, (27, None))):
        code, out, _ = oar("check", path, instance, "--json")
        document = json.loads(out)
        assert code == 0 and document["proved"] and not document["infeasible"] and document["sentence"].endswith(".")
        assert (document["choices"], document["nodes"]) == counts and document["kind"] == path.stem


def test_the_command_refuses_with_the_node_and_breaks_off_at_broken_files(oar, files, tree):
    instance, path, _ = files
    path.write_text(json.dumps({**tree, "nodes": tree["nodes"][:-1]}), encoding="utf-8")
    code, out, _ = oar("check", path, instance)
    assert (code, out) == (4, "Not proved: 1 part of the tree has no node.\n")
    code, out, _ = oar("check", path, instance, "--json")
    document = json.loads(out)
    assert code == 4 and (document["proved"], document["bound"], document["nodes"]) == (False, None, None)
    path.write_text(json.dumps({**tree, "nodes": [{"kind": "leaf"}]}), encoding="utf-8")
    code, out, err = oar("check", path, instance)
    assert code == 2 and not out and err.startswith("error: tree.json: nodes[0].kind: is 'leaf', which is not known")
    path.write_text("", encoding="utf-8")
    code, _, err = oar("check", path, instance)
    assert code == 2 and err == "error: tree.json: is empty (it must hold one JSON object)\n"


def interrupting(*given):
    """Ctrl-C while something is under way."""
    signal.raise_signal(signal.SIGINT)


def test_ctrl_c_ends_a_check_without_a_word_on_the_claim(oar, files, monkeypatch):
    instance, by_tree, by_enumeration = files
    monkeypatch.setattr("oar_opt.proof.checker.exact_outcome", interrupting)
    for path in (by_tree, by_enumeration):
        code, out, err = oar("check", path, instance, "--json")
        assert (code, out) == (3, "") and err == "interrupted: nothing is said about the certificate\n"


@pytest.mark.parametrize("place", ["proof_search.tree_search.exact_outcome", "proof.checker.exact_outcome"])
def test_ctrl_c_in_a_proof_keeps_the_answer(oar, files, tmp_path, monkeypatch, place):
    monkeypatch.setattr("oar_opt.proof_search.producer.FEW", 1)
    monkeypatch.setattr(f"oar_opt.{place}", interrupting)
    proof, solution = tmp_path / "p.json", tmp_path / "s.json"
    code, out, err = oar("solve", files[0], "--prove", proof, "-o", solution)
    assert code == 2 and "optimal" in out and "not proved: it was interrupted" in err
    assert "searching for a proof (Ctrl-C keeps the answer without one)" in err
    assert not proof.exists() and load_solution(solution).status == "optimal"
