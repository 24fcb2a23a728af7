"""The grade ``proved``: what answers take in of a certificate, what a verification believes, what the library keeps."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

import oar_opt
from oar_opt.bench import best_known, certified_bounds, claims
from oar_opt.bench.best_known import (
    RETRAINED,
    BestKnown,
    Bound,
    Claim,
    certificate_paths,
    merge,
    read_bounds,
    solution_path,
    write_bounds,
)
from oar_opt.bench.certified_bounds import certificate_in, check_stored, missing_proof, take_in
from oar_opt.certificate import Grade
from oar_opt.contracts import line_example
from oar_opt.errors import InputError, UnsupportedError, VerificationError
from oar_opt.evaluate import enumerate_choices
from oar_opt.instance_file import dump_instance, parse_instance, save_instance
from oar_opt.library import benchmarks, load
from oar_opt.page import check_sentence, page
from oar_opt.pipeline import solve
from oar_opt.problem import GoalKind, LearnerSpec
from oar_opt.proof import certificate_file
from oar_opt.proof.certificate_file import certificate_text, load_certificate, save_certificate
from oar_opt.proof.checker import check
from oar_opt.proof.rationals import exact, read_decimal
from oar_opt.proved_answer import with_proof
from oar_opt.proved_bounds import outward
from oar_opt.proving import Proof, check_certificate, prove
from oar_opt.report import certificate_words
from oar_opt.result import Status, StoppedBy
from oar_opt.solution_file import CertificateRecord, load_solution, parse_solution, save_solution, solution_text
from oar_opt.verification import check_answer, verify

ALL = "OAR_ALL_CERTIFICATES"
"""Set to anything, the tests go through every certificate of the library: about ten minutes."""
SAMPLE = ("diabetes-n80-d4-k8-lad-strike-s1", "tenant-n60-d6-k8-gradient3-labels-s2")
SMALL = "random-14"
CONTINUUM = "breastcancer-n60-d3-k4-ridge-mixed-s1"
README = Path(__file__).resolve().parent.parent / "README.md"


def stated(problem):
    """The same problem with the digest of its own file."""
    return parse_instance(dump_instance(problem))


@pytest.fixture(scope="module")
def pairs(make):
    """Small results by a solver alone with a proof of their instance, by goal."""
    found = {}
    for goal in GoalKind:
        problem = stated(make(14, "ridge", "penalized", goal, withhold=True, required=0.02))
        found[goal] = solve(problem, formulation="copies"), prove(problem)
    return found


@pytest.fixture
def pair(pairs):
    return pairs[GoalKind.MAX_MARGIN]


@pytest.fixture(scope="module")
def hopeless(make):
    """An instance without an answer, its result and proof."""
    problem = stated(make(3, "ridge", "penalized", "min_cost", required=100.0))
    return solve(problem, formulation="copies"), prove(problem)


def weaker(proof, problem, step):
    """A true certificate of a bound that says less by ``step``."""
    value = float(proof.certificate.bound) + (step if problem.goal.maximises else -step)
    certificate = proof.certificate.model_copy(update={"bound": f"{value:.12f}"})
    return Proof(certificate, check(certificate, problem))


def cut_off(result, **changes):
    """The result as a time limit would have left it."""
    fields = {"status": Status.FEASIBLE, "stopped_by": StoppedBy.TIME_LIMIT, **changes}
    certificate = CertificateRecord(grade=Grade.CLAIMED, checks=result.solution.certificate.checks)
    return replace(result, solution=result.solution.model_copy(update={**fields, "certificate": certificate}))


def without_answer(result):
    """The result of a run that found nothing in its time."""
    nothing = {"objective": None, "bound": None, "relative_gap": None, "moves": (), "parameters": None, "queries": ()}
    found = cut_off(result, **nothing, status=Status.UNKNOWN)
    return replace(found, verification=check_answer(result.problem, found.solution))


# -- answers ---


@pytest.mark.parametrize("goal", list(GoalKind))
def test_a_certificate_that_closes_the_gap_gives_the_grade(pairs, goal):
    result, proof = pairs[goal]
    assert proof.verdict.proved and result.grade < Grade.PROVED
    found = with_proof(result, proof)
    assert (found.status, found.grade, found.proof) == (Status.OPTIMAL, Grade.PROVED, proof)
    assert found.verification.grade is Grade.PROVED
    assert with_proof(found, weaker(proof, result.problem, 0.1)) is found
    assert found.solution.certificate.proof.bound == proof.bound == proof.verdict.bound
    assert found.bound == outward(result.problem, proof.bound) and found.solution.seconds.prove is not None
    assert parse_solution(json.loads(solution_text(found.solution))) == found.solution
    assert certificate_words(found.solution).startswith("Certificate: proved: the bound was checked in exact")


def test_an_infeasibility_is_proved(hopeless):
    found = with_proof(*hopeless)
    assert (found.status, found.grade, found.solution.certificate.proof.bound) == ("infeasible", "proved", None)
    assert "no admissible move is an answer was checked in exact" in certificate_words(found.solution)
    closed = with_proof(without_answer(hopeless[0]), hopeless[1])
    assert (closed.status, closed.grade, closed.solution.stopped_by) == ("infeasible", "proved", "proof")


def test_a_weaker_proof_stands_beside_the_bound(pair):
    """A tenth more than the tolerance proves less than the solver claims; both are said, each with its grade."""
    result, proof = pair
    less = weaker(proof, result.problem, 0.1)
    found = with_proof(result, less)
    assert (found.bound, found.status, found.grade) == (result.bound, Status.OPTIMAL, result.grade)
    assert found.solution.certificate.proof.bound == less.bound
    words = certificate_words(found.solution)
    assert f"Proved in exact arithmetic is only the bound {less.bound}" in words and f"'{result.grade}'" in words
    assert verify(result.problem, found.solution, verdict=less.verdict).passed


def test_what_a_time_limit_left_is_closed_by_the_proof(pair):
    result, proof = pair
    loose = cut_off(result, bound=result.bound + 1.0, relative_gap=1.0 / max(1.0, abs(result.objective)))
    found = with_proof(loose, proof)
    assert (found.status, found.grade, found.solution.stopped_by) == ("optimal", "proved", "proof")
    nothing = without_answer(replace(result, active_bounds=()))
    assert nothing.status is Status.UNKNOWN
    found = with_proof(nothing, proof)
    assert found.active_bounds is None and found.solution.method.active_bounds is None
    assert (found.status, found.grade) == ("optimal", "proved")
    assert found.objective == pytest.approx(result.objective, abs=1e-9)
    assert found.solution.method.solver.endswith("the answer is the certificate's")
    assert verify(result.problem, found.solution, verdict=proof.verdict).passed


def test_a_tighter_proof_that_leaves_the_gap_open_gives_its_bound_and_no_grade(pair):
    result, proof = pair
    less = weaker(proof, result.problem, 0.1)
    gap = 1.0 / max(1.0, abs(result.objective))
    found = with_proof(cut_off(result, bound=result.objective + 1.0, relative_gap=gap), less)
    assert (found.status, found.grade, found.solution.stopped_by) == ("feasible", "claimed", "time_limit")
    assert found.bound == outward(result.problem, less.bound)
    assert "the gap is open, and the bound was checked in exact" in certificate_words(found.solution)


def test_the_opposite_of_what_a_solver_claimed_is_an_error(pairs, hopeless):
    for goal in GoalKind:
        result, proof = pairs[goal]
        sign = -1.0 if result.problem.goal.maximises else 1.0
        fields = {"bound": result.objective + sign, "objective": result.objective + sign}
        lie = replace(result, solution=result.solution.model_copy(update=fields))
        with pytest.raises(VerificationError, match="better than the bound"):
            with_proof(lie, proof)
        fields = {"objective": result.objective - sign}
        lie = replace(result, solution=result.solution.model_copy(update=fields))
        with pytest.raises(VerificationError, match="better than the proved bound"):
            with_proof(lie, proof)
        nothing = without_answer(result)
        empty = {"status": Status.INFEASIBLE, "stopped_by": StoppedBy.PROOF}
        lie = replace(nothing, solution=nothing.solution.model_copy(update=empty))
        with pytest.raises(VerificationError, match="contradict each other: it is stated that there is no answer"):
            with_proof(lie, proof)
    result, proof = pairs[GoalKind.MIN_COST]
    none = Proof(hopeless[1].certificate, hopeless[1].verdict)
    with pytest.raises(VerificationError, match="proved that there is none"):
        with_proof(result, none)


def test_a_certificate_that_does_not_check_gives_nothing(pair):
    result, proof = pair
    wrong = weaker(proof, result.problem, -0.1)
    assert not wrong.verdict.proved
    with pytest.raises(VerificationError, match="Not proved"):
        with_proof(result, wrong)


def test_solve_proves_where_it_is_asked_to(make):
    problem = stated(make(2, "ridge", "penalized", withhold=True))
    found = oar_opt.solve(problem, prove=True)
    assert found.grade == "proved" and oar_opt.check_certificate(found.proof.certificate, problem).proved
    pool = oar_opt.solve(problem, prove=True, pool=2)
    assert pool.grade == "proved" and pool.solution.pool.grade < Grade.PROVED
    with pytest.raises(UnsupportedError, match="no certificate of this instance: member 70 may change features"):
        oar_opt.solve(load("iris-running-centroids"), prove=True)
    with pytest.raises(UnsupportedError, match="it has no file"):
        oar_opt.prove(line_example(LearnerSpec("ridge", alpha=1.0)))


@pytest.mark.parametrize(
    ("reason", "words"),
    [(UnsupportedError("no enclosure"), "no enclosure"), (KeyboardInterrupt(), "it was interrupted")],
)
def test_a_proof_that_fails_leaves_the_answer_and_a_note(make, monkeypatch, reason, words):
    def fail(*given):
        raise reason

    monkeypatch.setattr("oar_opt.proving.make_certificate", fail)
    found = oar_opt.solve(stated(make(2, "ridge", "penalized")), prove=True)
    assert found.proof is None and found.grade < Grade.PROVED and found.notes[-1] == f"not proved: {words}"


# -- what a verification believes ---


def test_a_file_is_not_believed_that_something_is_proved(pair, pairs):
    result, proof = pair
    solution = with_proof(result, proof).solution
    alone = verify(result.problem, solution)
    assert alone.passed and (alone.word, alone.grade) == (Grade.PROVED, enumeration_grade(result.problem))
    shown = verify(result.problem, solution, verdict=proof.verdict)
    assert shown.passed and (shown.word, shown.grade) == (None, Grade.PROVED)
    other = pairs[GoalKind.MIN_COST][1].certificate
    foreign = verify(result.problem, solution, verdict=check(other, result.problem))
    assert not foreign.passed and any("file has another digest" in text for text in foreign.failures())
    less = verify(result.problem, solution, verdict=weaker(proof, result.problem, 0.1).verdict)
    assert not less.passed and any("claims the grade 'proved'" in text for text in less.failures())


def enumeration_grade(problem):
    return Grade.ENUMERATED if enumerate_choices(problem).complete else Grade.CLAIMED


def test_a_certificate_lifts_a_solution_that_claims_less(pair):
    result, proof = pair
    found = verify(result.problem, with_proof(result, weaker(proof, result.problem, 1e-6)).solution)
    assert found.passed
    plain = verify(result.problem, result.solution, verdict=proof.verdict)
    # The solver's bound may be tighter than the certificate's by its rounding: then it is not what is proved.
    expected = Grade.PROVED if exact(result.bound) >= read_decimal(proof.bound) else result.grade
    assert plain.passed and plain.grade == expected


@pytest.mark.parametrize(
    ("bound", "status"), [(None, None), ("9", Status.OPTIMAL), (None, Status.OPTIMAL), ("1", Status.INFEASIBLE)]
)
def test_proved_without_saying_what_that_settles_is_refused(pairs, hopeless, bound, status):
    """A record that is not there, a weaker bound, "no answer" beside an answer, a bound beside "no answer"."""
    result, proof = hopeless if status is Status.INFEASIBLE else pairs[GoalKind.MAX_MARGIN]
    solution = with_proof(result, proof).solution
    record = None if status is None else solution.certificate.proof.model_copy(update={"bound": bound})
    changed = solution.certificate.model_copy(update={"proof": record})
    found = verify(result.problem, solution.model_copy(update={"certificate": changed}))
    assert not found.passed and found.word is None and "claims the grade 'proved'" in found.failures()[0]


def test_confirmed_is_a_files_word_too(oar, tmp_path):
    """Of a continuum of changes, which nobody re-trains one by one."""
    problem, path = load(CONTINUUM), tmp_path / "s.json"
    solution = load_solution(solution_path(CONTINUUM))
    assert (solution.status, solution.certificate.grade) == (Status.OPTIMAL, Grade.CLAIMED)
    raised = {"certificate": solution.certificate.model_copy(update={"grade": Grade.CONFIRMED})}
    solution = solution.model_copy(update=raised)
    found = verify(problem, solution)
    assert found.passed and (found.word, found.grade) == (Grade.CONFIRMED, Grade.CLAIMED)
    assert check_answer(problem, solution, confirmed=True).grade is Grade.CONFIRMED
    save_solution(solution, path)
    code, out, _ = oar("verify", CONTINUUM, path)
    assert code == 0 and "grade claimed. The solution states the grade 'confirmed', which is" in " ".join(out.split())
    loose = solution.model_copy(update={"status": Status.FEASIBLE})
    assert not verify(problem, loose).passed, "an open gap has nothing that could be confirmed"


def test_the_bound_is_rounded_so_as_not_to_be_better(pairs):
    """A third in nine decimals has no floating-point number; the nearest may be better, the next one is not."""
    for goal in (GoalKind.MAX_MARGIN, GoalKind.MIN_COST):
        problem = pairs[goal][0].problem
        for text in ("0.1", "0.3", "0.333333333", "-0.7", "3", "0"):
            value = outward(problem, text)
            gain = exact(value) - read_decimal(text)
            assert (gain >= 0 if problem.goal.maximises else gain <= 0) and abs(value - float(text)) < 1e-15


# -- commands and pages ---


def test_the_commands_say_the_same(oar, tmp_path, monkeypatch):
    instance, solution, proof = "gig-three-weeks", tmp_path / "s.json", tmp_path / "p.json.gz"
    code, out, err = oar("solve", instance, "--prove", proof, "-o", solution, "-q")
    assert code == 0 and "Certificate: proved: " in out and "s to prove" in out and "Certificate written" in err
    assert load_solution(solution).certificate.grade == "proved"
    code, out, _ = oar("verify", instance, solution)
    told = " ".join(out.split())
    assert (
        code == 0 and "Verified, grade enumerated. The solution states the grade 'proved', which is the file's" in told
    )
    code, out, _ = oar("verify", instance, solution, "--certificate", proof)
    assert code == 0 and "Verified, grade proved." in out and "No admissible change of these 6 members" in out
    code, out, _ = oar("verify", instance, solution, "--certificate", proof, "--json")
    document = json.loads(out)
    assert code == 0 and (document["grade"], document["grade_on_the_files_word"]) == ("proved", None)
    forged = tmp_path / "f.json"
    save_certificate(load_certificate(proof).model_copy(update={"bound": "3.5"}), forged)
    code, out, _ = oar("verify", instance, solution, "--certificate", forged)
    assert code == 4 and "the claim is wrong" in " ".join(out.split())
    monkeypatch.setattr("oar_opt.page._figures", lambda *_: [])
    code, _, err = oar("report", instance, solution, "-o", tmp_path / "r.html")
    assert code == 0 and "the file's word" in err
    words = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Certificate: proved" in words and f"--certificate {instance}.certificate.json" in words


def test_the_readmes_proofs_are_as_shown(oar, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    section = README.read_text(encoding="utf-8").partition("### Proofs")[2].partition("\n## ")[0]
    shown, python = (text for _, text in re.findall(r"```(\w*)\n(.*?)```", section, re.DOTALL))
    said = []
    for command in re.findall(r"^\$ oar (.*)$", shown, re.MULTILINE):
        code, out, _ = oar(*command.split())
        assert code == 0
        said += [line.rstrip() for line in out.splitlines()]
    assert [line for line in shown.splitlines() if line[:1] not in "$." and line not in said] == []
    exec(python, {"oar_opt": oar_opt})
    assert capfd.readouterr().out.splitlines()[-1] == "True"


def test_what_cannot_be_proved_is_said_before_anything_is_solved(oar, tmp_path, monkeypatch):
    monkeypatch.setattr("oar_opt.pipeline.solve", lambda *_, **__: pytest.fail("solved"))
    code, out, err = oar("solve", "iris-running-centroids", "--prove", tmp_path / "p.json")
    assert code == 2 and not out and "may change features" in err


@pytest.mark.parametrize(
    ("reason", "words"), [(UnsupportedError("no enclosure"), "no enclosure"), (KeyboardInterrupt(), "was interrupted")]
)
def test_an_answer_is_kept_where_its_proof_fails(oar, tmp_path, monkeypatch, make, reason, words):
    def fail(*given):
        raise reason

    monkeypatch.setattr("oar_opt.proving.make_certificate", fail)
    instance, solution = tmp_path / "random-2.json", tmp_path / "s.json"
    save_instance(make(2, "ridge", "penalized"), instance)
    code, out, err = oar("solve", instance, "--prove", tmp_path / "p.json", "-o", solution)
    assert code == 2 and "optimal" in out and words in err and load_solution(solution).status == "optimal"


def test_every_check_has_its_sentence_on_the_page(pair):
    result, proof = pair
    found = with_proof(result, proof)
    assert all(check_sentence(one) for one in found.solution.certificate.checks)
    assert "proved" in page(found.problem, found.solution, pictures=False)


# -- compressed files ---


def test_a_compressed_certificate_is_the_same_and_its_bytes_are(pair, tmp_path):
    certificate, path = pair[1].certificate, tmp_path / "c.json.gz"
    save_certificate(certificate, path)
    first = path.read_bytes()
    assert load_certificate(path) == certificate
    assert gzip.decompress(first).decode() == certificate_text(certificate)
    assert first[3:8] == bytes(5), "neither name nor time"
    again = tmp_path / "other.gz"
    save_certificate(certificate, again)
    assert again.read_bytes() == first


def test_what_is_no_whole_file_of_gzip_is_an_input_error(pair, tmp_path):
    path = tmp_path / "c.json.gz"
    save_certificate(pair[1].certificate, path)
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[20] ^= 0xFF
    for data in (whole[:-9], b"{}", bytes(damaged), b""):
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"c\.json\.gz"):
            load_certificate(path)
    with pytest.raises(InputError, match="does not exist"):
        load_certificate(tmp_path / "absent.gz")


def test_a_file_that_unpacks_to_too_much_is_refused(pair, tmp_path, monkeypatch):
    monkeypatch.setattr(certificate_file, "MOST_BYTES", 1000)
    bomb, plain = tmp_path / "bomb.gz", tmp_path / "plain.json"
    bomb.write_bytes(gzip.compress(b" " * 10**6))
    plain.write_bytes(b" " * 1001)
    assert bomb.stat().st_size <= 1010
    for path in (bomb, plain):
        with pytest.raises(InputError, match="more than 1,000 bytes"):
            load_certificate(path)
    monkeypatch.setattr(certificate_file, "MOST_BYTES", 10)
    with pytest.raises(InputError, match="more than 10 bytes"):
        save_certificate(pair[1].certificate, bomb)


# -- the library ---


@pytest.mark.parametrize("name", benchmarks())
def test_a_proved_bound_of_the_library_has_its_certificate_and_no_other_lies_there(name):
    assert missing_proof(name, read_bounds()[name]) is None


def test_every_file_among_the_certificates_is_one_of_them():
    folder = certificate_paths("x")[0].parent
    used = {path for name in benchmarks() for path in certificate_paths(name)}
    assert list(folder.iterdir()) and not [path.name for path in folder.iterdir() if path not in used]


@pytest.mark.parametrize("name", [name for name, known in read_bounds().items() if known.proved])
def test_the_certificates_of_the_library_check(name):
    if name not in SAMPLE and not os.environ.get(ALL):
        pytest.skip(f"only a sample, unless {ALL} is set")
    assert check_stored(name, read_bounds()[name]) is None


def test_the_sample_is_of_proved_bounds():
    assert all(read_bounds()[name].proved for name in SAMPLE)


def test_the_readme_counts_the_grades_of_the_library():
    known = read_bounds()
    grades = Counter((one.infeasible or one.dual).grade for one in known.values() if one.infeasible or one.dual)
    status = Counter(one.status(load(name).tolerances.relative_gap) for name, one in known.items())
    text = " ".join(README.read_text(encoding="utf-8").split())
    assert f"{status['open']} are open: the set" in text
    assert f"Of the others {status['solved']} are solved and {status['infeasible']} infeasible" in text
    assert f"{grades['proved']} of all bounds and infeasibilities are `proved`" in text
    assert grades["enumerated"] == 0 or f"{grades['enumerated']} `enumerated`" in text


@pytest.fixture
def small(pair, monkeypatch):
    """A small problem as the library's only one, its solution and proof."""
    result, proof = pair
    problem = result.problem
    for module in (best_known, certified_bounds, claims):
        monkeypatch.setattr(module, "load", {problem.name: problem}.__getitem__)
    for module in (certified_bounds, claims):
        monkeypatch.setattr(module, "benchmarks", lambda: [problem.name])
    return problem, result.solution, proof


