"""What the list of solvers says they take: every one that is installed is given a tiny program of each kind."""

from __future__ import annotations

import json
import subprocess
from math import exp, sqrt

import cvxpy as cp
import highspy
import pyscipopt
import pytest

from oar_opt.solvers.listing import TAKES, ProgramKind, list_solvers

INSTALLED = [row.name for row in list_solvers() if row.version is not None]

OPTIMA = {
    ProgramKind.LP: 1.5,  # max x + y, x + y <= 1.5, in [0, 1]
    ProgramKind.MILP: 1.0,  # the same in whole numbers
    ProgramKind.QP: -0.125,  # min x^2 + y^2 - x - y + 3/8, its free minimum at 1/2, 1/2
    ProgramKind.MIQP: 0.375,  # the same in whole numbers
    ProgramKind.SOS1: 1.0,  # max x + y, at most one of them above 0, x + y <= 1.5
    ProgramKind.INDICATOR: 1.25,  # max x + z, z = 1 demands x <= 1/4
    ProgramKind.NONLINEAR: exp(-0.5),  # max y, y <= exp(-x^2 / 2), x >= 1: no convex set
    ProgramKind.SECOND_ORDER: sqrt(2.0),  # max x + y in the unit ball
    ProgramKind.EXPONENTIAL: exp(1.0),  # min y, y >= exp(x), x >= 1
}


# -- the same programs, for each interface; None: it has no words for that kind ---


def by_scip(kind):
    model = pyscipopt.Model()
    model.hideOutput()
    whole = kind in (ProgramKind.MILP, ProgramKind.MIQP)
    x, y = (model.addVar(vtype="I" if whole else "C", lb=0, ub=1) for _ in range(2))
    goal, sense = x + y, "maximize"
    match kind:
        case ProgramKind.LP | ProgramKind.MILP:
            model.addCons(x + y <= 1.5)
        case ProgramKind.QP | ProgramKind.MIQP:
            goal, sense = model.addVar(lb=None), "minimize"
            model.addCons(goal >= x * x + y * y - x - y + 0.375)
        case ProgramKind.SOS1:
            model.addCons(x + y <= 1.5)
            model.addConsSOS1([x, y])
        case ProgramKind.INDICATOR:
            z = model.addVar(vtype="B")
            model.addConsIndicator(x <= 0.25, z)
            goal = x + z
        case ProgramKind.NONLINEAR:
            model.addCons(x >= 1)
            model.addCons(y <= pyscipopt.exp(-0.5 * x * x))
            goal = y
        case ProgramKind.SECOND_ORDER:
            model.addCons(x * x + y * y <= 1)
        case ProgramKind.EXPONENTIAL:
            goal, sense = model.addVar(), "minimize"
            model.addCons(x >= 1)
            model.addCons(goal >= pyscipopt.exp(x))
    model.setObjective(goal, sense)
    model.optimize()
    return model.getObjVal() if model.getStatus() == "optimal" else None


def by_highs(kind):
    if kind in (ProgramKind.MILP, ProgramKind.LP, ProgramKind.QP, ProgramKind.MIQP):
        model = highspy.Highs()
        model.silent()
        whole = kind in (ProgramKind.MILP, ProgramKind.MIQP)
        x, y = (model.addVariable(lb=0, ub=1) for _ in range(2))
        if whole:
            model.changeColsIntegrality(2, [0, 1], [highspy.HighsVarType.kInteger] * 2)
        if kind in (ProgramKind.LP, ProgramKind.MILP):
            model.addConstr(x + y <= 1.5)
            model.maximize(x + y)
        else:
            hessian = highspy.HighsHessian()
            hessian.dim_, hessian.format_ = 2, highspy.HessianFormat.kTriangular
            hessian.start_, hessian.index_, hessian.value_ = [0, 1, 2], [0, 1], [2.0, 2.0]
            model.changeColsCost(2, [0, 1], [-1.0, -1.0])
            model.changeObjectiveOffset(0.375)
            assert model.passHessian(hessian) == highspy.HighsStatus.kOk
            model.run()
        if model.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            return None
        return model.getInfo().objective_function_value
    # The library knows no others; of files it refuses or drops the rows of the rest.
    return None


