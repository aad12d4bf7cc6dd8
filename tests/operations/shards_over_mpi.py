"""One process of synchronized batch norm: mpirun -n 3 python shards_over_mpi.py.  Rank 0 prints the largest error of any.

Each process draws the whole batch from one seed and forgets all but its own shard; what it learns of the others' comes by MPI.
"""

import numpy as np
from mpi4py import MPI

from refnorm import batch_norm
from refnorm.operations import moments, synchronize

EPS, SIZES = 1e-5, (5, 0, 2, 1, 6, 3)

world = MPI.COMM_WORLD
sizes = SIZES[: world.size - 1] + (sum(SIZES[world.size - 1 :]),)
start = sum(sizes[: world.rank])
mine = slice(start, start + sizes[world.rank])

rng = np.random.default_rng(0)
x, dy = rng.normal(2, 3, size=(2, sum(sizes), 4, 5))


def rows(a):
    return np.moveaxis(a, 1, 0).reshape(4, 1, -1)


z, g = rows(x[mine]), rows(dy[mine])

own = moments.of(z)
parts = [moments.Moments(*part) for part in world.allgather((own.count, own.mean, own.scatter))]
saved = synchronize.statistics(parts, eps=EPS)
zhat = synchronize.apply(z, saved)
local = synchronize.sums(g, zhat)
whole = synchronize.Sums(world.allreduce(local.g), world.allreduce(local.gz))
count = world.allreduce(z.shape[2])
dz = synchronize.finish(g, zhat, saved, whole, 1 / count)

y, cache, _ = batch_norm.forward(x, eps=EPS)
dx = batch_norm.backward(dy, cache)[0]
errors = [np.max(np.abs(a - rows(b[mine])), initial=0.0) for a, b in ((zhat, y), (dz, dx))]
worst = world.reduce(max(errors), MPI.MAX)
if world.rank == 0:
    print(world.size, sizes, worst)
