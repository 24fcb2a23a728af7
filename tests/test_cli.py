"""The command line: exit codes, what goes to which stream, files written and read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import highspy
import pytest

from oar_opt.discovery import formulations
from oar_opt.instance_file import load_instance, save_instance
from oar_opt.library import shipped
from oar_opt.pipeline import solve
from oar_opt.solution_file import load_solution
from oar_opt.verification import verify

SMALL = "tenant-immutable"


@pytest.fixture
def instance(make, tmp_path):
    """Saves a small random problem, by default one that is solved in a moment, and returns its file."""

    def write(name="small", **traits):
        settings = {"kind": "ridge", "intercept": "penalized", "goal": "max_margin", **traits}
        problem = replace(make(traits.pop("seed", 2), **{k: v for k, v in settings.items() if k != "seed"}), name=name)
        path = tmp_path / f"{name}.json"
        save_instance(problem, path)
        return path

    return write


# -- through the shell ------------------------------------------------------------------------------------------------


def shell(*arguments, **options):
    command = [sys.executable, "-m", "oar_opt", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **options)


def test_help_answers_at_once_and_lists_the_commands():
    started = time.monotonic()
    done = shell("--help")
    assert done.returncode == 0 and time.monotonic() - started < 5
    for command in ("solve", "verify", "bounds", "show", "formulations", "instances", "export"):
        assert command in done.stdout


def test_json_is_the_only_thing_on_standard_output(tmp_path):
    done = shell("solve", SMALL, "--json", "-o", tmp_path / "s.json")
    assert done.returncode == 0
    document = json.loads(done.stdout)
    assert document["status"] == "optimal" and document["instance"] == SMALL
    assert document == json.loads((tmp_path / "s.json").read_text())
    assert "solution written" in done.stderr


def test_an_error_is_one_line_on_standard_error_without_traceback():
    done = shell("solve", "no-such-instance")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1


def test_a_reader_that_goes_away_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -m oar_opt show {SMALL} --json | head -n 1", shell=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "{" and done.stderr == ""


def test_ctrl_c_prints_the_best_move_and_exits_with_0(instance):
    path = instance("long", kind="svm", n=40, members=14, options=5)
    command = [sys.executable, "-m", "oar_opt", "solve", str(path), "--json", "--time-limit", "10"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "bound" in line:
            break
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    document = json.loads(out)
    assert document["status"] == "feasible" and document["stopped_by"] == "interrupt" and document["moves"]


# -- exit codes -------------------------------------------------------------------------------------------------------


def test_a_valid_answer_exits_with_0_and_is_told_in_words(oar):
    code, out, err = oar("solve", SMALL)
    assert code == 0 and f"{SMALL}: optimal cost" in out and "5 of 8 members act" in out
    assert "Certificate: claimed" in out
    assert "formulation" in err and "the usual order" in err


def test_proved_infeasibility_exits_with_0(oar):
    code, out, _ = oar("solve", "loan-beyond-reach", "--strict")
    assert code == 0 and "infeasible" in out


def test_a_limit_without_any_move_exits_with_3(oar, instance):
    path = instance(goal="min_cost", required=100.0, members=6, options=5, n=12)
    code, out, _ = oar("solve", path, "--formulation", "enumeration", "--time-limit", 0.3)
    assert code == 3 and "no answer found" in out


def test_a_limit_with_a_move_exits_with_0_and_with_5_if_strict(oar, instance):
    path = instance(members=6, options=5, n=12)
    arguments = ("solve", path, "--formulation", "enumeration", "--time-limit", 0.3)
    code, out, _ = oar(*arguments)
    assert code == 0 and "stopped because the time limit was reached" in out
    assert oar(*arguments, "--strict")[0] == 5


def test_a_falsified_solution_exits_with_4(oar, tmp_path):
    path = tmp_path / "solution.json"
    assert oar("solve", SMALL, "-o", path, "-q")[0] == 0
    code, out, _ = oar("verify", SMALL, path)
    assert code == 0 and "Verified, grade claimed" in out
    document = json.loads(path.read_text())
    document["queries"][0]["margin"] += 0.01
    path.write_text(json.dumps(document))
    code, out, _ = oar("verify", SMALL, path)
    assert code == 4 and "NOT verified" in out and "margins" in out
    code, out, _ = oar("verify", SMALL, path, "--json")
    found = json.loads(out)
    assert code == 4 and not found["passed"] and any("margins" in text for text in found["failures"])


def test_the_solution_of_another_instance_exits_with_4(oar, tmp_path):
    path = tmp_path / "solution.json"
    assert oar("solve", SMALL, "-o", path, "-q")[0] == 0
    assert oar("verify", "loan-beyond-reach", path)[0] == 4


def test_wrong_input_exits_with_2_and_says_what_where_and_how_to_fix_it(oar, instance, tmp_path):
    broken, unknown = tmp_path / "broken.json", tmp_path / "small.json"
    broken.write_text("{")
    document = json.loads(instance().read_text())
    unknown.write_text(json.dumps({**document, "goaal": {}}))
    other = tmp_path / "other.json"
    other.write_text(json.dumps(document))
    solution = tmp_path / "solution.json"
    solution.write_text("[]")
    for arguments, words in [
        (("solve", "tenant-imutable"), ["tenant-imutable", "did you mean 'tenant-immutable'"]),
        (("solve", tmp_path / "absent.json"), ["absent.json"]),
        (("solve", tmp_path), [str(tmp_path)]),
        (("solve", broken), ["broken.json"]),
        (("solve", unknown), ["small.json", "goaal"]),
        (("solve", other), ["name", "small"]),
        (("solve", SMALL, "--solver", "magic"), ["--solver", "magic", "highs"]),
        (("solve", SMALL, "--formulation", "magic"), ["--formulation", "magic", "kkt_big_m"]),
        (("solve", SMALL, "--formulation", "centroid_closed_form"), ["centroid_closed_form", "no nearest centroid"]),
        (("solve", SMALL, "--time-limit", "-1"), ["--time-limit"]),
        (("solve", SMALL, "-o", tmp_path / "none" / "s.json"), ["cannot be written"]),
        (("solve", SMALL, "-o", tmp_path), ["cannot be written"]),
        (("verify", SMALL, tmp_path / "absent.json"), ["absent.json"]),
        (("verify", SMALL, solution), ["solution.json"]),
        (("export", SMALL, "--format", "magic"), ["--format", "magic", "mps"]),
        (("export", "iris-centroid-l2-r05-k10"), ["centroid_bilinear", "--format lp"]),
        (("export", "iris-centroid-l2-r05-k10", "--formulation", "centroid_closed_form"), ["computed directly"]),
        (("export", SMALL, "-o", tmp_path / "none" / "p.mps"), ["none"]),
        (("formulations", "--instance", "nothing"), ["nothing"]),
    ]:
        code, out, err = oar(*arguments)
        assert code == 2 and not out, arguments
        assert err.startswith("error: "), err
        for word in words:
            assert word in err, (arguments, err)


def test_an_unknown_option_exits_with_2(oar):
    assert oar("solve", SMALL, "--magic")[0] == 2
    assert oar("magic")[0] == 2


def test_an_unexpected_error_exits_with_1_and_asks_to_report_it(oar, monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError("by zero")

    monkeypatch.delenv("OAR_DEBUG", raising=False)
    monkeypatch.setattr("oar_opt.pipeline.solve", fail)
    code, out, err = oar("solve", SMALL)
    assert code == 1 and not out and "internal error: ZeroDivisionError: by zero" in err and "report" in err


# -- telling and listing ----------------------------------------------------------------------------------------------


def test_the_version_is_told(oar):
    code, out, _ = oar("--version")
    assert code == 0 and out.startswith("oar_opt ")


def test_quiet_leaves_standard_error_empty(oar):
    code, out, err = oar("solve", SMALL, "-q")
    assert code == 0 and out and err == ""


def test_show_tells_the_instance_and_its_margin_before(oar):
    code, out, _ = oar("show", SMALL)
    assert code == 0
    for words in (SMALL, "70 with 3 features", "ridge", "applicant", "no recourse of its own"):
        assert words in out


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gig-three-weeks", "gradient: 3 steps at the rate 1, weight decay 0.01, by the mean over 6 records"),
        ("loan-next-update", "gradient: 1 step at the rate 0.5, weight decay 0.01, by the mean over 60 records"),
        ("iris-running-centroids", "records arrive one by one and pull at the rate 0.05"),
    ],
)
def test_show_tells_the_update_in_words(oar, name, words):
    code, out, _ = oar("show", name)
    assert code == 0 and words in " ".join(out.split())


@pytest.mark.parametrize("name", [SMALL, "diabetes-ridge-regression"])
def test_show_as_json_is_the_instance_itself(oar, tmp_path, name):
    code, out, _ = oar("show", name, "--json")
    path = tmp_path / f"{name}.json"
    path.write_text(out)
    assert code == 0 and load_instance(path) == load_instance(shipped()[name])


def test_all_shipped_instances_are_listed(oar):
    code, out, _ = oar("instances", "--json")
    assert code == 0 and [row["name"] for row in json.loads(out)] == list(shipped())
    code, out, _ = oar("instances")
    assert code == 0 and all(name in out for name in shipped())


def test_formulations_tell_which_apply_and_why_others_do_not(oar):
    code, out, _ = oar("formulations", "--instance", SMALL)
    assert code == 0 and "yes" in out and "no: learner 'ridge' is no nearest" in out
    code, out, _ = oar("formulations", "--instance", SMALL, "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert set(rows) == set(formulations())
    assert rows["kkt_big_m"]["applies"] and not rows["centroid_closed_form"]["applies"]
    code, out, _ = oar("formulations")
    assert code == 0 and all(name in out for name in formulations())


def test_confirm_tells_by_what(oar, instance):
    path = instance(members=10, options=1, n=14)
    code, out, err = oar("solve", path, "--confirm")
    assert code == 0 and "confirmed by enumeration" in err and "Certificate: enumerated" in out


def test_a_regression_with_a_written_solution_passes_its_own_verification(oar, tmp_path):
    path = tmp_path / "solution.json"
    code, out, _ = oar("solve", "diabetes-ridge-regression", "-q", "-o", path)
    assert code == 0 and "optimal cost" in out
    problem = load_instance(shipped()["diabetes-ridge-regression"])
    assert verify(problem, load_solution(path)).passed


# -- pools and explanations -------------------------------------------------------------------------------------------


def test_a_pool_is_a_table_a_sentence_and_a_part_of_the_file(oar, instance, tmp_path):
    path, solution = instance(members=3), tmp_path / "s.json"
    code, out, _ = oar("solve", path, "--pool", 3, "-o", solution)
    assert code == 0 and "The best different answers" in out and "Pool: all 3 answers found" in " ".join(out.split())
    assert len(load_solution(solution).pool.alternatives) == 2
    code, out, _ = oar("verify", path, solution)
    assert code == 0 and "alternative 2" in out and "alternative 3" in out and "order of alternatives" in out
    document = json.loads(solution.read_text())
    document["pool"]["alternatives"][0]["objective"] += 0.01
    solution.write_text(json.dumps(document))
    code, out, _ = oar("verify", path, solution)
    assert code == 4 and "alternative 2" in out
    code, out, _ = oar("solve", path, "--pool", 2, "--json", "-q")
    assert code == 0 and len(json.loads(out)["pool"]["alternatives"]) == 1


def test_more_answers_than_there_are_is_said(oar, instance):
    code, out, _ = oar("solve", instance(members=1, options=1), "--pool", 9)
    assert code == 0 and "no move beside these 2 is admissible" in " ".join(out.split())


@pytest.mark.parametrize("number", ["0", "-2", "many", "1.5"])
def test_a_wrong_number_of_answers_exits_with_2(oar, number):
    code, out, _ = oar("solve", SMALL, "--pool", number)
    assert code == 2 and not out


def test_ctrl_c_in_a_pool_prints_the_answers_found_by_then(instance):
    path = instance("long", kind="svm", n=40, members=14, options=5)
    command = [sys.executable, "-m", "oar_opt", "solve", str(path), "--json", "--pool", "40", "--time-limit", "30"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "bound" in line:
            break
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    document = json.loads(out)
    assert process.returncode == 0, err
    assert document["pool"]["stopped_by"] == "interrupt" and document["moves"]


def test_an_infeasible_instance_is_explained_unless_told_not_to(oar, tmp_path):
    path = tmp_path / "s.json"
    code, out, err = oar("solve", "loan-beyond-reach", "-o", path)
    assert code == 0 and "Why:" in out and "The best margin that query 'applicant' can reach is" in out
    assert "finding out why" in err
    (conflict,) = load_solution(path).conflicts
    assert conflict.irreducible and [r.subject for r in conflict.requirements] == ["applicant"]
    assert oar("verify", "loan-beyond-reach", path)[0] == 0
    code, out, err = oar("solve", "loan-beyond-reach", "--no-explain")
    assert code == 0 and "Why:" not in out and "finding out" not in err
    code, out, err = oar("solve", "loan-beyond-reach", "--json")
    assert json.loads(out)["conflicts"][0]["requirements"][0]["kind"] == "query" and "No move" in err


# -- export -----------------------------------------------------------------------------------------------------------


def reread(path):
    """The program that HiGHS reads from a file, solved."""
    reader = highspy.Highs()
    reader.setOptionValue("output_flag", False)
    assert reader.readModel(str(path)) != highspy.HighsStatus.kError
    for name in ("mip_rel_gap", "mip_abs_gap"):
        reader.setOptionValue(name, 1e-9)
    reader.setOptionValue("mip_feasibility_tolerance", 1e-8)
    reader.run()
    return reader


@pytest.mark.parametrize("form", ["lp", "mps"])
@pytest.mark.parametrize("goal", ["max_margin", "min_cost"])
@pytest.mark.parametrize("kind", ["ridge", "svm"])
def test_an_exported_program_has_the_same_optimum_elsewhere(oar, instance, tmp_path, kind, goal, form):
    path, target = instance(kind=kind, goal=goal, queries=2, required=0.01, seed=12), tmp_path / f"program.{form}"
    code, out, _ = oar("export", path, "--format", form, "-o", target)
    assert code == 0 and str(target) in out
    answer, reader = solve(load_instance(path), gap=1e-9), reread(target)
    if answer.objective is None:
        assert reader.getModelStatus() == highspy.HighsModelStatus.kInfeasible
    else:
        assert reader.getInfo().objective_function_value == pytest.approx(answer.objective, abs=1e-6)
    meanings = json.loads((tmp_path / f"program.{form}.map.json").read_text())
    names = [reader.getColName(j)[1] for j in range(reader.getNumCol())]
    assert names and all(name in meanings["names"] for name in names)
    choices = [meanings["names"][name] for name in names if name.startswith("choice")]
    assert choices and all("member" in choice["meaning"] for choice in choices)
    assert meanings["formulation"] == "kkt_big_m" and meanings["proved_bounds"]
    for bound in meanings["proved_bounds"].values():
        assert bound["lower"] <= bound["upper"] and bound["reason"]


def test_export_by_default_is_an_mps_file_of_the_instances_name(oar, instance, tmp_path, monkeypatch):
    path = instance()
    monkeypatch.chdir(tmp_path)
    code, _, _ = oar("export", path)
    assert code == 0 and (tmp_path / "small.mps").is_file() and (tmp_path / "small.mps.map.json").is_file()


@pytest.mark.parametrize("form", ["lp", "mps"])
def test_every_row_of_an_exported_file_is_in_its_map(oar, instance, tmp_path, form):
    target = tmp_path / f"program.{form}"
    assert oar("export", instance(kind="svm", withhold=True), "--format", form, "-o", target)[0] == 0
    reader = reread(target)
    names = json.loads((tmp_path / f"program.{form}.map.json").read_text())["names"]
    rows = [reader.getRowName(i)[1] for i in range(reader.getNumRow())]
    assert rows and not [row for row in rows if row not in names]


# -- a solver's own options and log -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "solver,option",
    [("highs", "mip_heuristic_effort=0.2"), ("highs", "presolve=off"), ("scip", "misc/usesymmetry=0")],
)
def test_options_go_to_the_solver_and_its_log_to_a_file(oar, instance, tmp_path, solver, option):
    log, target = tmp_path / "solver.log", tmp_path / "s.json"
    wanted = ("--solver", solver, "--solver-option", option, "--solver-log", log, "-o", target)
    code, _, err = oar("solve", instance(kind="svm"), *wanted)
    assert code == 0, err
    assert len(log.read_text().splitlines()) > 10
    name, _, value = option.partition("=")
    assert str(json.loads(target.read_text())["method"]["options"][name]) == value


@pytest.mark.parametrize(
    "wanted,words",
    [
        (("--solver-option", "nosuch=1"), "'nosuch=1' is refused by HiGHS"),
        (("--solver-option", "mip_rel_gap=small"), "'mip_rel_gap=small' is refused by HiGHS"),
        (("--solver-option", "nosuch"), "give NAME=VALUE"),
        (("--solver", "scip", "--solver-option", "nosuch=1"), "'nosuch=1' is refused by SCIP"),
        (("--solver", "scip", "--solver-option", "limits/gap=-2"), "'limits/gap=-2' is refused by SCIP"),
        (("--solver", "scip_direct", "--solver-option", "nosuch=1"), "nosuch is refused by scip_direct"),
        (("--formulation", "enumeration", "--solver-option", "threads=1"), "hands no program to a solver"),
        (("--solver-log", "/nosuch/folder/log"), "cannot write /nosuch/folder/log"),
    ],
)
def test_options_that_do_not_do_say_so(oar, instance, wanted, words):
    code, out, err = oar("solve", instance(kind="svm"), *wanted)
    assert (code, out) == (2, "")
    assert words in " ".join(err.split())


def test_a_gap_of_ones_own_is_no_proof(oar, instance, tmp_path):
    """An option that ends the search early leaves what it leaves."""
    target = tmp_path / "s.json"
    path = instance(kind="svm", n=12, members=3, options=3)
    assert oar("solve", path, "--solver-option", "mip_rel_gap=1e9", "-o", target)[0] == 0
    found = json.loads(target.read_text())
    assert (found["status"] == "optimal") == (found["relative_gap"] <= 1e-4)
