"""What the pages show is what the declarations say: cubes, formulas, equations, curves, dialects, citations."""

import re

import numpy as np
import pytest

import refnorm as rn
from refnorm.anatomy.method import NORMS
from refnorm.atlas import accuracy, cube, equations, formula, portrait, slider, sources, text

from .page import Page


@pytest.mark.parametrize("name", NORMS)
def test_every_formula_is_mathml(name):
    shown = formula.lines(NORMS[name].formula)
    page = Page("".join(shown))
    assert page.unclosed == [] and len(page.all("math")) == len(shown)
    for fraction in page.all("mfrac", "msup", "msub"):
        children = [e for e in page.elements if e.inside[: len(fraction.inside) + 1] == (*fraction.inside, fraction.tag)]
        assert children
    assert "".join(m.attributes["alttext"] for m in page.all("math")).replace(" ", "") == re.sub(
        r";\s+(?![^\[]*\])", "", NORMS[name].formula
    ).replace(" ", "")


@pytest.mark.parametrize(
    ("plain", "written"),
    [
        ("a / b c", "<mfrac><mrow><mi>a</mi></mrow><mrow><mi>b</mi></mrow></mfrac><mi>c</mi>"),
        ("3/2 B", "<mfrac><mrow><mn>3</mn></mrow><mrow><mn>2</mn></mrow></mfrac><mi>B</mi>"),
        ("x^2", "<msup><mrow><mi>x</mi></mrow><mrow><mn>2</mn></mrow></msup>"),
        ("U'", '<msup><mrow><mi>U</mi></mrow><mrow><mo stretchy="false">⊤</mo></mrow></msup>'),
        ("(a + b) / c", '<mfrac><mrow><mi>a</mi><mo stretchy="false">+</mo><mi>b</mi></mrow><mrow><mi>c</mi></mrow></mfrac>'),
    ],
)
def test_how_formulas_are_read(plain, written):
    assert written in formula.formula(plain)


def test_a_sign_that_no_formula_has_is_refused():
    with pytest.raises(ValueError, match="signs that are not known"):
        formula.formula("a & b")


def test_equations_are_read_off_the_lines():
    source, lines = equations.statements(rn.operations.standardize.backward)
    code = source.splitlines()
    found = {code[line.first - 1].strip(): line.equation for line in lines}
    one = found["return saved.rstd * (g - average(g) - zhat * average(g * zhat))"]
    assert "<mi>r</mi>" in one and one.count("mean") == 2 and found["zhat = apply(z, saved)"] == ""
    assert Page(one).unclosed == []


def test_sources_are_the_functions_own():
    chief, called = sources.listings(NORMS["batch_norm"])
    assert [listing.where for listing in chief] == [f"refnorm.operations.standardize.{n}" for n in ("forward", "backward")]
    assert {"moments", "apply", "average"} <= {listing.title for listing in called}
    code = "".join(re.sub(r"<[^>]+>", "", row) + "\n" for row, _ in chief[1].rows)
    assert "zhat = apply(z, saved)" in code and code.count("\n") >= 4


@pytest.mark.parametrize("name", [name for name, m in NORMS.items() if m.triple])
def test_cubes_are_drawn_from_the_partition(name):
    drawn = cube.cubes(NORMS[name])
    assert drawn
    for c in drawn:
        counted = np.bincount(c.rows.ravel())
        assert len(counted) == c.count and (counted == c.entries).all() and c.entries > 1 and c.count % c.joint == 0
        assert Page(c.svg("words")).unclosed == []


def test_the_cubes_that_everybody_knows():
    def rows(name, k=0):
        return cube.cubes(NORMS[name])[k].rows

    n, c, _ = np.indices(rows("batch_norm").shape)
    for name, key in {"batch_norm": c, "instance_norm": n * 100 + c, "layer_norm": n, "weight_norm": n}.items():
        pairs = set(zip(rows(name).ravel().tolist(), key.ravel().tolist(), strict=True))
        assert len(pairs) == rows(name).max() + 1 == len(np.unique(key)), name
    assert set(np.unique(rows("layer_norm", 1))) == set(range(n[:, 0, 0].size * c[0, :, 0].size))


