"""What the README shows of users' own data is what its commands print."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SECTION = README.partition("## From your own data")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", SECTION, re.DOTALL)


def block(part):
    (found,) = (text for _, text in BLOCKS if part in text)
    return found


def test_the_tables_files_are_those_shown():
    stated = (ROOT / "instances/tables/loan-actions.json").read_text(encoding="utf-8")
    assert json.loads(block('"collective"')) == json.loads(stated)
    lines = (ROOT / "instances/tables/loans.csv").read_text(encoding="utf-8").splitlines()
    assert block("name,income").splitlines()[:3] == lines[:3] and len(lines) == 41


def test_the_converted_table_is_solved_as_shown(oar, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    convert, solve = block("oar convert").replace("\\\n", "").splitlines()
    target = tmp_path / "loans.json"
    code, _, err = oar(*shlex.split(convert.replace("loans.json", str(target)))[1:])
    assert code == 0, err
    code, out, _ = oar(*shlex.split(solve.replace("loans.json", str(target)))[1:])
    assert code == 0
    shown = block("loans: optimal").rstrip().splitlines()
    assert [line.rstrip() for line in out.splitlines()][: len(shown)] == shown


def test_the_estimators_moves_are_as_shown(capsys, monkeypatch):
    pandas = pytest.importorskip("pandas")
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    import oar_opt

    monkeypatch.chdir(ROOT)
    names = {
        "pandas": pandas,
        "oar_opt": oar_opt,
        "ColumnTransformer": ColumnTransformer,
        "LogisticRegression": LogisticRegression,
        "make_pipeline": make_pipeline,
        "OneHotEncoder": OneHotEncoder,
        "StandardScaler": StandardScaler,
    }
    exec(block("problem_from_estimator"), names)
    shown = [line.rstrip() for line in block("self other").rstrip().splitlines()]
    assert [line.rstrip() for line in capsys.readouterr().out.rstrip().splitlines()] == shown