def claim(problem, solution):
    return Claim(problem, solution, "ours", "0.1.0", "2026-01-01")


def test_a_certificate_raises_the_grade_and_is_stored(small, tmp_path):
    problem, solution, proof = small
    before, _ = merge({}, claim(problem, solution), tmp_path)
    after, words = take_in({SMALL: before}, proof.certificate, tmp_path)
    assert (after.dual.grade, after.dual.value, after.primal) == (
        "proved",
        outward(problem, proof.bound),
        before.primal,
    )
    assert len(words) == 1 and "proved for" in words[0] and "enumerated" in words[0]
    assert load_certificate(certificate_paths(SMALL, tmp_path)[0]) == proof.certificate
    assert check_stored(SMALL, after, tmp_path) is None
    assert take_in({SMALL: after}, proof.certificate, tmp_path) == (after, ())
    assert merge({SMALL: after}, claim(problem, solution), tmp_path)[0] == after
    write_bounds({SMALL: after}, tmp_path)
    assert read_bounds(tmp_path) == {SMALL: after}


def test_a_certificate_alone_gives_answer_and_bound(small, tmp_path):
    _, solution, proof = small
    known, words = take_in({}, proof.certificate, tmp_path)
    assert known.status(1e-4) == "solved" and len(words) == 2
    assert (known.primal.grade, known.dual.grade) == (RETRAINED, "proved")
    assert known.primal.value == pytest.approx(solution.objective, abs=1e-9)
    assert load_solution(solution_path(SMALL, tmp_path)).objective == known.primal.value


