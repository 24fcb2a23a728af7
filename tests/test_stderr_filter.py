"""One line of a solver's library is kept from the user; everything else reaches standard error."""

import os

from oar_opt.solvers.stderr_filter import stderr_without


def test_only_lines_with_that_beginning_are_left_out(capfd):
    with stderr_without(b"Cannot set"):
        os.write(2, b"first\nCannot set tolerance\nsecond ")
        os.write(2, b"Cannot set, but not at the beginning\nCann")
        os.write(2, b"ot set again\nCannot say\nlast")
        os.write(2, b" of all\n")
    os.write(2, b"Cannot set afterwards\n")
    expected = "first\nsecond Cannot set, but not at the beginning\nCannot say\nlast of all\nCannot set afterwards\n"
    assert capfd.readouterr().err == expected


def test_an_exception_leaves_standard_error_as_it_was(capfd):
    try:
        with stderr_without(b"Cannot"):
            os.write(2, b"Cann")
            raise KeyError
    except KeyError:
        os.write(2, b"Cannot\n")
    assert capfd.readouterr().err == "CannCannot\n"