def test_accuracy_tells_one_pass_from_two():
    curves = accuracy.measure(rn.NORMS["layer_norm"], draws=3).bits
    one, two = curves["E[x²] − E[x]², float32"], curves["the same text, float32 throughout"]
    assert np.max(curves["refnorm: float64 inside, rounded once"]) <= 1
    assert one[8] - two[8] > 6 and np.polyfit(range(2, 9), one[2:9], 1)[0] > 1.5 > np.polyfit(range(2, 13), two[2:13], 1)[0]


@pytest.mark.parametrize("name", [n for n, m in NORMS.items() if slider.playground(m)])
def test_what_the_browser_is_given_is_the_layer(name):
    """h and dL/dW by the browser's formulas, in NumPy, are refnorm's."""
    play = slider.playground(NORMS[name])
    d = {k: np.asarray(v) if isinstance(v, list) else v for k, v in play.data.items()}
    z = d["W"] if d["acts"] == "weights" else d["X"] @ d["W"].T
    centred, zhat, r = z.copy(), np.empty_like(z), np.empty_like(z)
    rows = d["labels"].reshape(z.shape)
    for k in range(rows.max() + 1):
        here = rows == k
        centred[here] -= 0 if d["kind"] == "rms" else z[here].mean()
        r[here] = 1 / np.sqrt(np.mean(centred[here] ** 2))
        zhat[here] = centred[here] * r[here]
    y = d["gain"].reshape(z.shape) * zhat + d["shift"].reshape(z.shape)
    h = d["X"] @ y.T if d["acts"] == "weights" else y
    np.testing.assert_allclose(h, play.layer(play.layer.weight, play.layer.data), rtol=0, atol=1e-13)
    g = (d["dy"].T @ d["X"] if d["acts"] == "weights" else d["dy"]) * d["gain"].reshape(z.shape)
    dz = np.empty_like(z)
    for k in range(rows.max() + 1):
        here = rows == k
        mean = 0 if d["kind"] == "rms" else g[here].mean()
        dz[here] = r[here] * (g[here] - mean - zhat[here] * np.mean(g[here] * zhat[here]))
    dw = dz if d["acts"] == "weights" else dz.T @ d["X"]
    np.testing.assert_allclose(dw, play.layer.gradients(play.layer.weight, play.layer.data)[0], rtol=0, atol=1e-12)


def test_dialects_stand_side_by_side():
    shown = portrait._dialects(NORMS["batch_norm"])
    rows = {r["name"]: r for r in shown["rows"]}
    assert shown["columns"] == list(NORMS["batch_norm"].dialects)
    assert rows["eps"]["cells"][shown["columns"].index("keras")] == "0.001" and rows["eps"]["differs"]
    assert rows["momentum weighs"]["cells"][:2] == ["the new batch", "the old value"]


def test_bibtex():
    entry = text.bibtex(NORMS["batch_norm"].cite)
    assert entry.startswith("@inproceedings{ioffe2015batch,")
    assert "{S. Ioffe and C. Szegedy}" in entry and "{1502.03167}" in entry
    assert "and others}" in text.bibtex(NORMS["query_key_layer_norm"].cite)
    keys = [text.bibtex(m.cite).split(",")[0] for m in NORMS.values()]
    assert all(re.fullmatch(r"@\w+\{[a-z]+\d{4}[a-z]+", key) for key in keys)


@pytest.mark.parametrize("name", NORMS)
def test_docstrings_are_whole(name):
    page = Page(text.docstring(NORMS[name].doc))
    assert page.unclosed == [] and page.all("p")
    said = re.sub(r"\W", "", re.sub(r"(?m)^-+$", "", NORMS[name].doc))
    assert sorted(re.sub(r"\W", "", "".join(e.text for e in page.all("p", "pre", "dt", "dd", "h3")))) == sorted(said)
