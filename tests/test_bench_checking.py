"""The benchmark of checking against solving."""

from __future__ import annotations

import pytest

from oar_opt.bench.checking import Measured, main, stored, summary
from oar_opt.errors import InputError

NAME = "wine-n80-d5-k8-centroid-menus-s2"


def test_a_table_with_a_row_for_each_and_a_summary(capsys):
    main([NAME])
    head, row, last = capsys.readouterr().out.splitlines()
    assert head.split()[0] == "instance" and row.split()[:3] == [NAME, "tree", "1"]
    assert last.startswith("1 certificates, ")


def test_the_summary_by_hand():
    runs = [Measured("a", "tree", 1, 100, 1.0, 4.0), Measured("b", "tree", 1, 300, 2.0, 1.0)]
    assert summary(runs) == (
        "2 certificates, 200 bytes in the median and 300 at most; checking 1.5 s in the median and 2 s at most, "
        "solving 2.5 s; checking is faster for 1, 2.25 times in the median"
    )


def test_an_instance_without_a_certificate_is_an_input_error():
    with pytest.raises(InputError, match="no certificate in the library"):
        stored("breastcancer-n200-d5-k10-svm-menus-s1")


def test_a_name_that_is_unknown_is_told_without_a_traceback(capsys):
    with pytest.raises(SystemExit):
        main([NAME, "no-such-instance"])
    assert "'no-such-instance' has no certificate in the library" in capsys.readouterr().err
