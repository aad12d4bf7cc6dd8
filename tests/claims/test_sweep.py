"""A sweep gives what a loop gives, to the bit, wherever it runs and whatever dies meanwhile."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from refnorm.claims import Sweep, serial
from refnorm.claims.executors import executor

from .workers import dies, dies_once, fails, spectrum, square

ROOT = Path(__file__).parents[2]


def test_serial_keeps_the_order_and_tells_of_progress():
    heard = []
    sweep = Sweep(executor("serial", 2), lambda done, total: heard.append((done, total)))
    assert sweep(square, range(4)) == [0, 1, 4, 9]
    assert sweep(square, []) == []
    assert heard == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4), (0, 0)]


def test_two_processes_give_the_bits_of_one():
    expected = serial()(spectrum, range(6))
    with Sweep(executor("local", 2)) as sweep:
        found = sweep(spectrum, range(6))
    assert all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True))


def test_a_worker_that_dies_loses_nothing(tmp_path):
    with Sweep(executor("local", 2)) as sweep:
        assert sweep(dies_once, [(n, str(tmp_path)) for n in range(12)]) == [n * n for n in range(12)]
        assert sweep(square, range(3)) == [0, 1, 4]
    assert (tmp_path / "died").exists()


def test_an_item_that_always_kills_its_worker_is_named():
    with Sweep(executor("local", 1)) as sweep, pytest.raises(RuntimeError, match=r"none of these items got done: \[17\]"):
        sweep(dies, [17])


@pytest.mark.parametrize("where", ["serial", "local"])
def test_an_error_in_the_function_is_the_sweeps(where):
    with Sweep(executor(where, 2)) as sweep, pytest.raises(ZeroDivisionError):
        sweep(fails, [1, 0, 2])


def test_no_such_executor():
    with pytest.raises(ValueError, match=r"'cloud'; there are local, serial, dask://HOST:PORT, mpi"):
        executor("cloud", 2)
    with pytest.raises(ValueError, match="--workers is 0"):
        executor("local", 0)


SCRIPT = """
import sys, numpy as np
from refnorm.claims import Sweep, serial
from refnorm.claims.executors import executor
from tests.claims.workers import dies_once, spectrum

def main(where, folder):
    expected = serial()(spectrum, range(6))
    with Sweep(executor(where, 2)) as sweep:
        found = sweep(spectrum, range(6))
        assert all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True))
        if folder:
            assert sweep(dies_once, [(n, folder) for n in range(12)]) == [n * n for n in range(12)]
    print("the same bits")
"""


def run(command):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT, env=environment)


def test_dask(tmp_path):
    """A scheduler and two workers, as on a cluster: processes of their own, reached by their address; one of them dies."""
    if importlib.util.find_spec("distributed") is None:
        pytest.skip("dask is not installed: pip install 'refnorm[cluster]'")
    cluster = """
from distributed import Client, LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        main(cluster.scheduler_address.replace("tcp://", "dask://"), sys.argv[1])
        Client.current().close()
"""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT + cluster)
    command = [sys.executable, str(script), str(tmp_path)]
    done = run(command)
    assert "the same bits" in done.stdout, done.stderr
    assert (tmp_path / "died").exists()


def on_mpi(*arguments):
    mpiexec = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if importlib.util.find_spec("mpi4py") is None or mpiexec is None:
        pytest.skip("mpi4py, or an MPI under it, is not installed: pip install 'refnorm[cluster]' mpich")
    return run([mpiexec, "-n", "3", sys.executable, "-m", "mpi4py.futures", *arguments])


def test_mpi(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT + '\nif __name__ == "__main__":\n    main("mpi", "")\n')
    done = on_mpi(str(script))
    assert "the same bits" in done.stdout, done.stdout + done.stderr


def test_the_command_on_mpi():
    done = on_mpi("-m", "refnorm", "reproduce", "newton-steps", "--executor", "mpi")
    assert done.returncode == 0 and "all asserted numbers hold" in done.stdout, done.stdout + done.stderr
