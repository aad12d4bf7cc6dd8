"""External covariate shift: the statistics of one channel differ between devices that train on data of their own.

Z. Du et al., Rethinking Normalization Methods in Federated Learning, arXiv 2210.03277.  Raw gaps grow with the scale of the
activations, which norms set; gaps are therefore measured in standard deviations.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from refnorm.nets import Signals, Trained

from .conditioning import as_rows


def external_covariate_shift(clients: Sequence[Trained], data: Sequence[np.ndarray]) -> dict[str, float]:
    """For each layer: the deviation between the clients of a channel's mean, over its deviation within a client, mean over the
    channels.  Each client's own model sees its own data, in evaluation where it has a population."""
    outputs: list[dict[str, np.ndarray]] = []
    for client, x in zip(clients, data, strict=True):
        record: dict[str, Signals] = {}
        client.network.apply(client.parameters, x, client.state, training=False, record=record)
        outputs.append({name: as_rows(s.output) for name, s in record.items()})
    return {name: gap([o[name] for o in outputs]) for name in outputs[0]}


def gap(rows: Sequence[np.ndarray]) -> float:
    """Of samples (N_k, C) of several clients: spread of means over mean of spreads, by channel, averaged."""
    means = np.array([r.mean(axis=0) for r in rows])
    within = np.sqrt(np.mean([r.var(axis=0) for r in rows], axis=0))
    alive = within > 0
    return float(np.mean(means.std(axis=0)[alive] / within[alive]))
