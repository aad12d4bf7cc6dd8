"""The catalogue: one declaration a method."""

from .batch import batch_norm, mean_variance_norm
from .batch_spread import l1_batch_norm, variance_norm
from .batch_sync import ghost_batch_norm, sync_batch_norm
from .coloring import whitening_coloring_norm
from .conditional import adaptive_instance_norm, adaptive_layer_norm, conditional_batch_norm, spatially_adaptive_norm
from .divisive import divisive_norm, generalized_divisive_norm
from .evo import evo_norm_b0, evo_norm_s0
from .exemplar import exemplar_norm
from .gradient import gradient_centralization, sphere_retraction, tangent_projection
from .group import group_norm, instance_norm, position_norm
from .layer import layer_norm, rms_norm
from .length import lp_norm, scale_norm
from .local_response import local_response_norm
from .mixture import switchable_norm
from .power import power_norm
from .renorm import batch_renorm
from .response import dynamic_tanh, filter_response_norm
from .sample import partial_rms_norm, query_key_layer_norm, query_key_norm
from .weight import centered_weight_norm, scaled_weight_standardization, weight_norm, weight_standardization
from .weight_cayley import cayley
from .weight_conv import conv_norm
from .weight_orthogonal import bjorck, orthogonal_newton_iteration, orthogonal_weight_norm
from .weight_spectral import conv_spectral_norm, spectral_norm
from .whitening import batch_whitening_cholesky, batch_whitening_pca, batch_whitening_zca, iterative_norm
from .whitening_group import group_whitening_iterative, group_whitening_zca
from .whitening_switchable import switchable_whitening

__all__ = [
    "adaptive_instance_norm",
    "adaptive_layer_norm",
    "batch_norm",
    "batch_renorm",
    "batch_whitening_cholesky",
    "batch_whitening_pca",
    "batch_whitening_zca",
    "bjorck",
    "cayley",
    "centered_weight_norm",
    "conditional_batch_norm",
    "conv_norm",
    "conv_spectral_norm",
    "divisive_norm",
    "dynamic_tanh",
    "evo_norm_b0",
    "evo_norm_s0",
    "exemplar_norm",
    "filter_response_norm",
    "generalized_divisive_norm",
    "ghost_batch_norm",
    "gradient_centralization",
    "group_norm",
    "group_whitening_iterative",
    "group_whitening_zca",
    "instance_norm",
    "iterative_norm",
    "l1_batch_norm",
    "layer_norm",
    "local_response_norm",
    "lp_norm",
    "mean_variance_norm",
    "orthogonal_newton_iteration",
    "orthogonal_weight_norm",
    "partial_rms_norm",
    "position_norm",
    "power_norm",
    "query_key_layer_norm",
    "query_key_norm",
    "rms_norm",
    "scale_norm",
    "scaled_weight_standardization",
    "spatially_adaptive_norm",
    "spectral_norm",
    "sphere_retraction",
    "switchable_norm",
    "switchable_whitening",
    "sync_batch_norm",
    "tangent_projection",
    "variance_norm",
    "weight_norm",
    "weight_standardization",
    "whitening_coloring_norm",
]
