"""The report: one page that stands alone, says what the solution says, and every check in words."""

from __future__ import annotations

import ast
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

import oar_opt
from oar_opt.certificate import Grade
from oar_opt.compare import EXACT, compare
from oar_opt.evaluate import evaluate, evaluate_present
from oar_opt.library import load
from oar_opt.page import CHECK_SENTENCES, page
from oar_opt.pipeline import solve
from oar_opt.requirements import RequirementKind
from oar_opt.solution_file import ConflictRecord, RequirementRecord, save_solution
from oar_opt.verification import coded_moves

VOID = {"meta", "br", "hr", "img", "link", "input", "path", "use", "rect", "line", "circle"}
LOADING = ("src", "href", "xlink:href")


class Reader(HTMLParser):
    """Open tags, texts, table cells, headings; complains about tags that are closed in another order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.texts, self.seen, self.ids, self.faults = [], [], [], set(), []
        self.feed(text)
        assert not self.open and not self.faults, (self.open, self.faults)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.seen.append((tag, attrs))
        self.ids.add(attrs.get("id"))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.faults.append((tag, self.getpos()))

    def handle_data(self, data):
        if data.strip():
            self.texts.append(data.strip())

    @property
    def words(self):
        return " ".join(self.texts)


@pytest.fixture(scope="module")
def solved():
    problem = load("iris-running-centroids")
    return problem, solve(problem).solution


@pytest.fixture(scope="module")
def whole(solved):
    problem, solution = solved
    return page(problem, solution, compare(problem, ["stay", "isolated", EXACT], heuristic_seconds=0.5, exact=solution))


def test_the_page_says_what_the_solution_says(solved, whole):
    problem, solution = solved
    words = Reader(whole).words
    assert problem.title in words and f"{solution.objective:.6g}" in words and f"{solution.bound:.6g}" in words
    for move in solution.moves:
        for name, (now, then) in move.changes.items():
            assert name in words and f"{now:.6g} → {then:.6g}" in words
    for query in solution.queries:
        assert f"{query.margin:.6g}" in words and f"{query.margin_before:.6g}" in words
    assert all(CHECK_SENTENCES[check.name] in words for check in solution.certificate.checks)
    assert "joint optimum" in words and "isolated" in words and "Individual recourse of" in words
    assert problem.sha256 in words and f"oar verify {problem.name}" in words


def test_nothing_is_loaded_and_nothing_runs(whole):
    reader = Reader(whole)
    assert "script" not in {tag for tag, _ in reader.seen}
    for _, attrs in reader.seen:
        assert all(attrs.get(name, "#").startswith("#") for name in LOADING), attrs
        assert not any(name.startswith("on") for name in attrs)
    assert "url(http" not in whole and "@import" not in whole


def test_a_screen_reader_finds_its_way(whole):
    reader = Reader(whole)
    assert ("html", {"lang": "en"}) in reader.seen and [tag for tag, _ in reader.seen].count("h1") == 1
    labels = [attrs["aria-labelledby"] for tag, attrs in reader.seen if tag == "section"]
    assert labels and set(labels) <= reader.ids
    tags = [tag for tag, _ in reader.seen]
    assert tags.count("table") == tags.count("caption") >= 3
    assert all(attrs.get("scope") in ("col", "row") for tag, attrs in reader.seen if tag == "th")
    pictures = [attrs for tag, attrs in reader.seen if tag == "svg"]
    assert pictures and tags.count("figcaption") == len(pictures)
    assert all(attrs.get("role") == "img" for attrs in pictures)


def test_the_same_inputs_give_the_same_page(solved):
    assert page(*solved) == page(*solved)


def test_names_are_escaped(solved):
    problem, solution = solved
    evil = replace(problem, title="<script>alert(1)</script> & co")
    text = page(evil, solution, pictures=False)
    assert "<script>alert" not in text and "&lt;script&gt;" in text


@pytest.mark.parametrize("name", ["loan-beyond-reach", "tenant-immutable"])
def test_pages_without_moves_or_without_an_answer(name):
    problem = load(name)
    solution = solve(problem).solution
    words = Reader(page(problem, solution, pictures=False)).words
    assert ("Who changes what" in words) == bool(solution.moves)
    assert "The answer" not in Reader(page(problem, pictures=False)).words
    if solution.objective is None:
        assert "No admissible move of this collective gives what the instance requires." in words


def test_guards_and_budgets_are_told():
    """Budgets 2 of members and 2.5 in all; each member who acts withholds its record, for 1."""
    problem = load("gig-two-colleagues")
    budget = replace(problem.collective.budget, members=2, total=2.5, each=1.0)
    problem = replace(problem, collective=replace(problem.collective, budget=budget))
    solution = solve(problem).solution
    words = Reader(page(problem, solution, pictures=False)).words
    cost, most = sum(move.cost for move in solution.moves), max(move.cost for move in solution.moves)
    assert (
        f"{len(solution.moves)} of 5 members act, at most 2 may; the total cost is {cost:.6g} of at most 2.5" in words
    )
    assert f"the dearest member costs {most:.6g} of at most 1." in words
    (before,) = evaluate_present(problem).guard_margins
    (after,) = evaluate(problem, coded_moves(problem, solution.moves)).guard_margins
    assert f"{problem.guards[0].name} bonus 0.3 {before:.6g} {after:.6g}" in words


def test_an_infeasible_instance_is_explained(oar, tmp_path):
    target = tmp_path / "page.html"
    code, _, err = oar("report", "loan-beyond-reach", "-o", target, "--methods", "none")
    words = Reader(target.read_text(encoding="utf-8")).words
    assert code == 0 and "finding out why" in err
    assert "The best margin that query 'applicant' can reach is -2.24" in words and "Dropping it would make" in words


def test_conflicts_of_a_solution_file_are_told():
    problem = load("loan-beyond-reach")
    wanted = RequirementRecord(kind=RequirementKind.QUERY, subject="applicant", limit=0.01, attainable=-2.24)
    conflict = ConflictRecord(requirements=(wanted,), irreducible=True, grade=Grade.ENUMERATED)
    solution = solve(problem).solution.model_copy(update={"conflicts": (conflict,)})
    words = Reader(page(problem, solution, pictures=False)).words
    assert "No move of this collective gives query 'applicant' its margin 0.01." in words
    assert "A margin of -2.24 is possible for query 'applicant'" in words


def test_records_of_one_feature_have_a_page(make):
    problem = make(1, "ridge", "penalized", d=1, members=2, options=2)
    assert "<svg" not in page(problem, solve(problem).solution).split("<figure>")[0]


def test_every_check_of_the_verification_has_a_sentence():
    source = ast.parse((Path(oar_opt.__file__).parent / "verification.py").read_text(encoding="utf-8"))
    named = {
        node.args[0].value
        for node in ast.walk(source)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("say", "measure")
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }
    assert named == set(CHECK_SENTENCES)


def test_the_command_writes_a_page_and_refuses_what_does_not_verify(oar, solved, tmp_path):
    problem, solution = solved
    path, target = tmp_path / "answer.json", tmp_path / "page.html"
    save_solution(solution, path)
    code, _, err = oar("report", problem.name, path, "-o", target, "--methods", "stay", "-q")
    assert code == 0 and "report written to" in err and Reader(target.read_text(encoding="utf-8")).texts
    wrong = solution.model_copy(update={"objective": solution.objective - 1.0})
    save_solution(wrong, path)
    code, out, _ = oar("report", problem.name, path, "-o", tmp_path / "other.html", "-q")
    assert code == 4 and "NOT verified" in out and not (tmp_path / "other.html").exists()
    code, _, err = oar("report", problem.name, "-o", tmp_path / "none" / "page.html")
    assert code == 2 and "page.html" in err
    for more, word in ((("--time-limit", "1"), "--time-limit: does nothing"), (("--methods", "magic"), "unknown")):
        code, _, err = oar("report", problem.name, path, "-o", tmp_path / "other.html", *more)
        assert code == 2 and word in err


def test_comparisons_of_several_instances_stand_on_one_page(oar):
    code, out, _ = oar("compare", "gig-two-colleagues", "tenant-immutable", "--methods", "stay", "--html", "-q")
    reader = Reader(out)
    assert code == 0 and out.startswith("<!DOCTYPE html>")
    tags = [tag for tag, _ in reader.seen]
    assert tags.count("table") == tags.count("caption") == tags.count("h2") == 2
    assert load("tenant-immutable").title in reader.words and "Individual recourse of" in reader.words
    labels = [attrs["aria-labelledby"] for tag, attrs in reader.seen if tag == "section"]
    assert len(set(labels)) == 2 and set(labels) <= reader.ids
