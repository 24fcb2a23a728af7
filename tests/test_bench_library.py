"""Best known bounds, sets and reports of the library of benchmarks."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, replace

import pytest

from oar_opt.bench import best_known
from oar_opt.bench.best_known import (
    RETRAINED,
    BestKnown,
    Bound,
    Claim,
    contradiction,
    merge,
    read_bounds,
    solution_path,
    verify_stored,
    write_bounds,
)
from oar_opt.bench.claims import claims_in
from oar_opt.bench.comparison import Comparison
from oar_opt.bench.runs import Run, digest_of, measure, second_formulation
from oar_opt.bench.sets import index_path, index_text, names_of
from oar_opt.bench.summary import csv_text, integral, named_by_file, profile, text, winner
from oar_opt.certificate import Grade
from oar_opt.errors import InputError, VerificationError
from oar_opt.evaluate import evaluate
from oar_opt.library import benchmarks, load
from oar_opt.pipeline import choose, solve
from oar_opt.result import Status, StoppedBy
from oar_opt.solution_file import CertificateRecord, load_solution, save_solution

SMALL = "tenant-n60-d6-k8-svm-labels-s1"
OTHER = "wine-n80-d5-k8-centroid-menus-s1"


# -- what is shipped --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", benchmarks())
def test_the_best_known_bounds_hold(name):
    """Re-trains the stored answer, and checks it against every rule and the bound."""
    known = read_bounds()
    assert name in known, "every instance of the library has bounds"
    assert verify_stored(name, known[name]) is None


def test_the_index_is_that_of_the_files():
    assert index_path().read_text(encoding="utf-8") == index_text()
    rows = list(csv.DictReader(index_path().open(encoding="utf-8")))
    assert [row["name"] for row in rows] == list(benchmarks())


def test_sets_are_of_the_library():
    smoke, benchmark, challenge = (set(names_of(name)) for name in ("smoke", "benchmark", "challenge"))
    assert smoke and smoke < benchmark
    assert challenge and not challenge & benchmark
    assert challenge | benchmark == set(names_of("library")) == set(benchmarks())


def test_bounds_and_status_go_together():
    document = json.loads(best_known.bounds_path().read_text(encoding="utf-8"))
    for name, entry in document["instances"].items():
        assert entry["status"] == read_bounds()[name].status(load(name).tolerances.relative_gap)
    solutions = {path.stem for path in solution_path("x").parent.glob("*.json")}
    assert solutions == {name for name, entry in document["instances"].items() if "primal" in entry}


def test_the_challenge_is_open_and_the_smoke_set_is_not():
    known = read_bounds()
    status = {name: known[name].status(load(name).tolerances.relative_gap) for name in benchmarks()}
    assert {status[name] for name in names_of("challenge")} == {"open"}
    assert {status[name] for name in names_of("smoke")} == {"solved", "infeasible"}


@pytest.mark.parametrize("asked", ["nosuch", "nosuch.json"])
def test_a_set_that_there_is_not_is_named(asked):
    with pytest.raises(InputError, match="sets are: smoke"):
        names_of(asked)


def test_folders_and_files_are_sets_too(tmp_path):
    (tmp_path / "a.json").write_bytes(benchmarks()[SMALL].read_bytes())
    (tmp_path / "solution.json").write_text('{"format": "oar-solution"}')
    (tmp_path / "list.json").write_text("[1]")
    assert names_of(str(tmp_path)) == [str(tmp_path / "a.json")]
    assert names_of(str(tmp_path / "a.json")) == [str(tmp_path / "a.json")]
    assert names_of(SMALL) == [SMALL]
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="has no instance"):
        names_of(str(empty))


# -- taking in --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small():
    return load(SMALL)


@pytest.fixture(scope="module")
def solved(small):
    return solve(small).solution


def claim(problem, solution, method="ours"):
    return Claim(problem, solution, method, "0.1.0", "2026-01-01")


def graded(solution, grade, **fields):
    record = CertificateRecord(grade=grade, checks=solution.certificate.checks)
    return solution.model_copy(update={"certificate": record, **fields})


def weaker(solution, problem):
    """The same answer with a bound that leaves a gap."""
    bound = solution.bound + 0.5
    gap = abs(bound - solution.objective) / max(1.0, abs(solution.objective))
    return graded(
        solution, Grade.CLAIMED, bound=bound, relative_gap=gap, status=Status.FEASIBLE, stopped_by=StoppedBy.TIME_LIMIT
    )


def test_a_first_claim_is_taken_in_whole(small, solved, tmp_path):
    known, words = merge({}, claim(small, solved), tmp_path)
    assert known.primal.value == known.dual.value == solved.objective
    assert (known.primal.grade, known.dual.grade) == (RETRAINED, "enumerated")
    assert known.status(1e-4) == "solved" and len(words) == 2
    assert load_solution(solution_path(SMALL, tmp_path)) == solved


def test_what_is_better_replaces_what_is_known(small, solved, tmp_path):
    loose, _ = merge({}, claim(small, weaker(solved, small)), tmp_path)
    assert loose.status(1e-4) == "open"
    tight, words = merge({SMALL: loose}, claim(small, solved), tmp_path)
    assert tight.primal == loose.primal, "the same answer is no better one"
    assert tight.dual.value == solved.bound and len(words) == 1
    again, words = merge({SMALL: tight}, claim(small, weaker(solved, small)), tmp_path)
    assert (again, words) == (tight, ())


def test_the_same_bound_of_a_higher_grade_is_better_and_of_a_lower_one_is_not(small, solved, tmp_path):
    claimed, _ = merge({}, claim(small, graded(solved, Grade.CLAIMED)), tmp_path)
    assert claimed.dual.grade == "claimed"
    enumerated, words = merge({SMALL: claimed}, claim(small, solved), tmp_path)
    assert enumerated.dual.grade == "enumerated" and "enumerated" in words[0]
    assert merge({SMALL: enumerated}, claim(small, graded(solved, Grade.CLAIMED)), tmp_path)[1] == ()


def test_another_file_of_the_instance_starts_anew(small, solved, tmp_path):
    old, _ = merge({}, claim(small, solved), tmp_path)
    known, words = merge({SMALL: replace(old, sha256="old")}, claim(small, weaker(solved, small)), tmp_path)
    assert known.sha256 == small.sha256 and known.status(1e-4) == "open" and len(words) == 2


def test_a_false_answer_is_not_taken_in(small, solved, tmp_path):
    lie = solved.model_copy(update={"objective": solved.objective + 1, "bound": solved.bound + 1})
    with pytest.raises(VerificationError, match="the solution fails"):
        merge({}, claim(small, lie), tmp_path)
    assert not solution_path(SMALL, tmp_path).exists()


def test_an_answer_beyond_a_known_bound_is_an_error_and_so_is_one_to_the_infeasible(small, solved, tmp_path):
    where = Bound(solved.objective - 0.5, "liar", "s", "0", "2026-01-01", 1.0, "claimed")
    with pytest.raises(VerificationError, match="is beyond the bound"):
        merge({SMALL: BestKnown(small.sha256, dual=where)}, claim(small, weaker(solved, small)), tmp_path)
    with pytest.raises(VerificationError, match="liar says has none"):
        merge({SMALL: BestKnown(small.sha256, infeasible=where)}, claim(small, solved), tmp_path)


def test_what_has_no_answer_has_no_bound_on_its_goal(small, solved, tmp_path):
    nothing = solve(load(next(n for n in benchmarks() if read_bounds()[n].infeasible))).solution
    problem = load(nothing.instance)
    empty = graded(nothing, Grade.CLAIMED, status=Status.UNKNOWN, stopped_by=StoppedBy.TIME_LIMIT, bound=0.0)
    bounded, words = merge({}, claim(problem, empty), tmp_path)
    assert bounded.dual.value == 0.0 and bounded.status(1e-4) == "open" and len(words) == 1
    known, words = merge({problem.name: bounded}, claim(problem, nothing), tmp_path)
    assert known.dual is None and known.status(1e-4) == "infeasible" and "infeasible" in words[0]
    assert merge({problem.name: known}, claim(problem, empty), tmp_path) == (known, ())


def test_contradictions_heed_the_sense_of_the_goal(small):
    low, high = (Bound(value, "m", "s", "0", "d", 1.0, "claimed") for value in (1.0, 2.0))
    assert contradiction(small, BestKnown("", primal=low, dual=high)) is None
    assert "beyond" in contradiction(small, BestKnown("", primal=high, dual=low))
    cheapest = load(next(name for name in benchmarks() if load(name).goal.value == "min_cost"))
    assert contradiction(cheapest, BestKnown("", primal=high, dual=low)) is None
    assert "beyond" in contradiction(cheapest, BestKnown("", primal=low, dual=high))


def test_bounds_are_written_and_read_as_they_are(small, solved, tmp_path):
    known, _ = merge({}, claim(small, solved), tmp_path)
    write_bounds({SMALL: known}, tmp_path)
    assert read_bounds(tmp_path) == {SMALL: known}
    assert verify_stored(SMALL, known, tmp_path) is None
    moved = replace(known, primal=replace(known.primal, value=known.primal.value - 0.1))
    assert "and the bound says" in verify_stored(SMALL, moved, tmp_path)
    assert "of another file" in verify_stored(SMALL, replace(known, sha256="0" * 64), tmp_path)
    assert read_bounds(tmp_path / "nosuch") == {}


@pytest.mark.parametrize(
    "written", ['{"format": "oar-solution"}', '{"format": "oar-bounds", "version": 1, "instances": {"a": {}}}']
)
def test_a_file_that_is_none_of_bounds_is_named(tmp_path, written):
    best_known.bounds_path(tmp_path).write_text(written)
    with pytest.raises(InputError, match="is no file of bounds"):
        read_bounds(tmp_path)


def test_claims_come_from_results_and_from_solution_files(small, solved, tmp_path):
    results, file = tmp_path / "r.jsonl", tmp_path / "s.json"
    run = measure(small, "ours", 20.0)
    stale = replace(run, digest="old")
    elsewhere = replace(run, instance="gig-two-colleagues")
    results.write_text("".join(json.dumps(asdict(line)) + "\n" for line in (run, stale, elsewhere)))
    (found,) = claims_in(results)
    assert (found.method, found.solution.objective) == ("ours (enumeration)", run.objective)
    save_solution(solved, file)
    (found,) = claims_in(file, "by hand")
    assert (found.method, found.solution) == ("by hand", solved)
    save_solution(solved.model_copy(update={"instance_sha256": "0" * 64}), file)
    with pytest.raises(InputError, match="another file"):
        list(claims_in(file))
    save_solution(solved.model_copy(update={"instance": "somebody-elses"}), file)
    with pytest.raises(InputError, match="not in the library"):
        list(claims_in(file))
    with pytest.raises(InputError, match="does not exist"):
        list(claims_in(tmp_path / "nosuch.jsonl"))


def test_the_command_takes_in_what_is_better(oar, solved, tmp_path, monkeypatch):
    monkeypatch.setattr(best_known, "LIBRARY", tmp_path)
    monkeypatch.setattr(best_known.read_bounds, "__defaults__", (tmp_path,))
    monkeypatch.setattr(best_known.write_bounds, "__defaults__", (tmp_path,))
    monkeypatch.setattr(best_known.merge, "__defaults__", (tmp_path,))
    file = tmp_path / "s.json"
    save_solution(solved, file)
    code, out, _ = oar("bounds-update", file)
    assert code == 0 and f"{SMALL}: answer" in out and "1 claims were better" in out
    code, out, _ = oar("bounds-update", file)
    assert code == 0 and out == "0 claims were better\n"


# -- methods ----------------------------------------------------------------------------------------------------------


def test_the_second_formulation_is_exact_and_another(small):
    second = second_formulation(small)
    assert second not in ("enumeration", choose(small)[0].name)
    run = measure(small, "second", 30.0)
    assert (run.formulation, run.status) == (second, "optimal")
    assert run.objective == pytest.approx(measure(small, "ours", 30.0).objective, abs=1e-6)


def test_a_heuristic_is_re_trained_and_has_no_bound(small):
    run = measure(small, "heuristic:local_search", 5.0)
    assert (run.status, run.bound, run.verified) == ("feasible", None, True)
    assert run.objective <= solve(small).objective + 1e-9
    nothing = measure(load(next(n for n in benchmarks() if "-gradient1-" in n)), "heuristic:rb_label", 5.0)
    assert nothing.status in ("unsupported", "feasible")


def test_a_line_of_results_keeps_the_answer_and_how_it_came_about(small):
    run = measure(small, "ours", 20.0)
    assert run.digest == digest_of(small) and run.memory > 10 and run.version and run.date
    assert run.trace[-1][1:] == (run.objective, run.bound)
    assert evaluate(small, ()).objective <= run.solution["objective"] == run.objective


# -- reports ----------------------------------------------------------------------------------------------------------


def line(instance="i", method="a", seconds=4.0, status="optimal", **others):
    found = {"objective": 1.0, "bound": 1.0, "gap": 0.0, "verified": True, **others}
    return Run(instance, "digest", method, 10.0, seconds, status, **found)


def test_the_primal_dual_integral_by_hand():
    """Nothing for 1 s, a gap of a half for 2 s, of a quarter for 1 s, and then closed: 1 + 1 + 0.25."""
    trace = ((1.0, 1.0, 2.0), (3.0, 1.5, 2.0), (4.0, 2.0, 2.0))
    assert integral(line(trace=trace)) == pytest.approx(2.25)
    still_open = line(status="feasible", seconds=10.0, trace=trace[:1])
    assert integral(still_open) == pytest.approx(1 + 0.5 * 9)
    assert integral(line(status="infeasible", objective=None, bound=None)) == pytest.approx(4.0)
    assert integral(line(status="unknown", objective=None, trace=((2.0, None, 5.0),))) == pytest.approx(10.0)
    turned = line(status="feasible", seconds=10.0, trace=((2.0, -1.0, 1.0),))
    assert integral(turned) == pytest.approx(10.0), "of differing sign"


def test_profiles_and_winners_by_hand():
    runs = [
        line("one", "a", 1.0),
        line("one", "b", 3.0),
        line("two", "a", 10.0, "feasible", gap=0.5),
        line("two", "b", 2.0),
        line("three", "a", 10.0, "feasible", gap=0.1),
        line("three", "b", 10.0, "feasible", gap=0.2),
    ]
    comparison = Comparison.of(runs)
    names = ["one", "two", "three"]
    assert dict(profile(comparison, "a", names))[1.0] == pytest.approx(1 / 3)
    assert [round(share, 3) for _, share in profile(comparison, "b", names)][:3] == [0.333, 0.333, 0.667]
    assert [winner(comparison, name) for name in names] == ["a", "b", "a"]


def test_files_are_told_apart_and_compared_by_ratios(tmp_path):
    for name, seconds in (("old", 8.0), ("new", 2.0)):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(asdict(line(seconds=seconds))) + "\n")
    runs = named_by_file([tmp_path / "old.jsonl", tmp_path / "new.jsonl"])
    assert [run.method for run in runs] == ["a [old]", "a [new]"]
    assert "ratio a [new] / a [old]: 0.25" in text(runs) or "ratio a [old] / a [new]: 4.00" in text(runs)
    (row, _) = csv.DictReader(csv_text(runs).splitlines())
    assert (row["instance"], row["seconds"], row["integral"]) == ("i", "8.0", "8.0")
    with pytest.raises(InputError, match="does not exist"):
        named_by_file([tmp_path / "nosuch.jsonl"])


def test_the_command_runs_reports_and_resumes(oar, tmp_path):
    results, page = tmp_path / "r.jsonl", tmp_path / "r.html"
    wanted = ("bench", SMALL, "--methods", "ours,heuristic:stay", "--time-limit", 20, "-o", results)
    code, out, err = oar(*wanted)
    assert code == 0, err
    assert "2 of 2 runs to do" in err and "winners" in out and len(results.read_text().splitlines()) == 2
    code, _, err = oar(*wanted)
    assert code == 0 and "0 of 2 runs to do" in err
    code, _, _ = oar("bench", "report", results, "--html", page)
    words = page.read_text(encoding="utf-8")
    assert code == 0 and "<svg" in words and SMALL in words
    assert "<?xml" not in words and "<!DOCTYPE svg" not in words
    code, out, _ = oar("bench", "report", results, "--csv")
    assert code == 0 and out.startswith("instance,method,status")


@pytest.mark.parametrize(
    "arguments,words",
    [
        (("nosuch",), "is no set"),
        (("smoke", "x.jsonl"), "only 'oar bench report'"),
        (("smoke", "--methods", "magic"), "'magic' is unknown"),
        (("smoke", "-o", "nosuch/r.jsonl"), "does not exist"),
        (("smoke", "--only", "nosuch"), "no instance is called"),
        (("report",), "have no runs"),
        (("report", "nosuch.jsonl"), "does not exist"),
    ],
)
def test_wrong_requests_say_so(oar, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    code, _, err = oar("bench", *arguments)
    assert code == 2 and words in " ".join(err.split())


def test_runs_that_contradict_each_other_are_an_error(oar, tmp_path):
    results = tmp_path / "r.jsonl"
    lines = [line(method="a"), line(method="b", status="infeasible", objective=None, bound=None, gap=None)]
    results.write_text("".join(json.dumps(asdict(one)) + "\n" for one in lines))
    code, _, err = oar("bench", "report", results)
    assert code == 4 and "contradict" in err
