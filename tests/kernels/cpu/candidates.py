"""backend="numba" as candidates of the conformance kit: what test_conformance.py has it judge."""

import refnorm as rn
from refnorm.conformance.candidate import Candidate

EVERY = ("float64", "float32", "float16", "bfloat16")


def layer_norm_forward(x, gamma=None, beta=None, *, axis=-1, eps=1e-5):
    return rn.layer_norm.forward(x, gamma, beta, axis=axis, eps=eps, backend="numba")


def layer_norm_backward(dy, cache, *_, **__):
    return rn.layer_norm.backward(dy, cache, backend="numba")


def rms_norm_forward(x, gamma=None, *, axis=-1, eps=None, offset=0):
    return rn.rms_norm.forward(x, gamma, axis=axis, eps=eps, offset=offset, backend="numba")


def rms_norm_backward(dy, cache, *_, **__):
    return rn.rms_norm.backward(dy, cache, backend="numba")


def group_norm_forward(x, gamma=None, beta=None, *, num_groups, eps=1e-5):
    return rn.group_norm.forward(x, gamma, beta, num_groups=num_groups, eps=eps, backend="numba")


def group_norm_backward(dy, cache, *_, **__):
    return rn.group_norm.backward(dy, cache, backend="numba")


def last_group_norm_forward(x, gamma=None, beta=None, *, num_groups, eps=1e-5):
    return rn.group_norm.forward(x, gamma, beta, num_groups=num_groups, eps=eps, channel_axis=-1, backend="numba")


def instance_norm_forward(x, gamma=None, beta=None, *, eps=1e-5):
    return rn.instance_norm.forward(x, gamma, beta, eps=eps, backend="numba")


def instance_norm_backward(dy, cache, *_, **__):
    return rn.instance_norm.backward(dy, cache, backend="numba")


def batch_norm_forward(x, gamma, beta, running_mean, running_var, *, momentum=0.1, eps=1e-5, training=True):
    state = rn.batch_norm.state(running_mean, running_var)
    options = {"momentum": momentum, "eps": eps, "training": training}
    y, cache, state = rn.batch_norm.forward(x, gamma, beta, state=state, **options, backend="numba")
    return (y, state.mean, state.var), cache


def batch_norm_backward(dy, cache, *_, **__):
    return rn.batch_norm.backward(dy, cache, backend="numba")


layer_norm = Candidate(layer_norm_forward, layer_norm_backward, saves=True, dtypes=EVERY)
rms_norm = Candidate(rms_norm_forward, rms_norm_backward, saves=True, dtypes=EVERY)
group_norm = Candidate(group_norm_forward, group_norm_backward, saves=True, dtypes=EVERY)
last_group_norm = Candidate(last_group_norm_forward, group_norm_backward, saves=True, dtypes=EVERY, channel_axis=-1)
instance_norm = Candidate(instance_norm_forward, instance_norm_backward, saves=True, dtypes=EVERY)
batch_norm = Candidate(batch_norm_forward, batch_norm_backward, saves=True, dtypes=EVERY)
