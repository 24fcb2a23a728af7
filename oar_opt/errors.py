"""The errors a caller meets, and the exit code each one means on the command line."""

from __future__ import annotations

from typing import ClassVar


class OarError(Exception):
    """Base of every error that this package raises on purpose."""

    exit_code: ClassVar[int] = 1


class InputError(OarError):
    """Something the caller wrote is wrong.

    Parameters
    ----------
    where : path of the offending value, for example ``collective.members[2]``, a file or an option.
    what : what is wrong with it.
    fix : how to mend it; may be empty where the message already says it.
    """

    exit_code = 2

    def __init__(self, where: str, what: str, fix: str = "") -> None:
        self.where = where
        self.what = what
        self.fix = fix
        super().__init__(f"{where}: {what}" + (f" ({fix})" if fix else ""))

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str, str]]:
        """Errors of other processes come back whole."""
        return type(self), (self.where, self.what, self.fix)


class UnsupportedError(OarError):
    """A valid instance or request that nothing here can handle; the message lists the reasons."""

    exit_code = 2


class SolverError(OarError):
    """A solver broke down, or returned something it must not return."""

    exit_code = 1


class VerificationError(OarError):
    """An answer did not survive its independent check; it must not be used."""

    exit_code = 4
