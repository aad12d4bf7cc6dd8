"""Group whitening: L. Huang, Y. Zhou, L. Liu, F. Zhu, L. Shao, CVPR 2021, arXiv 2009.13333; and where its counting ends.

How many equations a norm's output meets, and that they are independent (analysis/constraint_system.py): measured as the rank
of the equations' Jacobian at outputs of refnorm's own norms, eps = 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import refnorm as rn
from refnorm.analysis import constraint_system
from refnorm.analysis.constraint_system import ConstraintSystem
from refnorm.claims.claim import Claim, Number, Result
from refnorm.claims.style import BLUE, FAINT, GREEN, GREY, RED
from refnorm.claims.sweep import Sweep
from refnorm.methods.whitening_group import GROUP_WHITENING

POINTS = (
    *(("BN", (m, d), {}) for d, m in ((3, 2), (3, 5), (8, 16))),
    *(("BW", (m, d), {}) for d, m in ((3, 4), (5, 6), (8, 9), (16, 40))),
    *(("GN", (m, d), {"num_groups": g}) for d, g, m in ((12, 4, 3), (16, 4, 4), (20, 5, 4))),
    *(("GW", (1, d), {"num_groups": g}) for d, g in ((12, 3), (20, 4), (30, 5), (56, 7))),
)
"""(norm, shape of x, options); d neurons, m samples."""
NORMS: dict[str, Any] = {"BN": rn.batch_norm, "BW": rn.batch_whitening_zca, "GN": rn.group_norm, "GW": rn.group_whitening_zca}
OF_A_DATA_SET = (
    ("BN", "2 N d / m", "m >= 2", "m >= 2"),
    ("BW", "N d (d + 3) / (2 m)", "m >= (d + 3) / 2", "m >= d + 1"),
    ("GN", "2 g N", "g <= d / 2", "g <= d / 2"),
    ("GW", "N g (g + 3) / 2", "g <= (sqrt(8 d + 9) - 3) / 2", "g (g + 1) <= d"),
)
INFEASIBLE = ((8, 6), (8, 8), (16, 10))
SMALLEST = tuple((d, m) for d in (4, 6, 8) for m in range(2, d + 4))


def system_and_rank(item: tuple[str, tuple[int, int], dict[str, int]]) -> tuple[ConstraintSystem, int, float]:
    """The constraint system of a norm, its rank at a feasible point, and by how much that point misses its equations."""
    name, shape, options = item
    x = np.random.default_rng(0).normal(size=shape)
    method = NORMS[name].declaration
    system = constraint_system.of(method, x=x, eps=0.0, **options)
    arguments, _ = method.resolve(x=x, eps=0.0, **options)
    z = method.triple.call(x=method.forward(x, eps=0.0, **options)[0], **{k: v for k, v in arguments.items() if k != "x"}).z
    return system, system.rank(z), float(np.max(np.abs(system.equations(z))))


def nearest(item: tuple[int, int]) -> float:
    """The least |cov - I|^2 that a minimizer finds for d coordinates of m samples."""
    d, m = item
    return ConstraintSystem(1, d, m, whitens=True).minimized(np.random.default_rng([d, m]))


def whitened(d: int, g: int, positions: int = 1) -> float:
    """By how much group whitening's output misses the identity, g groups of d neurons; NaN where it refuses."""
    x = np.random.default_rng(1).normal(size=(1, d, positions))
    try:
        y = rn.group_whitening_zca(x, num_groups=g, eps=0.0).reshape(g, -1)
    except ValueError:
        return np.nan
    return float(np.max(np.abs(y @ y.T / y.shape[1] - np.eye(g))))


