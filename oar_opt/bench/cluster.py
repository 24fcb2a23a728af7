"""Runs of a benchmark on a cluster: an existing scheduler of ``dask.distributed``, by its address.

Every run is a process of its own, on whichever worker it is sent to, as many at a time as workers have threads, with
the limits that it has here. A run that is lost with its worker is done again by another one, and its process ends with
that worker; one that is lost more often than the scheduler allows (its ``allowed-failures``, 3 unless set otherwise) is
recorded as crashed. Results come from the scheduler once for each run, also where it was done twice.

Workers need this package in the version that is here; instances travel with their tasks. Where the benchmark ends
early, runs that wait are cancelled and those that go on are killed. Where it cannot do so, since it was killed itself
or cut off, they go on until their limit.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from typing import Any

from oar_opt.bench.runs import CRASHED, Children, Run, Task, broken_off, run_in_process
from oar_opt.errors import InputError, OarError

PACKAGE = "oar_opt"
SECONDS = 10
"""For the scheduler to answer."""
ATTEMPTS = 3
"""How often a run that a worker cannot do, for example since it has another version, is given to another one."""


def run_on_cluster(tasks: Sequence[Task], address: str, keep: Callable[[Run], None]) -> Iterator[Run]:
    """Runs as they finish; every one is handed to ``keep`` first.

    Raises
    ------
    InputError : ``dask.distributed`` is not installed, no scheduler answers at the address, or workers lack this
        package or have another version.
    OarError : the scheduler goes away before all is done.
    """
    with _client(address) as client:
        from distributed import as_completed

        _check_workers(client)
        bench, made_by = uuid.uuid4().hex, version(PACKAGE)
        futures = {
            client.submit(_run_there, task.with_text(), bench, made_by, pure=False, retries=ATTEMPTS): task
            for task in tasks
        }
        try:
            for future in as_completed(list(futures)):
                run = _result(future, futures[future], address)
                keep(run)
                yield run
        finally:
            _end(client, [future for future in futures if not future.done()], bench)


# -- here ---


def _client(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError as missing:
        raise InputError("--dask", "dask.distributed is not installed", "pip install 'oar_opt[cluster]'") from missing
    try:
        return Client(address, timeout=SECONDS)
    except (OSError, ValueError) as failure:
        raise InputError("--dask", f"no scheduler answers at '{address}' ({failure})", "start 'dask scheduler'") from (
            failure
        )


def _check_workers(client: Any) -> None:
    """An error for workers that there are without this package, or with another version of it."""
    found = client.run(version, PACKAGE, on_error="return")
    if not found:
        print("the cluster has no worker yet: waiting for one", file=sys.stderr)
    wrong = [f"{worker} {_has(there)}" for worker, there in sorted(found.items()) if there != version(PACKAGE)]
    if wrong:
        raise InputError("--dask", f"workers are unlike us: {'; '.join(wrong)}", _fix(version(PACKAGE)))


def _has(there: object) -> str:
    return f"has {PACKAGE} {there}" if isinstance(there, str) else f"has no {PACKAGE} ({there})"


def _fix(wanted: str) -> str:
    return f"install {PACKAGE} {wanted} there"


def _result(future: Any, task: Task, address: str) -> Run:
    from distributed import KilledWorker

    if future.cancelled():
        raise OarError(f"the scheduler at '{address}' is gone; what was done is kept, and the same command goes on")
    try:
        run: Run = future.result()
    except KilledWorker as lost:
        return broken_off(task, "", CRASHED, f"lost with its workers: {lost}")
    except (ImportError, AttributeError) as failure:
        # What the function and its task are made of is not there.
        raise InputError("--dask", f"a worker has another {PACKAGE} ({failure})", _fix(version(PACKAGE))) from failure
    return run


def _end(client: Any, left: Sequence[Any], bench: str) -> None:
    """Runs that wait are cancelled and those that go on are killed, as long as there is a scheduler to tell."""
    if left and client.status == "running":
        client.cancel(left)
        client.run(_end_there, bench, on_error="return")


# -- there ---

_BENCHES: dict[str, Children] = {}
"""The processes on this worker by the benchmark that they are of; those that have ended stay ended."""


def _run_there(task: Task, bench: str, made_by: str) -> Run:
    if version(PACKAGE) != made_by:
        from distributed import get_worker

        raise InputError("--dask", f"{get_worker().address} has {PACKAGE} {version(PACKAGE)}", _fix(made_by))
    return run_in_process(task, children=_BENCHES.setdefault(bench, Children()))


def _end_there(bench: str) -> None:
    _BENCHES.setdefault(bench, Children()).kill()
