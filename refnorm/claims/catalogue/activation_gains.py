"""NFNet's activation gains: A. Brock, S. De, S. L. Smith, arXiv 2101.08692.

The gain 1 / sqrt(Var f(z)), z ~ N(0, 1), lets a variance-preserving linear layer f hand on variance 1.  NFNet ships Monte Carlo
values; by quadrature (refnorm/operations/activation_gains.py) they are known to rounding, and relu's in closed form,
Var relu(z) = 1/2 - 1/(2 pi).
"""

from __future__ import annotations

import math
from typing import Any

from refnorm.anatomy.method import Citation
from refnorm.claims.claim import Claim, Number, Result
from refnorm.claims.style import BLUE, FAINT, RED
from refnorm.claims.sweep import Sweep
from refnorm.operations.activation_gains import PUBLISHED, exact, published

QUADRATURE = {"gelu": 1.70093, "silu": 1.78719, "tanh": 1.59254, "sigmoid": 4.80131, "elu": 1.27084}
"""To five decimals, from an integration that shares no code with refnorm."""


def measure(sweep: Sweep) -> Result:
    names = [name for name in PUBLISHED if name != "identity"]
    gains = dict(zip(names, sweep(exact, names), strict=True))
    relu = math.sqrt(2 / (1 - 1 / math.pi))
    numbers = [Number("gain of relu, sqrt(2 / (1 - 1/pi))", gains["relu"], 1.7139589, relu - 1e-12, relu + 1e-12)]
    for name, value in QUADRATURE.items():
        numbers.append(Number(f"gain of {name}", gains[name], round(published(name), 5), value - 1e-5, value + 1e-5))
    error = {name: published(name) / gains[name] - 1 for name in names}
    worst = max(error, key=lambda name: abs(error[name]))
    numbers.append(
        Number("largest relative error of a shipped gain", abs(error[worst]), high=1.5e-3, note=f"{worst}; Monte Carlo"),
    )
    rows = [(name, published(name), gains[name], error[name]) for name in names]
    return Result(
        numbers,
        "holds",
        f"The shipped gains are right to three digits; relu's is off by {abs(error['relu']):.1e}, in a network of 50 layers by "
        f"{100 * ((1 + error['relu']) ** 100 - 1):.0f}% of the variance.",
        {"gains": (("activation", "shipped", "exact", "relative error"), rows)},
        {"names": names, "error": [error[name] for name in names]},
    )


def figure(result: Result, figure: Any) -> None:
    names, error = result.data["names"], result.data["error"]
    order = sorted(range(len(names)), key=lambda i: error[i])
    axes = figure.subplots()
    axes.axvline(0, color=FAINT, lw=0.8)
    axes.hlines(range(len(names)), 0, [1e4 * error[i] for i in order], color=FAINT)
    axes.plot([1e4 * error[i] for i in order], range(len(names)), "o", color=BLUE)
    at = order.index(names.index("relu"))
    axes.plot([1e4 * error[order[at]]], [at], "o", color=RED)
    axes.set_yticks(range(len(names)), [names[i].replace("_", " ") for i in order])
    axes.set_xlabel("relative error of the gain that NFNet ships, in units of 1e-4")
    axes.set_title("Shipped gains are Monte Carlo values")


CLAIMS = (
    Claim(
        "activation-gains",
        15,
        "gains that keep the variance through an activation",
        Citation("A. Brock, S. De, S. L. Smith", "Characterizing signal propagation to close the performance gap", "ICLR", 2021,
                 "2101.08692"),
        "An activation's gain is 1 / sqrt(Var f(z)) for standard normal z; constants are shipped for 13 activations.",
        (),
        measure,
        figure,
    ),
)