def measure(sweep: Sweep) -> Result:
    found = sweep(system_and_rank, POINTS)
    numbers, rows = [], []
    for (name, (m, d), options), (system, rank, miss) in zip(POINTS, found, strict=True):
        g = options.get("num_groups")
        label = f"{name}, d = {d}, " + (f"m = {m}" if g is None else f"g = {g}" + (f", m = {m}" if m > 1 else ""))
        formula = _zeta(name, d, m, g or 0)
        numbers.append(Number(f"{label}: rank of the equations", rank, formula, formula, formula))
        rows.append((name, d, m, g, formula, rank, system.unknowns, miss))
    worst = max(row[-1] for row in rows)
    numbers.append(Number("the points meet their equations, worst", worst, high=1e-8))
    numbers.append(Number("GW (20, 4): |cov - I|", whitened(20, 4), 0, high=1e-8))
    return Result(
        numbers,
        "holds under conditions",
        "The counts are right and the equations independent, at every point that meets them. That the count does not exceed "
        "the unknowns does not mean that such a point exists: see whitening-feasibility.",
        {
            "constraints": (("norm", "d", "m", "g", "zeta", "rank", "unknowns", "missed by"), rows),
            "of N samples, d neurons": (("norm", "zeta", "counting allows", "feasible"), OF_A_DATA_SET),
        },
        {"rows": [row[:7] for row in rows]},
    )


def _zeta(name: str, d: int, m: int, g: int) -> int:
    """The paper's table, for a batch of m."""
    return {"BN": 2 * d, "BW": d * (d + 3) // 2, "GN": 2 * g * m, "GW": m * g * (g + 3) // 2}[name]


def figure(result: Result, figure: Any) -> None:
    axes = figure.subplots()
    rows = result.data["rows"]
    for i, (_, _, _, _, zeta, rank, unknowns) in enumerate(rows):
        axes.barh(i, unknowns, color=FAINT, height=0.62)
        axes.barh(i, rank, color=BLUE, height=0.62)
        axes.plot([zeta, zeta], [i - 0.42, i + 0.42], color=RED, lw=1.6)
    labels = [f"{n}  d={d}" + (f" m={m}" if m > 1 else "") + (f" g={g}" if g else "") for n, d, m, g, *_ in rows]
    axes.set_yticks(range(len(rows)), labels)
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel="numbers", xlim=(3, 900))
    axes.set_title("Unknowns (grey), independent equations (blue), the paper's count (red)")


