"""JAX and Flax: jax.nn.standardize, flax.linen's normalizations and nnx.BatchNorm, gradients by jax.vjp.

Flax is called as its users call it in training: parameters and running statistics in float32, `dtype` that of x, channels
last, compiled.  float64 is judged where it is asked for (--dtype float64).  What flax.nnx shares with flax.linen (its
statistics are the same lines) is judged once, by linen; nnx.BatchNorm updates its running statistics by itself.  XLA compiles
a quarter of a second for each shape, some 300 a norm: the other forms of a norm are judged in float32 alone.

Found in JAX 0.10.2 and Flax 0.12.8, each confirmed by hand:

    what                                         input that shows it                          comes out         exact
    nn.standardize                               [4096, 4097, 4098, 4097]                     +-0.7071          +-1.4142
      x in bfloat16: all of it in bfloat16       [30, 31]                                     +-158             +-1
                                                 [2, 5], dy [1, 0]: dx                        -0.0078, -0.0078  1.5e-6, -1.5e-6
      algorithm="stable", x in bfloat16          [128, 129]                                   0, 1.414          -1, 1
    linen and nnx BatchNorm, LayerNorm,          [4096, 4097, 4098, 4097]                     +-316, +-1000     +-1.4142
      GroupNorm, InstanceNorm
    nnx.BatchNorm, running variance              the same, momentum 0                         0                 0.5
    linen, x in bfloat16: the last entry of dx   LayerNorm, [0, 1, 3], dy [0, 1, 4]           0.0469            0.0573
                                                 RMSNorm, [3, 5], dy [2, 3]                   -0.0234           -0.0214

The variance is E[x^2] - E[x]^2, which is the default; standardize(algorithm="stable") and use_fast_variance=False pass in
float32, and both are judged beside it.  linen in bfloat16: x is widened twice, for the statistics and for x - mean, so that
the two parts of dx are rounded to bfloat16 before they are added; y is right.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ..candidate import Candidate
from ..cases import Case

ADVICE = {"nn.standardize": 'algorithm="stable"', "linen": "use_fast_variance=False", "nnx": "use_fast_variance=False"}
"""What computes the variance in two passes, by a part of a candidate's name."""
DTYPES = ("float32", {"x": "bfloat16", "params": "float32", "out": "bfloat16"})
TRACED = ("eps", "momentum")


def standardize(x: jax.Array, *, eps: float = 1e-5, normalized_ndim: int = 1) -> Any:
    """jax.nn.standardize as it is by default."""
    return jax.nn.standardize(x, axis=tuple(range(-normalized_ndim, 0)), epsilon=eps)


def standardize_stable(x: jax.Array, *, eps: float = 1e-5, normalized_ndim: int = 1) -> Any:
    """jax.nn.standardize(algorithm="stable")."""
    two_pass: Any = {"algorithm": "stable"}         # which JAX's type stubs do not know
    return jax.nn.standardize(x, axis=tuple(range(-normalized_ndim, 0)), epsilon=eps, **two_pass)


def batch_norm(
    x: jax.Array, gamma=None, beta=None, running_mean=None, running_var=None, *, momentum=0.99, eps=1e-5, training=True,
    fast=True,
) -> tuple[jax.Array, ...]:  # fmt: skip
    """flax.linen.BatchNorm."""
    layer = nn.BatchNorm(
        use_running_average=not training, momentum=momentum, epsilon=eps, dtype=x.dtype, use_scale=gamma is not None,
        use_bias=beta is not None, use_fast_variance=fast,
    )  # fmt: skip
    variables = {"params": _affine(gamma, beta), "batch_stats": {"mean": running_mean, "var": running_var}}
    y, updated = layer.apply(variables, x, mutable=["batch_stats"])
    return y, updated["batch_stats"]["mean"], updated["batch_stats"]["var"]


def batch_norm_two_pass(
    x: jax.Array, gamma=None, beta=None, running_mean=None, running_var=None, *, momentum=0.99, eps=1e-5, training=True
) -> tuple[jax.Array, ...]:  # fmt: skip
    """flax.linen.BatchNorm(use_fast_variance=False)."""
    return batch_norm(x, gamma, beta, running_mean, running_var, momentum=momentum, eps=eps, training=training, fast=False)


def batch_norm_nnx(
    x: jax.Array, gamma=None, beta=None, running_mean=None, running_var=None, *, momentum=0.99, eps=1e-5, training=True
) -> tuple[jax.Array, ...]:  # fmt: skip
    """flax.nnx.BatchNorm."""
    layer: Any = nnx.BatchNorm(
        x.shape[-1], use_running_average=not training, momentum=momentum, epsilon=eps, dtype=x.dtype,
        use_scale=gamma is not None, use_bias=beta is not None, rngs=nnx.Rngs(0),
    )  # fmt: skip
    given = ((layer.mean, running_mean), (layer.var, running_var), (layer.scale, gamma), (layer.bias, beta))
    for variable, value in given:
        if value is not None:
            variable[...] = value
    return layer(x), layer.mean[...], layer.var[...]


def layer_norm(x: jax.Array, gamma=None, beta=None, *, eps=1e-6, normalized_ndim: int = 1, fast=True) -> Any:
    """flax.linen.LayerNorm."""
    axes = tuple(range(-normalized_ndim, 0))
    layer = nn.LayerNorm(
        epsilon=eps, dtype=x.dtype, use_scale=gamma is not None, use_bias=beta is not None, reduction_axes=axes,
        feature_axes=axes, use_fast_variance=fast,
    )  # fmt: skip
    return layer.apply({"params": _affine(gamma, beta)}, x)


