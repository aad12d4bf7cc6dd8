"""MathML, written: the elements that formulas are made of, and how names look.

MathML Core is read by every current browser, and by screen readers, without a script.
"""

from __future__ import annotations

from html import escape

GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "eps": "ε", "lambda": "λ", "mu": "μ", "rho": "ρ", "sigma": "σ",
    "tau": "τ", "Gamma": "Γ", "Lambda": "Λ", "Sigma": "Σ",
}  # fmt: skip
HATS = {"xhat": "x", "yhat": "y", "zhat": "z", "what": "w"}
FUNCTIONS = set("mean var max min tanh sigmoid softmax clip stop tr rms exp log sign diag".split())
NAMES = FUNCTIONS | {"gain", "offset", "factor", "step", "logits", "covariance", "den"}


def row(*parts: str) -> str:
    return f"<mrow>{''.join(parts)}</mrow>"


def number(text: str) -> str:
    return f"<mn>{escape(text)}</mn>"


def operator(sign: str, *, stretchy: bool = False) -> str:
    return f"<mo>{escape(sign)}</mo>" if stretchy else f'<mo stretchy="false">{escape(sign)}</mo>'


def words(text: str) -> str:
    return f"<mtext>{escape(text)}</mtext>"


def name(text: str) -> str:
    """A name as mathematics writes it: greek, hatted, upright where it has several letters."""
    if text in HATS:
        return f'<mover accent="true"><mi>{HATS[text]}</mi><mo>^</mo></mover>'
    if text in GREEK:
        return f"<mi>{GREEK[text]}</mi>"
    if text[-1:].isdigit() and text[:-1] in {"s", "sigma"}:               # s2, the variance
        return power(name(text[:-1]), number(text[-1]))
    if text[0] == "d" and (text[1:] in HATS or (len(text) == 2 and text[1] not in "fg")):            # dx, a gradient or a nudge
        return row('<mi mathvariant="normal">d</mi>', name(text[1:]))
    if text in {"rstd", "inv_std"}:
        return "<mi>r</mi>"
    if len(text) == 1:
        return f"<mi>{escape(text)}</mi>"
    return f'<mi mathvariant="normal">{escape(text)}</mi>'


def power(base: str, exponent: str) -> str:
    return f"<msup>{row(base)}{row(exponent)}</msup>"


def index(base: str, below: str) -> str:
    return f"<msub>{row(base)}{row(below)}</msub>"


def fraction(above: str, below: str) -> str:
    above, below = (part.inside if isinstance(part, Fenced) else part for part in (above, below))
    return f"<mfrac>{row(above)}{row(below)}</mfrac>"


def root(inside: str) -> str:
    return f"<msqrt>{inside}</msqrt>"


class Fenced(str):
    """A bracketed expression, which a fraction's line makes superfluous."""

    inside: str


def fenced(inside: str, left: str = "(", right: str = ")") -> Fenced:
    whole = Fenced(row(operator(left, stretchy=True) + inside + operator(right, stretchy=True)))
    whole.inside = inside if left == "(" else whole
    return whole


def applied(function: str, argument: str) -> str:
    return row(name(function) + operator("\u2061") + fenced(argument))


def math(body: str, text: str, *, block: bool = False) -> str:
    """A whole formula; `text` is what it says in plain characters, for whoever cannot see it."""
    display = ' display="block"' if block else ""
    return f'<math displaystyle="true"{display} alttext="{escape(text, quote=True)}"><mrow>{body}</mrow></math>'
