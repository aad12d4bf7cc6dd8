"""Synchronized statistics: shards in one process, shards on processes of their own, mistakes that uneven shards show."""

import importlib.util
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import refnorm as rn
from refnorm.operations import standardize, synchronize
from refnorm.proofs import prove

SHARDS = [(8,), (3, 5), (1, 0, 6, 1), (2, 2, 2, 2)]


@pytest.mark.parametrize("shards", SHARDS)
def test_shards_change_nothing(shards):
    rng = np.random.default_rng(0)
    z, g = rng.normal(1, 2, size=(2, 3, 1, 8))
    zhat, saved = synchronize.forward(z, eps=1e-5, shards=shards)
    expected, alone = standardize.forward(z, eps=1e-5)
    np.testing.assert_allclose(zhat, expected, rtol=1e-13, atol=1e-14)
    dz = synchronize.backward(g, z, saved, eps=1e-5, shards=shards)
    np.testing.assert_allclose(dz, standardize.backward(g, z, alone, eps=1e-5), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_shards_on_processes_of_their_own(processes):
    """Moments and sums travel by MPI; uneven shards, an empty one among three."""
    if shutil.which("mpirun") is None:
        pytest.skip("mpirun is not installed: apt-get install openmpi-bin")
    if importlib.util.find_spec("mpi4py") is None:
        pytest.skip("mpi4py is not installed: pip install 'refnorm[cluster]'")
    script = Path(__file__).with_name("shards_over_mpi.py")
    command = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-n", str(processes), sys.executable, str(script)]
    environment = {**os.environ, "OMPI_MCA_btl": "self,vader,tcp", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    number, *_, worst = done.stdout.split()
    assert int(number) == processes and float(worst) < 1e-13


def mean_of_shard_means(z, *, eps, shards, weight=None):
    """Each shard weighed alike, whatever its size, and the variance between shards left out."""
    parts = [standardize.moments(part) for part in synchronize.cut(z, shards) if part.shape[2]]
    mean, var = (sum(p[i] for p in parts) / len(parts) for i in (0, 1))
    saved = standardize.from_population(mean, var, eps=eps)
    return standardize.apply(z, saved), saved


def sums_not_exchanged(g, z, saved, *, eps, shards, weight=None):
    """Each shard's backward with its own two sums: what DistributedDataParallel over plain batch norm computes."""
    parts = zip(synchronize.cut(g, shards), synchronize.cut(z, shards), strict=True)
    return np.concatenate([standardize.backward(g_k, z_k, saved, eps=eps) for g_k, z_k in parts], axis=2)


@pytest.mark.parametrize(
    ("planted", "red"),
    [({"forward": mean_of_shard_means}, "loops"), ({"backward": sums_not_exchanged}, "differences")],
    ids=["mean of shard means", "sums not exchanged"],
)
@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value")
def test_the_proofs_catch_it(planted, red):
    method = rn.NORMS["sync_batch_norm"]
    triple = replace(method.triple, operation=replace(method.operation, **planted))
    buggy = replace(method, triple=triple, compute=triple.compute, derive=triple.derive, examples=method.examples[:1])
    assert red in {f.proof for f in prove(buggy) if not f.ok}


def test_equal_shards_hide_a_mean_of_means_and_uneven_ones_show_it():
    z = np.random.default_rng(1).normal(size=(1, 1, 12))
    z -= np.repeat(z.reshape(1, 1, 2, 6).mean(3), 6, axis=2)  # two halves of equal mean
    right = standardize.forward(z, eps=0.0)[0]
    np.testing.assert_allclose(mean_of_shard_means(z, eps=0.0, shards=(6, 6))[0], right, rtol=1e-12)
    assert np.max(np.abs(mean_of_shard_means(z, eps=0.0, shards=(2, 10))[0] - right)) > 0.05
