"""Large groups in group norm and group whitening, small batches in batch norm and batch whitening: L. Huang et al., 2009.12836.

Each sample of d units brings d numbers into a batch of m; normalization takes some of their freedom.  The share that it takes,
zeta / (d m), is 2/m for batch norm, (d' + 3)/(2m) for batch whitening of d' units together, 2g/d for group norm and g(g +
3)/(2d)
for group whitening (L. Huang et al., arXiv 2009.13333; counted and proven in the claims of section 3).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refnorm.claims.claim import Claim, Number, Result
from refnorm.claims.papers import SURVEY
from refnorm.claims.style import BLUE, CYAN, GREY, RED, YELLOW
from refnorm.claims.sweep import Sweep
from refnorm.data.digits import load_digits
from refnorm.nets import MLP, SGD, cross_entropy, train

SEEDS, WIDTH, TOGETHER, SAMPLES = (0, 1, 2, 3, 4), 32, 8, 3200
GROUPS, BATCHES = (1, 2, 4, 8, 16), (4, 8, 16, 32)
COLOURS = {"batch norm": BLUE, "batch whitening": CYAN, "group norm": RED, "group whitening": YELLOW}


def taken(kind: str, n: int) -> float:
    """zeta / (d m) at batch size or number of groups n."""
    return {
        "batch norm": 2 / n,
        "batch whitening": (TOGETHER + 3) / (2 * n),
        "group norm": 2 * n / WIDTH,
        "group whitening": n * (n + 3) / (2 * WIDTH),
    }[kind]


def run(item: tuple[str, int, int]) -> tuple[float, float]:
    """Training and test loss after 3200 samples, in evaluation."""
    kind, n, seed = item
    norms: dict[str, Any] = {
        "batch norm": {"norm": "batch_norm"},
        "batch whitening": {"norm": "batch_whitening_zca", "norm_options": {"num_groups": WIDTH // TOGETHER, "eps": 1e-3}},
        "group norm": {"norm": "group_norm", "norm_options": {"num_groups": n}},
        "group whitening": {"norm": "group_whitening_zca", "norm_options": {"num_groups": n, "eps": 1e-3}},
    }
    batch = n if kind.startswith("batch") else 32
    digits, net = load_digits(), MLP((64, WIDTH, WIDTH, 10), **norms[kind])
    lr = 0.1 * batch / 32  # the linear scaling rule: every batch size moves as far
    done = train(net, digits.rows, digits.labels, steps=SAMPLES // batch, batch_size=batch, optimizer=SGD(lr), seed=seed)
    pairs = ((digits.rows, digits.labels), (digits.test_rows, digits.test_labels))
    first, second = (float(cross_entropy(done.outputs(x), labels)) for x, labels in pairs)
    return first, second


def measure(sweep: Sweep) -> Result:
    sizes = {kind: BATCHES if kind.startswith("batch") else GROUPS for kind in COLOURS}
    items = [(kind, n, s) for kind, ns in sizes.items() for n in ns for s in SEEDS]
    found = dict(zip(items, sweep(run, items), strict=True))
    rows, numbers = [], []
    for kind, ns in sizes.items():
        for n in ns:
            losses = np.median([found[kind, n, s] for s in SEEDS], axis=0)
            rows.append((kind, n, taken(kind, n), *map(float, losses)))
        tight, loose = (ns[0], ns[-1]) if kind.startswith("batch") else (ns[-1], 2)
        ratio = [found[kind, tight, s][0] / found[kind, loose, s][0] for s in SEEDS]
        what = "m" if kind.startswith("batch") else "g"
        numbers.append(
            Number(
                f"{kind}: training loss at {what} = {tight} / at {loose}, least of 5 seeds",
                min(ratio),
                low=1.1,
                note=f"to {max(ratio):.2f}; shares taken {taken(kind, tight):.2f} and {taken(kind, loose):.2f}",
            )
        )
    return Result(
        numbers,
        "holds",
        "All four train worse, in every seed, where their constraints take a large share of the freedom, and the curves nearly "
        "coincide when drawn against that share; beyond 1 the constraints cannot all be met.",
        {"medians over seeds": (("method", "m or g", "share taken", "training loss", "test loss"), rows)},
        {"rows": rows},
    )


def figure(result: Result, figure: Any) -> None:
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, column, title in ((left, 3, "training loss"), (right, 4, "test loss")):
        for kind, colour in COLOURS.items():
            points = np.array([(row[2], row[column]) for row in result.data["rows"] if row[0] == kind])
            axes.plot(*points[np.argsort(points[:, 0])].T, "o-", color=colour, label=kind)
        axes.axvline(1, color=GREY, lw=0.8, ls=":")
        axes.set(title=title, xscale="log", yscale="log", xlabel="share of the freedom that is taken, ζ / (d m)")
    left.legend()


CLAIMS = (
    Claim(
        "constraint-ratio",
        16,
        "large groups, small batches",
        SURVEY,
        "Group methods train badly with many groups, batch methods with small batches: more constraints than freedom.",
        SEEDS,
        measure,
        figure,
        conditions=f"digits, MLP of two hidden layers of {WIDTH}, {SAMPLES} samples seen, learning rate 0.1 m / 32",
    ),
)
