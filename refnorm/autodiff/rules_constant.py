"""Functions whose results carry no derivative, and functions that are refused, with what to write instead."""

from __future__ import annotations

import numpy as np

from .core import constant, refuse

# what an array is
constant(np.shape, np.ndim, np.size, np.iscomplexobj, np.isrealobj, np.result_type, np.can_cast, np.common_type,
         np.min_scalar_type, np.may_share_memory, np.shares_memory, np.array_repr, np.array_str, np.array2string,
         np.einsum_path, np.diag_indices_from, np.tril_indices_from, np.triu_indices_from)
constant(np.zeros_like, np.ones_like, np.empty_like)

# where something is, and whether: comparisons, masks, orders, counts
constant(np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal, np.isclose, np.allclose,
         np.array_equal, np.array_equiv, np.isfinite, np.isinf, np.isnan, np.isnat, np.isneginf, np.isposinf, np.signbit,
         np.iscomplex, np.isreal, np.logical_and, np.logical_or, np.logical_xor, np.logical_not, np.all, np.any, np.isin,
         np.count_nonzero)
constant(np.argmax, np.argmin, np.nanargmax, np.nanargmin, np.argsort, np.argpartition, np.lexsort, np.argwhere, np.nonzero,
         np.flatnonzero, np.searchsorted, np.digitize, np.histogram_bin_edges, np.linalg.matrix_rank)

# steps: the derivative is 0 where there is one
constant(np.floor, np.ceil, np.trunc, np.rint, np.round, np.around, np.fix, np.floor_divide)

# integers: NumPy itself says that these take no floating-point numbers
constant(np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.bitwise_not, np.invert, np.bitwise_count, np.left_shift,
         np.right_shift, np.gcd, np.lcm)

REFUSED = {
    "an array cannot be made of it or like it; use functions that have rules, np.stack for a list, np.broadcast_to to fill": (
        np.array, np.asarray, np.asanyarray, np.ascontiguousarray, np.asfortranarray, np.require, np.empty, np.zeros, np.ones,
        np.full, np.eye, np.identity, np.tri, np.arange, np.linspace, np.logspace, np.geomspace, np.frombuffer, np.fromfile,
        np.fromfunction, np.fromiter, np.fromstring, np.loadtxt, np.genfromtxt, np.ix_),
    "it writes in place; build a new array with np.where, np.concatenate or np.stack": (
        np.copyto, np.put, np.place, np.putmask, np.put_along_axis, np.fill_diagonal),
    "put it together with np.concatenate or np.tile": (np.resize, np.insert),
    "it leaves the program; write refnorm.autodiff.stop(x)": (np.save, np.savez, np.savez_compressed, np.savetxt),
    "its result has no fixed shape or dtype; decide on stop(x) what to take, and take it by index": (
        np.unique, np.unique_all, np.unique_counts, np.unique_inverse, np.unique_values, np.union1d, np.intersect1d,
        np.setdiff1d, np.setxor1d, np.trim_zeros, np.real_if_close),
    "it takes a function, or chooses by number; say it with np.where and functions that have a rule": (
        np.apply_along_axis, np.apply_over_axes, np.piecewise, np.choose),
    "it orders; np.sort, np.median and np.take_along_axis have rules": (
        np.partition, np.sort_complex, np.percentile, np.quantile, np.nanmedian, np.nanpercentile, np.nanquantile),
    "mask with np.where and np.isnan, and take np.max, np.min or np.mean": (np.nanmax, np.nanmin, np.nanvar, np.nanstd),
    "counts are steps; sum what np.where selects": (np.histogram, np.histogram2d, np.histogramdd, np.bincount),
    "write it as a product of centred arrays": (np.cov, np.corrcoef),
    "use np.fft, np.matmul or numpy.lib.stride_tricks.sliding_window_view": (np.convolve, np.correlate),
    "write it with slices": (np.gradient, np.ediff1d, np.unwrap, np.interp),
    "its derivative at 0 needs a series; write the case you need": (np.sinc, np.i0),
    "write the polynomial out, by Horner's rule": (
        np.poly, np.polyadd, np.polyder, np.polydiv, np.polyfit, np.polyint, np.polymul, np.polysub, np.polyval, np.roots,
        np.vander),
    "the step between floating-point numbers has no derivative": (np.nextafter, np.spacing),
    "it has no rule; for symmetric matrices use np.linalg.eigh": (np.linalg.eig, np.linalg.eigvals),
    "it has no rule; np.linalg.eigh or np.linalg.cholesky of A^T A says it where it has a derivative": (
        np.linalg.svd, np.linalg.svdvals, np.linalg.qr, np.linalg.cond),
    "it has no rule; at full rank np.linalg.solve of the normal equations says it": (np.linalg.lstsq, np.linalg.pinv),
    "reshape to matrices and use np.linalg.solve or np.linalg.inv": (np.linalg.tensorsolve, np.linalg.tensorinv),
    "it is not for floating-point arrays": (
        np.busday_count, np.busday_offset, np.is_busday, np.datetime_as_string, np.packbits, np.unpackbits,
        np.ravel_multi_index, np.unravel_index),
}  # fmt: skip
for _why, _funs in REFUSED.items():
    refuse(_why, *_funs)
