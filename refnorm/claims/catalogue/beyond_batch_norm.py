"""E. S. Lubana, R. P. Dick, H. Tanaka, Beyond BatchNorm: Towards a Unified Understanding of Normalization, arXiv 2106.05956.

Measures in refnorm/analysis/signal_propagation.py, exact rates in mean_field.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refnorm.analysis.mean_field import group_norm_growth
from refnorm.analysis.signal_propagation import propagation
from refnorm.claims.claim import Claim, Number, Result
from refnorm.claims.papers import BEYOND_BATCH_NORM
from refnorm.claims.style import BLUE, COLOURS, FAINT, GREEN, GREY, RED
from refnorm.claims.sweep import Sweep
from refnorm.nets import MLP, ResidualMLP

# group sizes: similarity of samples, growth of gradients

WIDTH, BATCH, DEPTH = 1024, 32, 20
GROUPS = (4, 8, 32, 256)
SEEN = {
    "4": (0.80, 1.91),
    "8": (0.88, 1.205),
    "32": (0.94, 1.040),
    "256": (0.95, 1.001),
    "layer norm": (0.95, 0.996),
    "batch norm": (0.30, 1.53),
}
SEEDS = (0, 1)


def through_depth(item: tuple[str, int]) -> dict[str, np.ndarray]:
    """Cosine by layer, and squared gradient by layer, of a deep wide network at initialization."""
    kind, seed = item
    norm: dict[str, Any] = {"norm": kind.replace(" ", "_")}
    if kind.isdigit():
        norm = {"norm": "group_norm", "norm_options": {"num_groups": WIDTH // int(kind)}}
    rng = np.random.default_rng(seed)
    net = MLP((WIDTH,) * (DEPTH + 2), affine=False, bias=False, **norm)
    x = rng.normal(size=(BATCH, WIDTH)) / np.sqrt(2)  # second moment 1/2, as behind a norm and a relu
    p = propagation(net, net.parameters(rng), x, rng.normal(size=(BATCH, WIDTH)))
    return {"cosine": p.cosine, "gradient": p.gradient[:-1], "rank": p.rank}


def measure_groups(sweep: Sweep) -> Result:
    kinds = [str(G) for G in GROUPS] + ["layer norm", "batch norm"]
    items = [(k, s) for k in kinds for s in SEEDS]
    found = dict(zip(items, sweep(through_depth, items), strict=True))
    numbers, rows, finals = [], [], {}
    for k in kinds:
        cosine = float(np.mean([found[k, s]["cosine"][-1] for s in SEEDS]))
        growth = float(np.mean([(g[0] / g[-1]) ** (1 / (len(g) - 1)) for s in SEEDS for g in [found[k, s]["gradient"]]]))
        rank = float(np.mean([found[k, s]["rank"][-1] for s in SEEDS]))
        finals[k] = cosine
        if k.isdigit():
            exact, slack = group_norm_growth(int(k)), 0.1 if k == "4" else 0.02
            numbers.append(
                Number(
                    f"growth of the squared gradient a layer, {k} channels a group",
                    growth,
                    round(exact, 4),
                    exact * (1 - slack),
                    exact * (1 + slack),
                    note="the paper column: (G - 2)/(G - 3)",
                )
            )
        rows.append((k, cosine, SEEN[k][0], growth, SEEN[k][1], group_norm_growth(int(k)) if k.isdigit() else "", rank))
    steps = np.diff([finals[str(G)] for G in GROUPS])
    numbers.append(Number("similarity of samples rises with the group size: least step", float(steps.min()), low=0.0))
    lowest = min(v for k, v in finals.items() if k != "batch norm") - finals["batch norm"]
    numbers.append(Number("batch norm's similarity is the lowest, by", lowest, low=0.0))
    return Result(
        numbers,
        "holds",
        "Large groups make samples alike, small ones make gradients grow: by (G - 2)/(G - 3) a layer.",
        {
            f"width {WIDTH}, {DEPTH} layers, batch {BATCH}": (
                (
                    "channels a group",
                    "cosine at the end",
                    "seen before",
                    "gradient growth",
                    "seen before",
                    "(G - 2)/(G - 3)",
                    "stable rank at the end",
                ),
                rows,
            )
        },
        {"cosine": {k: found[k, 0]["cosine"] for k in kinds}, "gradient": {k: found[k, 0]["gradient"] for k in kinds}},
    )


def figure_groups(result: Result, figure: Any) -> None:
    left, right = figure.subplots(1, 2)
    kinds = list(result.data["cosine"])
    for k, colour in zip(kinds, COLOURS, strict=False):
        words = f"groups of {k}" if k.isdigit() else k
        left.plot(result.data["cosine"][k], color=colour, label=words)
        gradient = np.asarray(result.data["gradient"][k])
        right.plot(range(1, len(gradient) + 1), gradient / gradient[-1], color=colour, label=words)
    left.set(title="mean cosine between samples", xlabel="layer", ylim=(-0.05, 1.02))
    right.set(title="squared gradient, relative to the last layer's", xlabel="layer", yscale="log")
    right.legend()


# residual networks: the variance of the stream

RESIDUAL: dict[str, dict[str, Any]] = {
    "none": {},
    "weight norm": {"weight_norm": "weight_norm"},
    "scaled weight standardization": {"weight_norm": "scaled_weight_standardization"},
    "none, SkipInit": {"skip_init": True},
    "weight norm, SkipInit": {"weight_norm": "weight_norm", "skip_init": True},
    "batch norm": {"norm": "batch_norm"},
    "layer norm": {"norm": "layer_norm"},
}
RESIDUAL_SEEDS = (0, 1, 2)


def stream(item: tuple[str, int]) -> np.ndarray:
    """The second moment of the residual stream before each of 20 blocks and after the last."""
    kind, seed = item
    rng, options = np.random.default_rng(seed), dict(RESIDUAL[kind])
    net = ResidualMLP(inputs=512, width=512, depth=20, outputs=1, bias=False, **options)
    x = rng.normal(size=(64, 512)) / np.sqrt(2)  # the stem's gain is sqrt(2): the stream starts at 1
    record: dict[str, Any] = {}
    net.apply(net.parameters(rng), x, record=record)
    blocks = [np.mean(np.square(record["stem"].output))]
    h = record["stem"].output
    for k in range(1, 21):
        h = h + (0 if options.get("skip_init") else record[f"layer{k}"].output)
        blocks.append(np.mean(np.square(h)))
    return np.array(blocks) / blocks[0]


def measure_residual(sweep: Sweep) -> Result:
    items = [(k, s) for k in RESIDUAL for s in RESIDUAL_SEEDS]
    found = dict(zip(items, sweep(stream, items), strict=True))
    numbers, rows = [], []
    for k in RESIDUAL:
        curves = np.array([found[k, s] for s in RESIDUAL_SEEDS])
        rows.append((k, *curves.mean(0)[[0, 10, 20]]))
        if "SkipInit" in k:
            numbers.append(Number(f"{k}: energy of the stream after 20 blocks", float(curves[:, -1].mean()), 1.0, 1.0, 1.0))
        elif k in ("batch norm", "layer norm"):
            slopes = (curves[:, -1] - curves[:, 0]) / 20
            numbers.append(Number(f"{k}: energy added a block", float(slopes.mean()), 1.0, 0.92, 1.08))
        else:
            ratios = curves[:, -1] ** (1 / 20)
            numbers.append(Number(f"{k}: factor a block", float(ratios.mean()), 2.0, 1.9, 2.1))
    return Result(
        numbers,
        "holds",
        "Norms of activations make the stream grow by one unit a block; without them, or with norms of weights, it doubles "
        "each block, unless SkipInit starts the blocks at zero.",
        {"energy of the stream, width 512": (("network", "start", "10 blocks", "20 blocks"), rows)},
        {"curves": {k: found[k, 0] for k in RESIDUAL}},
    )


def figure_residual(result: Result, figure: Any) -> None:
    axes = figure.subplots()
    colours = {
        "none": RED,
        "weight norm": "#c49a1f",
        "scaled weight standardization": "#9c4f8f",
        "batch norm": BLUE,
        "layer norm": GREEN,
        "none, SkipInit": GREY,
    }
    for k, colour in colours.items():
        axes.plot(result.data["curves"][k], color=colour, label=k, ls="--" if k == "layer norm" else "-")
    blocks = np.arange(21)
    axes.plot(blocks, 2.0**blocks, ":", color=FAINT)
    axes.plot(blocks, 1.0 + blocks, ":", color=FAINT)
    axes.set(
        title="Second moment of the residual stream (dotted: 2^l and 1 + l)",
        xlabel="block l",
        yscale="log",
        xticks=range(0, 21, 5),
    )
    axes.legend(ncols=2)


CLAIMS = (
    Claim(
        "group-size",
        7,
        "large groups make samples alike, small groups make gradients grow",
        BEYOND_BATCH_NORM,
        "Activations of group norm become more alike with larger groups (rank at least sqrt(width / group size)); small groups "
        "cause large gradients in early layers.",
        SEEDS,
        measure_groups,
        figure_groups,
        conditions="at initialization, dense layers without positions",
    ),
    Claim(
        "residual-growth",
        7,
        "the stream of a residual network: doubled each block, or one more",
        BEYOND_BATCH_NORM,
        "Normalizing activations prevents the exponential growth of activations in residual networks; normalizing parameters "
        "does not, unless SkipInit or the like is added.",
        RESIDUAL_SEEDS,
        measure_residual,
        figure_residual,
        conditions="at initialization, dense pre-activation blocks of one layer",
    ),
)