def test_large_certificates_are_compressed(small, tmp_path, monkeypatch):
    monkeypatch.setattr(certified_bounds, "LARGE", 10)
    known, _ = take_in({}, small[2].certificate, tmp_path)
    plain, compressed = certificate_paths(SMALL, tmp_path)
    assert compressed.exists() and not plain.exists() and missing_proof(SMALL, known, tmp_path) is None


def test_nothing_is_proved_on_a_solutions_word(small, pair, tmp_path):
    (problem, _, proof), result = small, pair[0]
    taken = with_proof(result, proof).solution
    known, _ = merge({}, claim(problem, taken), tmp_path)
    assert known.dual.grade == "enumerated" and known.proved is None


def test_a_tighter_bound_without_a_proof_removes_the_certificate(small, tmp_path):
    problem, solution, proof = small
    loose = weaker(proof, problem, 0.1)
    known, _ = take_in({}, loose.certificate, tmp_path)
    assert (
        known.status(1e-4) == "open" and known.dual.grade == "proved" and certificate_paths(SMALL, tmp_path)[0].exists()
    )
    known, _ = merge({SMALL: known}, claim(problem, solution), tmp_path)
    assert known.dual.grade == "enumerated" and missing_proof(SMALL, known, tmp_path) is None
    assert not certificate_paths(SMALL, tmp_path)[0].exists()


