"""The benchmark on a cluster: a real scheduler and two worker processes, which are killed and interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from oar_opt.bench import cluster
from oar_opt.bench.runs import CRASHED, Task, digest_of, instance_of, read_runs
from oar_opt.cli import app
from oar_opt.errors import InputError, OarError
from oar_opt.instance_file import dump_instance

pytest.importorskip("distributed", reason="dask.distributed is not installed: pip install 'oar_opt[cluster]'")
import psutil

GIGABYTE = 1 << 30
PATIENCE = 120.0
"""Seconds that a busy machine may take for what is quick."""
EASY = "iris-n50-d2-k5-o3-svm-none-min-cost-s1"
HARDEST = "cancer-n500-d20-k15-o6-svm-penalized-max-margin-s1"
ENDLESS = Task(HARDEST, "textbook", 1000.0, 4 * GIGABYTE)


def until(condition):
    """What the condition gives as soon as that is true."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, "what was waited for did not come"
        time.sleep(0.01)
    return found


def is_running(process):
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def runs_of(worker):
    """The processes of runs on a worker."""
    return [process for process in psutil.Process(worker.pid).children() if "oar_opt.bench.child" in words_of(process)]


def words_of(process):
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


class Cluster:
    """Processes of their own, on ports that the system chooses."""

    def __init__(self, folder):
        self.folder, self.workers = folder, []
        told = folder / "scheduler.json"
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(told))
        until(lambda: told.exists() and told.read_text().strip().endswith("}"))
        self.address = json.loads(told.read_text())["address"]
        for number in range(2):
            place = ["--local-directory", str(folder), "--name", str(number)]
            self.workers.append(self._start("worker", self.address, "--nthreads", "1", "--no-nanny", *place))
        from distributed import Client

        with Client(self.address, timeout=PATIENCE, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=PATIENCE)

    def _start(self, kind, *arguments):
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", "--no-dashboard", *arguments]
        places = os.pathsep.join(place for place in sys.path if place)
        with (self.folder / "log").open("a") as log:
            return subprocess.Popen(command, stderr=log, stdout=log, env={**os.environ, "PYTHONPATH": places})

    def alive(self):
        return [worker for worker in self.workers if worker.poll() is None]

    def end(self):
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


@pytest.fixture
def two_workers(tmp_path):
    started = Cluster(tmp_path)
    yield started
    started.end()


@pytest.fixture
def unchanged_signals():
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def in_background(function):
    """Started at once; ``join`` gives what it gives."""
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()

    def join():
        thread.join(PATIENCE)
        assert found, "did not end, or failed"
        return found[0]

    return join


def folder_of_two(path: Path) -> Path:
    """Instances that only the caller knows."""
    path.mkdir()
    document = dump_instance(instance_of(EASY))
    for number in range(2):
        # Not as this package would write it: solutions refer to the file as it is.
        (path / f"mine-{number}.json").write_text(json.dumps({**document, "name": f"mine-{number}"}))
    return path


def test_a_run_lost_with_its_worker_is_done_again_and_an_early_end_or_a_lost_scheduler_leaves_no_process(
    two_workers, tmp_path, unchanged_signals, monkeypatch
):
    """One cluster for all three, since starting one takes most of the time."""
    a_worker_is_killed(two_workers, tmp_path)
    the_benchmark_is_interrupted(two_workers)
    monkeypatch.setattr(cluster, "SECONDS", 1)
    the_scheduler_is_killed(two_workers)


