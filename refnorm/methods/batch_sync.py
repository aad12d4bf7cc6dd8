"""Batch normalization of other batches: virtual ones (ghost), and one that lies on several processes (synchronized)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from refnorm.anatomy.area import Area, Layout
from refnorm.anatomy.arguments import positive_integer
from refnorm.anatomy.facts import invariances
from refnorm.anatomy.method import FROM_DIALECT, Citation, Dialect, spoken
from refnorm.anatomy.norm import norm
from refnorm.anatomy.operation import STANDARDIZE, Constraints, Operation
from refnorm.anatomy.population import fresh
from refnorm.anatomy.recovery import Affine
from refnorm.operations import synchronize

from .batch import BATCH, BATCH_DIALECTS, OLD_BIASED, RAGGED

SYNCHRONIZED = Operation(
    "synchronized",
    STANDARDIZE.formula,
    synchronize.forward,
    synchronize.backward,
    synchronize.apply,
    synchronize.apply_backward,
    constraints=Constraints(
        synchronize.residuals, lambda d, m: 2 * d, lambda d, m: m >= 2, "mean 0, variance s2 / (s2 + eps)", "M >= 2"
    ),
    identities=synchronize.identities,
    from_population=synchronize.from_population,
)


@norm(
    Area("g n c s -> g c | | n s"),
    STANDARDIZE,
    Affine("c"),
    state=fresh,
    cite=Citation(
        "E. Hoffer, I. Hubara, D. Soudry",
        "Train Longer, Generalize Better: Closing the Generalization Gap in Large Batch Training of Neural Networks",
        "NIPS",
        2017,
        "1705.08741",
    ),
    facts=invariances("yes yes no no yes yes yes no"),
    dialects={
        "torch": Dialect({"eps": 1e-5, "momentum": 0.1}, lone_value="error", spoken_by="the paper, on PyTorch's batch norm"),
        "tabnet": Dialect(
            {"eps": 1e-5, "momentum": 0.01},
            lone_value="error",
            conventions={"cut": "chunks"},
            spoken_by="pytorch-tabnet: torch.chunk, which evens the virtual batches out",
        ),
        "tensorflow": Dialect(
            {"eps": 1e-3, "momentum": 0.99},
            OLD_BIASED,
            conventions={"virtual": "averaged"},
            spoken_by="tf.keras 2: one update with the mean over the virtual batches; its virtual_batch_size must divide N",
        ),
    },
    examples=(
        {"shape": (7, 3, 2), "virtual_batch_size": 4},
        {"shape": (8, 4), "virtual_batch_size": 4},
        {"shape": (5, 2, 2, 3), "virtual_batch_size": 2, "channel_axis": -1},
        {"shape": (5, 2, 3), "virtual_batch_size": 3, "mask": RAGGED},
    ),
)
def ghost_batch_norm(
    x: Any,
    gamma: Any = None,
    beta: Any = None,
    *,
    virtual_batch_size: int,
    state: Any = None,
    training: bool = True,
    momentum: float | None = FROM_DIALECT,
    eps: float = FROM_DIALECT,
    mask: Any = None,
    channel_axis: int = 1,
    dialect: str = "torch",
    backend: str = "numpy",
) -> Layout:
    """Ghost batch normalization: batch norm of each virtual batch of `virtual_batch_size` consecutive samples on its own.

    Where the size does not divide N, the last virtual batch is short and has statistics of its own, over fewer entries:
    nothing is dropped and nothing is borrowed.  The tabnet dialect evens the sizes out instead, as torch.chunk does: 9 samples
    at size 4 are 3 + 3 + 3 there and 4 + 4 + 1 otherwise, of which the last is an error where x has no spatial axes.

    In evaluation (training=False) there are no virtual batches: the state's statistics are used for all.

    Parameters
    ----------
    x : (N, C, *spatial), or (N, *spatial, C) with channel_axis=-1; float64, float32, float16 or bfloat16
    gamma, beta : (C,) or None
    virtual_batch_size : samples a virtual batch
    state : running statistics from `ghost_batch_norm.state(mean=, var=)`, updated by each virtual batch in turn (the paper's
        algorithm 1), or once by their mean under the tensorflow dialect
    momentum : in 0..1; weighs the new batch (torch, tabnet) or the old value (tensorflow); None: the mean of all so far
    eps : added to the variance
    mask : boolean, broadcasts to x; False entries are left out of the statistics

    Returns
    -------
    (y, state) in training, y in evaluation.  `.forward` returns (y, cache, state), `.backward(dy, cache)` (dx, dgamma, dbeta).

    Raises
    ------
    ValueError, TypeError naming the argument; under the torch and tabnet dialects also for one value a statistic in training.

    E. Hoffer et al., arXiv 1705.08741, algorithm 1; the gradient is derived in operations/standardize.py.
    """
    if spoken(dialect).conventions.get("cut") == "chunks" and np.shape(x)[0] > 0:
        n, virtual_batch_size = np.shape(x)[0], positive_integer("virtual_batch_size", virtual_batch_size)
        virtual_batch_size = -(-n // -(-n // virtual_batch_size))
    return Layout.virtual(x, virtual_batch_size, channel_axis)


def _shards(arguments: Mapping[str, Any], layout: Layout) -> dict[str, Any]:
    """The lengths of the shards along (n s)."""
    samples, positions = layout.lengths("n")[0], math.prod(layout.lengths("s"))
    sizes, number = arguments["shard_sizes"], arguments["num_shards"]
    if sizes is None:
        number = positive_integer("num_shards", number)
        sizes = [samples // number + (k < samples % number) for k in range(number)]
    elif sum(sizes) != samples or any(size < 0 for size in sizes):
        raise ValueError(f"shard_sizes is {tuple(sizes)}; its sizes must add up to the {samples} samples of x")
    return {"shards": tuple(int(size) * positions for size in sizes)}


@norm(
    BATCH,
    SYNCHRONIZED,
    Affine("c"),
    state=fresh,
    computed=_shards,
    cite=Citation("C. Peng et al.", "MegDet: A Large Mini-Batch Object Detector", "CVPR", 2018, "1711.07240"),
    facts=invariances("yes yes no no yes yes yes no"),
    dialects=BATCH_DIALECTS,
    examples=(
        {"shape": (7, 3, 2), "num_shards": 3},
        {"shape": (8, 4), "shard_sizes": (5, 0, 2, 1)},
        {"shape": (5, 2, 2, 3), "num_shards": 2, "channel_axis": -1},
        {"shape": (5, 2, 3), "shard_sizes": (1, 4), "mask": RAGGED},
    ),
)
def sync_batch_norm(
    x: Any,
    gamma: Any = None,
    beta: Any = None,
    *,
    num_shards: int = 2,
    shard_sizes: tuple[int, ...] | None = None,
    state: Any = None,
    training: bool = True,
    momentum: float | None = FROM_DIALECT,
    eps: float = FROM_DIALECT,
    mask: Any = None,
    channel_axis: int = 1,
    dialect: str = "torch",
    backend: str = "numpy",
) -> Layout:
    """Synchronized batch normalization: batch norm of samples that lie on several processes, in consecutive shards.

    It is batch_norm of the whole batch, computed as the processes do: each shard sends its count, mean and scatter forward, and
    its sums of g and g xhat, backward.  They merge exactly, so shards may be uneven and even empty; a mean of the shards' means
    is a common mistake.  What one process does is operations/synchronize.py; a test runs it under MPI.

    Parameters
    ----------
    x : (N, C, *spatial), or (N, *spatial, C) with channel_axis=-1; float64, float32, float16 or bfloat16: all shards, in order
    gamma, beta : (C,) or None
    num_shards : cuts the N samples as evenly as they go, larger shards first
    shard_sizes : samples a shard, in the place of num_shards
    state, training, momentum, eps, mask, dialect : as batch_norm

    Returns
    -------
    (y, state) in training, y in evaluation.  `.forward` returns (y, cache, state), `.backward(dy, cache)` (dx, dgamma, dbeta).

    Raises
    ------
    ValueError, TypeError naming the argument; under the torch dialect also for one value per channel in training.

    C. Peng et al., arXiv 1711.07240, section 4.2; the gradient is derived in operations/synchronize.py.
    """
    return Layout.activations(x, channel_axis)
