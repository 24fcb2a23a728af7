"""Runs of a benchmark on a cluster: an existing scheduler of ``dask.distributed``, by its address.

Every run is a process of its own, on whichever worker it is sent to, with the limits that it has here. A run that is
lost with its worker is done again by another one; one that loses :data:`LOSSES` workers is recorded as crashed. The
workers need this package; instances travel with their tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from oar_opt.bench.runs import CRASHED, Run, Task, broken_off, run_in_process
from oar_opt.errors import InputError

LOSSES = 3
SECONDS = 30
"""For the scheduler to answer."""


def run_on_cluster(tasks: Sequence[Task], address: str, keep: Callable[[Run], None]) -> Iterator[Run]:
    """Runs as they finish; every one is handed to ``keep`` first.

    Raises :class:`InputError` where ``dask.distributed`` is not installed, or no scheduler answers at the address.
    """
    client = _client(address)
    with client:
        from distributed import as_completed

        futures = {client.submit(run_in_process, task, pure=False, retries=LOSSES): task for task in tasks}
        for future in as_completed(list(futures)):
            run = _result(future, futures[future])
            keep(run)
            yield run


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


def _result(future: Any, task: Task) -> Run:
    from distributed import KilledWorker

    try:
        run: Run = future.result()
    except KilledWorker as lost:
        return broken_off(task, "", CRASHED, f"lost with its workers: {lost}")
    return run
