"""What each numbered example shows is so, and what it prints says it."""

import re
import shutil
from itertools import pairwise

import numpy as np
import pytest

import refnorm as rn
from refnorm.autodiff import vjp


def printed(module, capsys, *argv):
    """What main prints."""
    main = module.main
    main(list(argv)) if main.__code__.co_argcount else main()
    text = capsys.readouterr().out
    assert text.strip()
    return text


def test_every_example_says_how_it_is_run():
    from .conftest import FOLDER

    numbered = sorted(FOLDER.glob("[0-9][0-9]_*.py"))
    assert [int(p.name[:2]) for p in numbered] == list(range(1, len(numbered) + 1))
    for path in numbered:
        text = path.read_text()
        assert text.startswith(f'"""{int(path.name[:2])}. ') and f"python examples/{path.name}" in text


def test_1_batch_norm_by_hand(example, capsys):
    module = example(1)
    xhat, deviation = module.forward(module.X)
    np.testing.assert_allclose(xhat, [0.2, -0.2, 1.4, -1.4], rtol=1e-15)          # on paper: mean 10, deviation 5
    dx = module.backward(module.G, xhat, deviation)
    np.testing.assert_allclose(dx, [0.148, -0.048, -0.064, -0.036], rtol=1e-13)
    np.testing.assert_allclose(module.backward_in_six_sums(module.G, module.X), dx, rtol=1e-13)
    rng = np.random.default_rng(0)
    x, g = rng.normal(size=(2, 7))
    xhat, deviation = module.forward(x, eps=0.3)
    taped = vjp(lambda x: module.forward(x, eps=0.3)[0], x)[1](g)[0]
    np.testing.assert_allclose(module.backward(g, xhat, deviation), taped, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(module.backward_in_six_sums(g, x, eps=0.3), taped, rtol=1e-13, atol=1e-15)
    text = printed(module, capsys)
    assert text.count("0.1480   -0.0480   -0.0640   -0.0360") == 3 and "nan" not in text


def test_2_the_same_gradient_four_ways(example, capsys):
    module = example(2)
    right = module.by_formula(*module.problem())
    for name, way in module.WAYS.items():
        assert abs(way(*module.problem()) - right) <= (1e-9 if name == "differences" else 1e-14) * abs(right), name
    steps, errors = module.errors_by_step()
    best = int(np.argmin(errors))
    assert 1e-7 < steps[best] < 1e-4 and errors[0] > 1e4 * errors[best] < errors[-1]          # a V
    assert "the best" in printed(module, capsys)


def test_3_one_idea_many_methods(example, capsys):
    module = example(3)
    triples = [m for m in rn.NORMS.values() if m.triple]
    assert len(triples) >= 36 and max(map(module.difference, triples)) == 0
    text = printed(module, capsys)
    assert f"{len(triples)} of the {len(rn.NORMS)} methods" in text
    assert all(re.search(rf"\b{name}\b", text) for name in rn.NORMS)


def test_4_write_your_own(example, capsys):
    module = example(4)
    red = {f.proof for f in module.findings(module.forgetful_backward, module.WRONG) if not f.ok}
    assert {"tape", "differences", "curvature", "invariance:weight_vector_scale"} <= red and "loops" not in red
    assert [str(f) for f in module.findings(module.backward, module.RIGHT) if not f.ok] == []
    assert "0 of" in printed(module, capsys)
    assert "robust_layer_norm" not in rn.NORMS


def test_5_is_my_kernel_right_numpy(example):
    report = example(5).judge_numpy()
    assert not report.passed and "unbiased" in report.headline


def test_5_is_my_kernel_right_torch(example):
    pytest.importorskip("torch")
    assert example(5).judge_torch().headline == "right: torch's dialect"


def test_5_is_my_kernel_right_c(example, tmp_path):
    if not (shutil.which("cc") or shutil.which("gcc")):
        pytest.skip("there is no C compiler (gcc, cc) on the PATH")
    assert example(5).judge_c(tmp_path).headline == "right: torch's dialect"


def test_5_shows_a_report(example, capsys):
    module = example(5)
    module.show("A title", module.judge_numpy())
    text = capsys.readouterr().out
    assert "over m - 1" in text and "import numpy as np" in text


def test_6_one_pass_variance(example, capsys):
    module = example(6)
    exponents = {n: module.growth_exponent(module.KAPPAS, module.errors(a)) for n, a in module.ALGORITHMS.items()}
    one_pass = exponents.pop("E[x^2] - E[x]^2")
    assert 1.8 < one_pass < 2.2 and all(0.7 < q < 1.3 for q in exponents.values())
    assert "allclose(y, right, atol=1e-5) says True" in printed(module, capsys)


@pytest.mark.parametrize("number", [2, 6, 8])
def test_figures_are_drawn(example, capsys, tmp_path, number):
    pytest.importorskip("matplotlib")
    printed(example(number), capsys, "--figure", str(tmp_path / "figure.svg"))
    assert (tmp_path / "figure.svg").read_text().count("<path") > 20


def test_7_whitening_and_its_noise(example, capsys):
    """Strict order at 16 channels; all but PCA fall like 1 / sqrt(m)."""
    module = example(7)
    at = {name: module.scatter(name, 64, points=2) for name in module.METHODS}
    assert at["batch norm"] < at["iterative, T = 5"] < at["ZCA"] < at["Cholesky"] < at["PCA"]
    falls = {name: module.scatter(name, 64) / module.scatter(name, 1024) for name in ("batch norm", "ZCA", "Cholesky", "PCA")}
    assert 0.8 < falls.pop("PCA") < 1.25 and all(3.2 < f < 5 for f in falls.values())
    rows = list(module.by_dimension().values())
    assert all(a[0] < b[0] for a, b in pairwise(rows))
    module.SIZES = (32, 64, 128, 256)
    assert "1 / sqrt(m)" in printed(module, capsys)


def test_8_weights_on_a_sphere(example):
    module = example(8)
    w, chosen = np.random.default_rng(0).normal(size=16), np.arange(32)
    g = module.gradient(w, chosen)
    h = 1e-6

    def loss(w):
        y = module.X[chosen] @ w
        return np.mean(((y - y.mean()) / y.std() - module.TARGET[chosen]) ** 2) / 2

    steps = np.array([(loss(w + h * e) - loss(w - h * e)) / (2 * h) for e in np.eye(16)])
    np.testing.assert_allclose(g, steps, atol=1e-8)
    assert abs(g @ w) < 1e-14
    norms, angles, defects = module.descend(500, lr=0.5)
    assert np.all(np.diff(norms) > 0) and np.max(np.abs(defects)) < 1e-13
    assert module.rms(angles[:50]) > 3 * module.rms(angles[-50:])
    for lr, decay in ((0.4, 0.02), (0.2, 0.04)):
        _, angles, _ = module.descend(6000, lr, decay)
        assert abs(module.rms(angles[3000:]) / np.sqrt(2 * lr * decay) - 1) < 0.02
    on_sphere, _, _ = module.descend(200, lr=0.02, sphere=True)
    assert np.max(np.abs(on_sphere - 1)) < 1e-12


def test_9_train_digits(example, capsys):
    pytest.importorskip("sklearn")
    module = example(9)
    for settings in ({"norm": "batch_norm", "optimizer": "sam-on"}, {"norm": "group_norm", "place": "post"}):
        found = module.run(**settings, steps=120)
        assert found["accuracy"] > 0.9 and found["loss"] < 0.5 and 0 < found["share"] < 0.1
    text = printed(module, capsys, "--norm", "rms_norm", "--weight-norm", "weight_norm", "--steps", "20")
    assert "rms_norm pre" in text and "weight_norm" in text
    with pytest.raises(SystemExit):
        module.main(["--norm", "layernorm"])
    assert "no method is called 'layernorm'" in capsys.readouterr().err


def test_10_how_many_constraints(example, capsys):
    module = example(10)
    for _, count, _, counted, feasible, least, found in module.whitening_table():
        assert count == 44 and abs(found - least) < 1e-6 and feasible == (least == 0) and (counted or not feasible)
    assert all(count == rank for _, _, count, rank, _ in module.ranks())
    frees = [free for *_, free in module.group_norm_table()]
    assert frees == sorted(frees, reverse=True)
    assert "counting allows 21 groups, 15 can be white" in printed(module, capsys)