def by_cvxpy(kind, solver):
    whole = kind in (ProgramKind.MILP, ProgramKind.MIQP)
    x = cp.Variable(2, boolean=whole)
    box = [x >= 0, x <= 1]
    match kind:
        case ProgramKind.LP | ProgramKind.MILP:
            problem = cp.Problem(cp.Maximize(cp.sum(x)), [*box, cp.sum(x) <= 1.5])
        case ProgramKind.QP | ProgramKind.MIQP:
            problem = cp.Problem(cp.Minimize(cp.sum_squares(x) - cp.sum(x) + 0.375), box)
        case ProgramKind.SECOND_ORDER:
            problem = cp.Problem(cp.Maximize(cp.sum(x)), [cp.norm(x) <= 1])
        case ProgramKind.EXPONENTIAL:
            problem = cp.Problem(cp.Minimize(x[1]), [x[1] >= cp.exp(x[0]), x[0] >= 1])
        case _:
            return None
    try:
        problem.solve(solver=solver)
    except cp.error.SolverError:
        return None
    return problem.value if problem.status == "optimal" else None


LP_FILES = {
    ProgramKind.LP: "Minimize\n g: - x - y\nSubject To\n r: x + y <= 1.5\nBounds\n 0 <= x <= 1\n 0 <= y <= 1\nEnd\n",
    ProgramKind.MILP: "Minimize\n g: - x - y\nSubject To\n r: x + y <= 1.5\nBounds\n x <= 1\n y <= 1\n"
    "General\n x y\nEnd\n",
    ProgramKind.QP: "Minimize\n g: - x - y + [ 2 x ^ 2 + 2 y ^ 2 ] / 2 + 0.375 one\nSubject To\n r: one = 1\n"
    "Bounds\n x <= 1\n y <= 1\nEnd\n",
    ProgramKind.SOS1: "Minimize\n g: - x - y\nSubject To\n r: x + y <= 1.5\nBounds\n x <= 1\n y <= 1\n"
    "SOS\n s1: S1:: x:1 y:2\nEnd\n",
    ProgramKind.INDICATOR: "Minimize\n g: - x - z\nSubject To\n r: z = 1 -> x <= 0.25\n s: x + z <= 3\n"
    "Bounds\n x <= 1\nBinary\n z\nEnd\n",
}


def by_lp_file(kind, solver, folder):
    """Minus the least value, as the files minimise; None where the program is not read, or read as something else."""
    if kind not in LP_FILES:
        return None
    source, answer = folder / "program.lp", folder / "answer.txt"
    source.write_text(LP_FILES[kind])
    command = {
        "cbc": ["cbc", str(source), "solve", "solu", str(answer)],
        "glpk": ["glpsol", "--lp", str(source), "-w", str(answer)],
    }[solver]
    subprocess.run(command, capture_output=True, text=True, timeout=20)
    if not answer.exists():
        return None
    words = answer.read_text().replace("\n", " ").split()
    if solver == "cbc":
        found = float(words[words.index("value") + 1]) if words[0] == "Optimal" else None
    else:
        stated = next(line.split() for line in answer.read_text().splitlines() if line.startswith("s "))
        found = float(stated[-1])
    return None if found is None else -found


def told(solver, kind, folder):
    if solver == "scip":
        return by_scip(kind)
    if solver == "highs":
        return by_highs(kind)
    if solver in ("cbc", "glpk"):
        return by_lp_file(kind, solver, folder)
    return by_cvxpy(kind, solver.upper())


TRIED = ("scip", "highs", "clarabel", "scs", "osqp", "cbc", "glpk")


@pytest.mark.parametrize("solver", TRIED)
def test_a_solver_takes_what_the_list_says_and_nothing_else(solver, tmp_path):
    if solver not in INSTALLED:
        pytest.skip(f"{solver} is not installed")
    taken = set()
    for kind, optimum in OPTIMA.items():
        value = told(solver, kind, tmp_path)
        if value is not None and value == pytest.approx(optimum, abs=2e-3):
            taken.add(kind)
    assert taken == TAKES[solver]


def test_solvers_are_listed_with_their_versions(oar):
    rows = {row.name: row for row in list_solvers()}
    assert list(rows) == list(TAKES) and rows["highs"].version and rows["scip"].version
    code, out, _ = oar("solvers", "--json")
    found = {row["name"]: row for row in json.loads(out)}
    assert code == 0 and found["highs"]["takes"] == ["LP", "MILP", "QP"] and found["highs"]["installed"]
    assert "special ordered sets" in found["scip"]["used_for"]
    code, out, _ = oar("solvers")
    assert code == 0 and "clarabel" in out and "indicator" in out