def layer_norm_two_pass(x: jax.Array, gamma=None, beta=None, *, eps=1e-6, normalized_ndim: int = 1) -> Any:
    """flax.linen.LayerNorm(use_fast_variance=False)."""
    return layer_norm(x, gamma, beta, eps=eps, normalized_ndim=normalized_ndim, fast=False)


def rms_norm(x: jax.Array, gamma=None, *, eps=1e-6, normalized_ndim: int = 1) -> Any:
    """flax.linen.RMSNorm."""
    axes = tuple(range(-normalized_ndim, 0))
    layer = nn.RMSNorm(epsilon=eps, dtype=x.dtype, use_scale=gamma is not None, reduction_axes=axes, feature_axes=axes)
    return layer.apply({"params": _affine(gamma, None)}, x)


def group_norm(x: jax.Array, gamma=None, beta=None, *, num_groups: int, eps=1e-6) -> Any:
    """flax.linen.GroupNorm."""
    layer = nn.GroupNorm(num_groups, epsilon=eps, dtype=x.dtype, use_scale=gamma is not None, use_bias=beta is not None)
    return layer.apply({"params": _affine(gamma, beta)}, x)


def instance_norm(x: jax.Array, gamma=None, beta=None, *, eps=1e-6) -> Any:
    """flax.linen.InstanceNorm."""
    layer = nn.InstanceNorm(epsilon=eps, dtype=x.dtype, use_scale=gamma is not None, use_bias=beta is not None)
    return layer.apply({"params": _affine(gamma, beta)}, x)


class _Kernel(nn.Module):
    """A layer that is its weight."""

    shape: tuple[int, ...]

    @nn.compact
    def __call__(self) -> Any:
        return self.param("kernel", nn.initializers.zeros, self.shape)


def weight_norm(v: jax.Array, g=None, *, dim: int | None = -1, eps=1e-12) -> Any:
    """flax.linen.WeightNorm."""
    layer = nn.WeightNorm(_Kernel(v.shape), epsilon=eps, feature_axes=dim, use_scale=g is not None)
    scale = {} if g is None else {"layer_instance/kernel/scale": g}
    return layer.apply({"params": {"layer_instance": {"kernel": v}, **scale}})


def spectral_norm(w: jax.Array, u: jax.Array, v: jax.Array, *, n_power_iterations=1, training=True, dim=-1) -> Any:
    """flax.linen.SpectralNorm: the last axis is the outputs'; v is made from u, and is not kept.

    Its eps stands under the root of each vector's length, where PyTorch's is the least length: it is left at its 1e-12.
    """
    moved = jnp.moveaxis(w, dim, -1)
    layer = nn.SpectralNorm(_Kernel(moved.shape), n_steps=n_power_iterations)
    kept = {"layer_instance/kernel/u": u[None], "layer_instance/kernel/sigma": jnp.ones((), u.dtype)}
    variables = {"params": {"layer_instance": {"kernel": moved}}, "batch_stats": kept}
    y, updated = layer.apply(variables, update_stats=training, mutable=["batch_stats"])
    return jnp.moveaxis(y, -1, dim), updated["batch_stats"]["layer_instance/kernel/u"][0], None


def _trains(case: Case) -> Any:
    if np.max(np.abs(case.x), initial=0) < 0.01:
        return "its eps stands under the root: small weights tell it from every dialect"
    return (case.training and case.arguments["n_power_iterations"] > 0) or "in evaluation it iterates as well"


def _affine(gamma: Any, beta: Any) -> dict[str, jax.Array]:
    return {name: value for name, value in (("scale", gamma), ("bias", beta)) if value is not None}


def candidates() -> Iterator[tuple[str, str, Candidate]]:
    jax_says, linen = f"jax {jax.__version__} nn.standardize", f"flax {flax.__version__} linen"
    narrow, wide = DTYPES, DTYPES[:1]
    for norm, dialect, function, name, dtypes in (
        ("layer_norm", "torch", standardize, jax_says, narrow),
        ("layer_norm", "torch", standardize_stable, f"{jax_says}(algorithm='stable')", wide),
        ("layer_norm", "flax", layer_norm, f"{linen}.LayerNorm", narrow),
        ("layer_norm", "flax", layer_norm_two_pass, f"{linen}.LayerNorm(use_fast_variance=False)", wide),
        ("rms_norm", "flax", rms_norm, f"{linen}.RMSNorm", narrow),
        ("batch_norm", "flax", batch_norm, f"{linen}.BatchNorm", narrow),
        ("batch_norm", "flax", batch_norm_two_pass, f"{linen}.BatchNorm(use_fast_variance=False)", wide),
        ("batch_norm", "flax", batch_norm_nnx, f"flax {flax.__version__} nnx.BatchNorm", wide),
        ("group_norm", "flax", group_norm, f"{linen}.GroupNorm", narrow),
        ("instance_norm", "flax", instance_norm, f"{linen}.InstanceNorm", narrow),
        ("weight_norm", "flax", weight_norm, f"{linen}.WeightNorm", wide),
        ("spectral_norm", "hook", spectral_norm, f"{linen}.SpectralNorm", wide),
    ):  # fmt: skip
        fields: dict[str, Any] = {"dtypes": dtypes, "name": name, "traced": TRACED}
        if norm in ("batch_norm", "group_norm", "instance_norm"):
            fields["channel_axis"] = -1
        if norm == "spectral_norm":
            fields["supports"] = _trains
        yield norm, dialect, Candidate.from_jax(function, **fields)