def measure_feasibility(sweep: Sweep) -> Result:
    cells = (*INFEASIBLE, *SMALLEST)
    least = dict(zip(cells, sweep(nearest, cells), strict=True))
    numbers = []
    for d, m in INFEASIBLE:
        exact, what = d - m + 1, f"d = {d}, m = {m}: least |cov - I|^2 = d - m + 1"
        numbers.append(Number(what, least[d, m], None, exact - 1e-9, exact + 1e-9))
    systems = {c: ConstraintSystem(1, *c, whitens=True) for c in SMALLEST}
    gap = max(abs(least[c] - systems[c].least_residual) for c in SMALLEST)
    agree = sum((least[c] < 1e-9) == systems[c].feasible == (c[1] >= c[0] + 1) for c in SMALLEST)
    between = sum(s.allowed_by_counting and not s.feasible for s in systems.values())
    group = [(d, g) for d in (12, 20, 30, 56, 64, 128, 256) for g in range(2, d) if d % g == 0]
    answers = [(d, g, whitened(d, g)) for d, g in group]
    right = sum((not np.isnan(miss)) == (g * (g + 1) <= d) for d, g, miss in answers)
    maps = [(c, g, s) for c in (8, 12, 16, 32) for s in (4, 9) for g in range(2, c + 1) if c % g == 0]
    mapped = sum((not np.isnan(whitened(c, g, s))) == (c // g * s >= g + 1) for c, g, s in maps)
    numbers += [
        Number(f"{len(SMALLEST)} settings (d, m): largest error of the formula for the least residual", gap, high=1e-9),
        Number("settings in which feasible is m >= d + 1", agree, None, len(SMALLEST), len(SMALLEST)),
        Number("of these, allowed by counting and infeasible", between, asserted=False),
        Number(f"{len(group)} settings (d, g): group whitening answers where g (g + 1) <= d and refuses elsewhere", right, None,
               len(group), len(group)),
        Number(f"{len(maps)} settings (C, g, positions): (C / g) positions >= g + 1", mapped, None, len(maps),
               len(maps)),
        Number("worst |cov - I| of those with none", max(miss for *_, miss in answers if not np.isnan(miss)), high=1e-8),
        Number("d = 256, g = 16: refused (1) or not (0)", float(np.isnan(whitened(256, 16))), None, 1, 1,
               note="used by the authors for MNIST; 16 x 16 centred has rank 15, which eps hides"),
    ]  # fmt: skip
    d = 256
    counting, feasible = constraint_system.largest_group_count(d)
    return Result(
        numbers,
        "holds",
        f"A centred block of m samples has rank m - 1, so whitening takes m >= d + 1, group whitening g (g + 1) <= d: at "
        f"d = {d} g <= {feasible:.1f}, where counting allows {counting:.1f}. Between the two no output is white.",
        {"least residual": (("d", "m", "found", "d - m + 1"), [(d, m, least[d, m], max(0, d - m + 1)) for d, m in cells])},
        {"least": least, "answers": answers},
    )


def figure_feasibility(result: Result, figure: Any) -> None:
    figure.set_size_inches(9, 3.8)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
    for d, colour in zip((4, 6, 8), (BLUE, GREEN, RED), strict=True):
        m = np.arange(2, d + 4)
        left.plot(m, np.maximum(0, d - m + 1), color=colour, lw=1)
        left.plot(m, [max(result.data["least"][d, k], 0) for k in m], "o", color=colour)
        left.axvline((d + 3) / 2, 0, 0.06, color=colour, lw=3)
        left.annotate(f"d = {d}", (2, d - 1), (6, 2), textcoords="offset points", color=colour)
    left.set(xlabel="samples m", ylabel="least |cov - I|²")
    left.set_title("How near to white: found, and d - m + 1\n(bars: from where counting allows it)")
    neurons = np.linspace(8, 300, 200)
    counting, feasible = np.transpose([constraint_system.largest_group_count(x) for x in neurons])
    right.fill_between(neurons, feasible, counting, color=RED, alpha=0.13, lw=0)
    right.plot(neurons, counting, color=GREY, lw=1)
    right.plot(neurons, feasible, color=GREEN)
    for x, g, miss in result.data["answers"]:
        if g <= 32:
            right.plot(x, g, "x" if np.isnan(miss) else "o", color=RED if np.isnan(miss) else GREEN, ms=4, mew=1.2)
    right.annotate("counting allows", (300, counting[-1]), (-88, 4), textcoords="offset points", color=GREY)
    right.annotate("g (g + 1) <= d", (300, feasible[-1]), (-72, -34), textcoords="offset points", color=GREEN)
    right.set(xlabel="neurons d of a sample", ylabel="groups g", ylim=(0, 33))
    right.set_title("Group whitening: whitened (o), refused (x)")


CLAIMS = (
    Claim(
        "group-whitening",
        3,
        "how many independent equations a norm's output meets",
        GROUP_WHITENING,
        "Normalization imposes 2d (BN), d(d+3)/2 (BW), 2gm (GN), mg(g+3)/2 (GW) constraints on the output of a batch.",
        (0,),
        measure,
        figure,
        conditions="At points that meet the equations; whether there are any is another question than the count.",
    ),
    Claim(
        "whitening-feasibility",
        3,
        "which batches and groups can be whitened, beyond counting",
        GROUP_WHITENING,
        "Whitening d coordinates takes m >= d + 1 samples, not (d + 3) / 2; below it the least |cov - I|^2 is d - m + 1. Group "
        "whitening takes (C / g) positions >= g + 1.",
        (0, 1),
        measure_feasibility,
        figure_feasibility,
        origin="refnorm",
    ),
)