def a_worker_is_killed(two_workers, tmp_path):
    folder, results = folder_of_two(tmp_path / "own"), tmp_path / "results.jsonl"

    def kill_one():
        worker = until(lambda: next((one for one in two_workers.workers if runs_of(one)), None))
        (run,) = runs_of(worker)
        worker.kill()
        done = len(read_runs(results))
        worker.wait()
        until(lambda: not is_running(run))
        return done

    killed = in_background(kill_one)
    asked = ["bench", str(folder), "--methods", "textbook", "--time-limit", "60", "--memory", "4"]
    asked += ["-o", str(results), "--dask", two_workers.address]
    outcome = CliRunner().invoke(app, asked, catch_exceptions=False)
    assert outcome.exit_code == 0 and killed() < 2
    assert len(two_workers.alive()) == 1
    runs = read_runs(results)
    assert sorted(run.instance for run in runs) == ["mine-0", "mine-1"]
    for run in runs:
        problem = instance_of(str(folder / f"{run.instance}.json"))
        assert run.is_closed and run.verified and run.objective == pytest.approx(0.78)
        assert (run.digest, run.limit) == (digest_of(problem), 60.0)
    again = CliRunner().invoke(app, asked[:-2], catch_exceptions=False)
    assert "0 of 2 runs to do" in again.output and read_runs(results) == runs


def the_benchmark_is_interrupted(two_workers):
    (worker,) = two_workers.alive()
    seen = []

    def interrupted(_):
        seen.extend(until(lambda: runs_of(worker)))
        raise KeyboardInterrupt

    # The second takes long, and the third waits.
    tasks = [Task(HARDEST, "formulation:enumeration", 5.0, 4 * GIGABYTE), ENDLESS, ENDLESS]
    with pytest.raises(KeyboardInterrupt):
        list(cluster.run_on_cluster(tasks, two_workers.address, interrupted))
    until(lambda: not any(map(is_running, seen)) and not runs_of(worker))
    assert seen and worker.poll() is None


def the_scheduler_is_killed(two_workers):
    (worker,) = two_workers.alive()

    def kill_it():
        until(lambda: runs_of(worker))
        two_workers.scheduler.kill()
        return True

    killed = in_background(kill_it)
    with pytest.raises(OarError, match="is gone; what was done is kept"):
        list(cluster.run_on_cluster([ENDLESS], two_workers.address, lambda _: None))
    assert killed()


def test_a_task_that_travels_has_the_instance_and_the_digest_of_its_file(tmp_path):
    path = str(folder_of_two(tmp_path / "own") / "mine-0.json")
    sent, here = Task(path, "ours", 5.0, GIGABYTE).with_text(), instance_of(path)
    (tmp_path / "own" / "mine-0.json").unlink()
    assert sent.problem() == here and sent.problem().sha256 == here.sha256


def test_no_scheduler_at_the_address_is_an_input_error(monkeypatch):
    monkeypatch.setattr(cluster, "SECONDS", 0.2)
    with pytest.raises(InputError, match=r"no scheduler answers at 'tcp://127.0.0.1:1'.*start 'dask scheduler'"):
        list(cluster.run_on_cluster([ENDLESS], "tcp://127.0.0.1:1", lambda _: None))


def test_without_dask_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"not installed.*oar_opt\[cluster\]"):
        list(cluster.run_on_cluster([ENDLESS], "tcp://127.0.0.1:1", lambda _: None))


class Answers:
    """A client whose workers have these versions, and a future that ends with this error."""

    def __init__(self, found=None, error=None):
        self.found, self.error = found, error

    def run(self, *_, **__):
        return self.found

    def cancelled(self):
        return False

    def result(self):
        raise self.error


def test_workers_with_another_version_or_none_are_named():
    found = {"tcp://a:1": "0.0.0", "tcp://b:1": ImportError("no metadata"), "tcp://c:1": cluster.version("oar_opt")}
    with pytest.raises(
        InputError, match=r"a:1 has oar_opt 0\.0\.0; tcp://b:1 has no oar_opt .*install oar_opt"
    ) as told:
        cluster._check_workers(Answers(found))
    assert "c:1" not in str(told.value)


def test_a_run_that_is_lost_too_often_is_a_crash_and_a_worker_without_the_code_an_error():
    from distributed import KilledWorker

    lost = Answers(error=KilledWorker("run", SimpleNamespace(address="tcp://a:1"), 3))
    assert cluster._result(lost, Task(EASY, "ours", 5.0, GIGABYTE), "").status == CRASHED
    with pytest.raises(InputError, match="a worker has another oar_opt"):
        cluster._result(Answers(error=ModuleNotFoundError("oar_opt.bench")), ENDLESS, "")
