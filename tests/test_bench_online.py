"""The benchmark of one gradient step with a crowd."""

import pytest

from oar_opt.bench.online import HEAD, KINDS, line, main, measured


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_is_certified_and_the_search_is_not_above_the_bound(kind):
    found = measured(100, kind, None, 0.2)
    assert found["status"] == "optimal" and found["acting"] <= 5
    assert found["search gap"] >= -1e-9
    assert found["bound"] - found["objective"] <= 1e-4
    assert len(line(found).split()) == len(HEAD)


def test_sizes_must_be_numbers(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--members", "many"])
    assert ended.value.code == 2 and "--members" in capsys.readouterr().err
