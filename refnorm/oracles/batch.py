"""Loops for norms that couple the samples of a batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from .activations import gathered, recovered, root, standardized


def kept(x, mask):
    return None if mask is None else np.broadcast_to(mask, x.shape)


def spread(statistic, c):
    """A statistic of shape () or (C,) as a list of C numbers."""
    return [statistic[()]] * c if np.ndim(statistic) == 0 else list(statistic)


def moved(old, new, momentum, count, dialect):
    """One running statistic after one batch."""
    if momentum is None:
        weight = (old * 0 + 1) / (count + 1)
    else:
        weight = momentum if dialect.population.weighs == "new" else 1 - momentum
    return (1 - weight) * old + weight * new


def bessel(var, m, dialect):
    return var * m / max(m - 1, 1) if dialect.population.variance == "unbiased" else var


def virtual_batches(n, size, dialect):
    """For each sample the number of its virtual batch."""
    if dialect.conventions.get("cut") == "chunks":
        number = (n + size - 1) // size
        size = (n + number - 1) // number
    return [i // size for i in range(n)]


def ghost_batch_norm(x, gamma, beta, *, virtual_batch_size, state, training, momentum, eps, mask, channel_axis, dialect):
    channel = channel_axis % x.ndim
    c = x.shape[channel]
    mean = [0] * c if state is None else spread(state.mean, c)
    var = [1] * c if state is None else spread(state.var, c)
    count = 0 if state is None else state.count
    xhat = np.empty(x.shape, object)
    if training:
        batch = virtual_batches(x.shape[0], virtual_batch_size, dialect)
        xhat, statistics = standardized(x, lambda i: (batch[i[0]], i[channel]), eps, kept(x, mask))
        number = max(batch) + 1
        for k in range(c):
            of = [statistics[b, k] for b in range(number)]
            if dialect.conventions.get("virtual") == "averaged":
                of = [(sum(s[0] for s in of) / number, sum(s[1] for s in of) / number, of[0][2])]
            for b, (mu, s2, m) in enumerate(of):
                mean[k] = moved(mean[k], mu, momentum, count + b, dialect)
                var[k] = moved(var[k], bessel(s2, m, dialect), momentum, count + b, dialect)
    else:
        for i in np.ndindex(x.shape):
            xhat[i] = (x[i] - mean[i[channel]]) / root(var[i[channel]] + eps)
    return recovered(xhat, gamma, beta, lambda i: i[channel]), np.array(mean, object), np.array(var, object)


def sync_batch_norm(x, gamma, beta, *, num_shards, shard_sizes, state, training, momentum, eps, mask, channel_axis, dialect):
    """The shards change nothing: it is batch norm of all samples."""
    return ghost_batch_norm(
        x,
        gamma,
        beta,
        virtual_batch_size=x.shape[0],
        state=state,
        training=training,
        momentum=momentum,
        eps=eps,
        mask=mask,
        channel_axis=channel_axis,
        dialect=dialect,
    )


def variance_norm(x, gamma, beta, *, state, training, momentum, eps, mask, channel_axis, dialect):
    channel = channel_axis % x.ndim
    c = x.shape[channel]
    running = [1] * c if state is None else spread(state.var, c)
    used = list(running)
    if training:
        members = gathered(x, lambda i: i[channel], kept(x, mask))
        for k, of in members.items():
            m = len(of)
            mean = sum(of) / m
            used[k] = sum((v - mean) ** 2 for v in of) / m
            running[k] = moved(running[k], bessel(used[k], m, dialect), momentum, 0 if state is None else state.count, dialect)
    xhat = np.empty(x.shape, object)
    for i in np.ndindex(x.shape):
        xhat[i] = x[i] / root(used[i[channel]] + eps)
    return recovered(xhat, gamma, beta, lambda i: i[channel]), np.array(running, object)


def l1_batch_norm(x, gamma, beta, *, state, training, momentum, eps, factor, mask, channel_axis, dialect):
    channel = channel_axis % x.ndim
    c = x.shape[channel]
    mean = [0] * c if state is None else spread(state.mean, c)
    deviation = [1] * c if state is None else spread(state.deviation, c)
    used = list(zip(mean, deviation, strict=True))
    if training:
        count = 0 if state is None else state.count
        for k, of in gathered(x, lambda i: i[channel], kept(x, mask)).items():
            mu = sum(of) / len(of)
            a = sum(abs(v - mu) for v in of) / len(of)
            used[k] = mu, a
            mean[k], deviation[k] = (
                moved(old, new, momentum, count, dialect) for old, new in ((mean[k], mu), (deviation[k], a))
            )
    xhat = np.empty(x.shape, object)
    for i in np.ndindex(x.shape):
        mu, a = used[i[channel]]
        xhat[i] = (x[i] - mu) / (factor * a + eps)
    return recovered(xhat, gamma, beta, lambda i: i[channel]), np.array(mean, object), np.array(deviation, object)


def batch_renorm(
    x, gamma, beta, *, state, training, momentum, renorm_momentum, r_min, r_max, d_max, eps, mask, channel_axis, dialect
):
    channel = channel_axis % x.ndim
    c = x.shape[channel]
    start = [0, 1, 0, 1] if state is None else state[:4]
    running = [[s] * c if state is None else spread(s, c) for s in start]
    floor = root(eps) if dialect.conventions.get("floor") else 0
    least = 1 / r_max if r_min is None else r_min
    factors = {}
    if training:
        for k, of in gathered(x, lambda i: i[channel], kept(x, mask)).items():
            mu = sum(of) / len(of)
            sigma = root(sum((v - mu) ** 2 for v in of) / len(of) + eps)
            behind = max(running[3][k], floor)
            r = min(max(sigma / behind, least), r_max)
            d = min(max((mu - running[2][k]) / behind, -d_max), d_max)
            factors[k] = mu, sigma, r, d
            for j, (new, weight) in enumerate(
                ((mu, momentum), (sigma, momentum), (mu, renorm_momentum), (sigma, renorm_momentum))
            ):
                running[j][k] = moved(running[j][k], new, weight, 0 if state is None else state.count, dialect)
    else:
        factors = {k: (running[0][k], max(running[1][k], floor), 1, 0) for k in range(c)}
    xhat = np.empty(x.shape, object)
    for i in np.ndindex(x.shape):
        mu, sigma, r, d = factors[i[channel]]
        xhat[i] = (x[i] - mu) / sigma * r + d
    return recovered(xhat, gamma, beta, lambda i: i[channel]), *(np.array(s, object) for s in running)


def _powered(x, *, state, training, momentum, warmup, num_groups, eps, mask, channel_axis, dialect):
    """u, 1 / rms of each group at each position, the batch's mean squares, those used, and the new running ones."""
    channel = channel_axis % x.ndim
    c = x.shape[channel]
    group = [k // (c // num_groups) for k in range(c)]

    def place(i):
        return group[i[channel]], *i[:channel], *i[channel + 1 :]

    rates = {key: 1 / root(sum(v * v for v in of) / len(of) + eps) for key, of in gathered(x, place).items()}
    u = np.empty(x.shape, object)
    for i in np.ndindex(x.shape):
        u[i] = x[i] * rates[place(i)]
    current = {k: sum(v * v for v in of) / len(of) for k, of in gathered(u, lambda i: i[channel], kept(x, mask)).items()}
    running = [1] * c if state is None else spread(state.square, c)
    seen = 0 if state is None else state.count
    used = current if training and seen < warmup else dict(enumerate(running))
    new = list(running)
    for k in range(c if training else 0):
        if dialect.conventions["cumulative"] and seen + 1 < warmup:
            new[k] = (new[k] * seen + current[k]) / (seen + 1)
        new[k] = momentum * new[k] + (1 - momentum) * current[k]
    return u, rates, place, current, used, new


def power_norm(x, gamma, beta, *, state, eps, channel_axis, backward_momentum, **options):
    channel = channel_axis % x.ndim
    u, _, _, _, used, new = _powered(x, state=state, eps=eps, channel_axis=channel_axis, **options)
    for i in np.ndindex(x.shape):
        u[i] = u[i] / root(used[i[channel]] + eps)
    nu = [0] * x.shape[channel] if state is None else spread(state.nu, x.shape[channel])
    y = recovered(u, gamma, beta, lambda i: i[channel])
    return y, np.array(new, object), np.array(nu, object)


def power_norm_rule(dy, x, gamma, beta, *, state, eps, channel_axis, backward_momentum, **options):
    """dx, dgamma, dbeta, and the state's arrays, by the published rule; the group scaling is differentiated as it is."""
    channel = channel_axis % x.ndim
    c = x.shape[channel]
    u, rates, place, current, used, new = _powered(x, state=state, eps=eps, channel_axis=channel_axis, **options)
    nu = [0] * c if state is None else spread(state.nu, c)
    divisor = current if options["dialect"].conventions["current"] else used
    dgamma, dbeta, added, number = [0] * c, [0] * c, [0] * c, x.size // c
    du = np.empty(x.shape, object)
    for i in np.ndindex(x.shape):
        k = i[channel]
        xhat = u[i] / root(used[k] + eps)
        g = dy[i] * (1 if gamma is None else gamma[k])
        h = g - (1 - backward_momentum) * nu[k] * xhat
        added[k] += h * xhat / number
        dgamma[k] += dy[i] * xhat
        dbeta[k] += dy[i]
        du[i] = h / root(divisor[k] + eps)
    along: dict[Any, Any] = {}
    size: dict[Any, int] = {}
    for i in np.ndindex(x.shape):
        along[place(i)] = along.get(place(i), 0) + du[i] * x[i]
        size[place(i)] = size.get(place(i), 0) + 1
    dx = np.empty(x.shape, object)
    for i in np.ndindex(x.shape):
        r, m = rates[place(i)], size[place(i)]
        dx[i] = r * du[i] - r**3 * x[i] * along[place(i)] / m
    nu = [a + b for a, b in zip(nu, added, strict=True)]
    return dx, *(np.array(a, object) for a in (dgamma, dbeta, new, nu))


LOOPS: dict[str, Any] = {
    "ghost_batch_norm": ghost_batch_norm,
    "sync_batch_norm": sync_batch_norm,
    "variance_norm": variance_norm,
    "l1_batch_norm": l1_batch_norm,
    "batch_renorm": batch_renorm,
    "power_norm": power_norm,
}
RULES: dict[str, Any] = {"power_norm": power_norm_rule}
