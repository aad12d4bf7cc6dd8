"""ConvNorm: S. Liu et al., Convolutional Normalization, NeurIPS 2021, arXiv 2103.00673; analysis/isometry.py."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

import refnorm as rn
from refnorm.analysis import lipschitz
from refnorm.analysis.isometry import channel_defect, matrix_of
from refnorm.claims.claim import Claim, Number, Result
from refnorm.claims.style import BLUE, FAINT, GREY, RED
from refnorm.claims.sweep import Sweep

SEEDS = tuple(range(200))
GRID = (8, 8)
SHAPES = ((16, 16), (16, 64), (64, 16))


def conv_norm(x: Any, w: np.ndarray, **options: Any) -> Any:
    return rn.conv_norm(x, w, **options)[0]


def small(seed: int) -> tuple[float, float, float]:
    """4 x 3 x 3 x 3 on 8 x 8: norm of the convolution, of ConvNorm, and its channels' defect."""
    w = np.random.default_rng(seed).normal(size=(4, 3, 3, 3))
    q = matrix_of(partial(conv_norm, w=w), (3, *GRID))
    return lipschitz.convolution_norm(w, GRID), float(np.linalg.norm(q, 2)), channel_defect(q, 4)


def wide(item: tuple[int, int, int]) -> float:
    """(out, in, seed): |Q|_2, frequency by frequency."""
    outs, ins, seed = item
    w = np.random.default_rng([outs, ins, seed]).normal(size=(outs, ins, 3, 3))
    transfer = np.moveaxis(np.fft.fftn(w, GRID, (2, 3)), (0, 1), (-2, -1))
    return float(np.max(np.linalg.norm(transfer / np.linalg.norm(transfer, axis=-1, keepdims=True), 2, (-2, -1))))


def measure(sweep: Sweep) -> Result:
    before, after, defect = np.array(sweep(small, SEEDS)).T
    mean = {shape: float(np.mean(sweep(wide, [(*shape, s) for s in range(5)]))) for shape in SHAPES}
    w = np.random.default_rng(0).normal(size=(4, 3, 3, 3))
    cropped = matrix_of(partial(conv_norm, w=w, dialect="original", padding=1), (3, *GRID))
    zero = np.zeros((1, 1, 2))
    zero[0, 0] = 1, -1                                             # its response at frequency 0 is 0
    x = np.random.default_rng(1).normal(size=(1, 1, 8))
    numbers = [
        Number("circular: largest |Q_o Q_o' - I| of 200 kernels", defect.max(), high=1e-12),
        Number("circular: largest |Q| of 200 kernels, 4 channels", after.max(), high=2 + 1e-12, note="<= sqrt(4)"),
        Number("norm of the plain convolution, mean", before.mean(), asserted=False),
        Number("norm with ConvNorm, mean", after.mean(), asserted=False),
    ]
    for (outs, ins), value in mean.items():
        numbers.append(Number(f"|Q|, {outs} from {ins} channels", value, high=math.sqrt(outs),
                              note=f"1 + sqrt(out / in) = {1 + math.sqrt(outs / ins):.2f}"))  # fmt: skip
    numbers += [
        Number("padded and cropped, the authors' layer: the same", channel_defect(cropped, 4), low=0.1, note="no isometry"),
        Number("a spectral zero at eps = 0: share of NaN", float(np.isnan(conv_norm(x, zero)).mean()), None, 1, 1),
        Number("the same at eps = 1e-5", float(np.isnan(conv_norm(x, zero, eps=1e-5)).mean()), None, 0, 0),
    ]  # fmt: skip
    rows = [(o, i, v, 1 + math.sqrt(o / i)) for (o, i), v in mean.items()]
    return Result(
        numbers,
        "holds under conditions",
        "On a circular grid each channel is an isometry to rounding and the layer's norm is at most sqrt(channels). The layer "
        "that the authors run pads and crops: it is not one. Without eps a frequency without a response is a NaN.",
        {"|Q|": (("out", "in", "measured", "1 + sqrt(out / in)"), rows)},
        {
            "before": before,
            "after": after,
            "plain": np.linalg.svd(lipschitz.convolution_matrix(w, GRID), compute_uv=False),
            "normalized": np.linalg.svd(matrix_of(partial(conv_norm, w=w), (3, *GRID)), compute_uv=False),
            "cropped": np.linalg.svd(cropped, compute_uv=False),
        },
    )


def figure(result: Result, figure: Any) -> None:
    figure.set_size_inches(9, 3.6)
    left, right = figure.subplots(1, 2)
    for name, colour in (("plain", GREY), ("normalized", BLUE), ("cropped", RED)):
        left.plot(result.data[name], color=colour)
        label = {"plain": "convolution", "normalized": "ConvNorm, circular", "cropped": "ConvNorm, padded and cropped"}[name]
        left.plot([], [], color=colour, label=label)
    left.legend()
    left.set(xlabel="index", ylabel="singular value", ylim=(0, None))
    left.set_title("Spectrum of one layer, 3 to 4 channels")
    right.hist(result.data["before"], np.linspace(0, 14, 57), color=GREY)
    right.hist(result.data["after"], np.linspace(0, 14, 57), color=BLUE)
    right.axvline(2, color=RED, lw=1)
    right.annotate("√4", (2, right.get_ylim()[1]), (4, -12), textcoords="offset points", color=RED)
    right.axvline(0, color=FAINT)
    right.set(xlabel="norm of the layer", ylabel="kernels", xlim=(0, 14))
    right.set_title("200 kernels, without and with ConvNorm")


CLAIMS = (
    Claim(
        "convolutional-normalization",
        12,
        "ConvNorm makes each channel of a convolution an isometry",
        rn.conv_norm.declaration.cite,
        "ConvNorm is a channel-wise isometry, and the layer's Lipschitz constant is bounded by the root of its channel count.",
        SEEDS,
        measure,
        figure,
        conditions="Circular convolution, stride 1, no spectral zeros.",
    ),
)