def test_what_does_not_check_or_contradicts_is_not_taken_in(small, tmp_path):
    problem, solution, proof = small
    with pytest.raises(VerificationError, match="Not proved"):
        take_in({}, weaker(proof, problem, -0.1).certificate, tmp_path)
    where = Bound(solution.objective + 0.5, "liar", "s", "0", "2026-01-01", 1.0, "re-trained")
    for wrong, words in (
        (BestKnown(problem.sha256, primal=where), "is beyond the bound"),
        (BestKnown(problem.sha256, dual=replace(where, value=solution.objective - 0.5)), "is beyond the bound"),
        (BestKnown(problem.sha256, infeasible=where), "liar says has none"),
    ):
        with pytest.raises(VerificationError, match=words):
            take_in({SMALL: wrong}, proof.certificate, tmp_path)
    assert not any(path.exists() for path in (*certificate_paths(SMALL, tmp_path), solution_path(SMALL, tmp_path)))
    with pytest.raises(InputError, match="not in the library"):
        take_in({}, proof.certificate.model_copy(update={"instance": "other"}), tmp_path)


def test_missing_and_other_certificates_are_named(small, tmp_path):
    problem, _, proof = small
    known, _ = take_in({}, proof.certificate, tmp_path)
    moved = replace(known, dual=replace(known.dual, value=known.dual.value + 1))
    assert "not the one known" in missing_proof(SMALL, moved, tmp_path)
    assert "proves no bound" in missing_proof(SMALL, BestKnown(problem.sha256), tmp_path)
    assert "of another instance" in missing_proof(SMALL, replace(known, sha256="0" * 64), tmp_path)
    assert "there are 0 certificates" in missing_proof(SMALL, known, tmp_path / "none")
    save_certificate(weaker(proof, problem, -0.1).certificate, certificate_paths(SMALL, tmp_path)[0])
    stored = replace(
        known, dual=replace(known.dual, value=outward(problem, weaker(proof, problem, -0.1).certificate.bound))
    )
    assert "Not proved" in check_stored(SMALL, stored, tmp_path)


def test_the_command_takes_certificates_among_files(oar, small, tmp_path, monkeypatch):
    for function in (best_known.read_bounds, best_known.write_bounds, best_known.merge, certified_bounds.take_in):
        monkeypatch.setattr(function, "__defaults__", (tmp_path,))
    solution, certificate = tmp_path / "s.json", tmp_path / "c.json.gz"
    save_solution(small[1], solution)
    save_certificate(small[2].certificate, certificate)
    code, out, err = oar("bounds-update", solution, certificate)
    assert code == 0, err
    assert "proved for" in out and "2 claims were better" in out
    assert certificate_in(solution) is None and certificate_in(tmp_path / "r.jsonl") is None
    assert read_bounds(tmp_path)[SMALL].proved


def test_certificates_are_checked_by_name_and_file(tmp_path):
    path, problem = tmp_path / "c.json", load("gig-three-weeks")
    proof = prove(problem)
    proof.save(path)
    assert check_certificate(path, problem.name).bound == check_certificate(str(path), problem).bound == proof.bound
    with pytest.raises(InputError, match="neither a shipped instance"):
        check_certificate(path, "nosuch")
