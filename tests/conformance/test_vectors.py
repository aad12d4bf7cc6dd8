"""Golden vectors: every format holds the same bits, the reference passes them, and mutants do not."""

import numpy as np
import pytest

from refnorm import NORMS
from refnorm.anatomy.precision import narrow
from refnorm.conformance import Unusable
from refnorm.conformance.conventions import convention_of, reference_arguments
from refnorm.conformance.expected import Expected
from refnorm.conformance.golden import Vectors
from refnorm.conformance.strata import STRATA
from refnorm.conformance.tolerance_arithmetic import NAMES
from refnorm.conformance.tolerance_verdict import compare
from refnorm.conformance.vectors import offered, rounded_up, write_vectors
from refnorm.conformance.vectors_formats import FORMATS, read_vectors


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """One folder a format, layer_norm's quick vectors in each."""
    made = {name: tmp_path_factory.mktemp(name) for name in FORMATS}
    for name, folder in made.items():
        write_vectors(folder, "layer_norm", name, quick=True)
    return made


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The default run, as raw."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, write_vectors(folder, "layer_norm", "raw")


def reference(norm, case):
    """refnorm's own results on one vector, each rounded once to its storage type."""
    method, convention = NORMS[norm], convention_of(NORMS[norm])
    inputs = dict(case.inputs)
    dy = inputs.pop("dy").astype(np.float64)
    placing = {"channel_axis": case.options.get("channel_axis", 1), "normalized_ndim": case.options.get("normalized_ndim", 1)}
    arguments = reference_arguments(method, {**inputs, **case.options}, **placing)
    wide = {k: v.astype(np.float64) if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
    y, cache, *state = method.forward(**wide)
    found = {"y": y, **dict(zip(convention.state, state[0] if state else (), strict=False))}
    gradients = method.backward(dy, cache)
    found |= {f"d{name}": g for name, g in zip(method.arrays, gradients, strict=True) if g is not None}
    return {name: narrow(np.asarray(found[name]), NAMES[result.dtype]) for name, result in case.results.items()}


def mutant(case, *, eps=1.0, unbiased=False, mean_term=True):
    """A layer norm in float64 with one fault: eps times a factor, variance over n - 1, or dx without mean(g)."""
    x, dy = (case.inputs[name].astype(np.float64) for name in ("x", "dy"))
    k = case.options["normalized_ndim"]
    axes = tuple(range(x.ndim - k, x.ndim))
    gamma, beta = (case.inputs[n].astype(np.float64) if n in case.inputs else d for n, d in (("gamma", 1.0), ("beta", 0.0)))
    mu, n = x.mean(axes, keepdims=True), np.prod(x.shape[-k:])
    var = np.square(x - mu).sum(axes, keepdims=True) / (max(n - 1, 1) if unbiased else n)
    r = 1 / np.sqrt(var + eps * case.options["eps"])
    g, xhat = dy * gamma, (x - mu) * r
    dx = r * (g - mean_term * g.mean(axes, keepdims=True) - xhat * (g * xhat).mean(axes, keepdims=True))
    return {"y": gamma * xhat + beta, "dx": dx}


def wrong(case, found):
    """The results of a case that fail its vectors."""
    judged = ((name, compare(a, case.results[name].expected, case.results[name].tolerance)) for name, a in found.items())
    return [name for name, verdict in judged if not verdict.ok]


def bits(array):
    return array.dtype, array.shape, np.ascontiguousarray(array).tobytes()


@pytest.mark.parametrize("other", ["safetensors", "json", "raw"])
def test_every_format_holds_the_same_bits(folders, other):
    header, cases = read_vectors(folders["npz"])
    also, mine = read_vectors(folders[other])
    assert also == header
    by_name = {case.name: case for case in cases}
    assert other == "json" or len(mine) == len(cases)
    assert len(mine) > 100
    for case in mine:
        twin = by_name[case.name]
        assert case.words() == twin.words()
        for (name, a), (_, b) in zip(case.arrays(), twin.arrays(), strict=True):
            assert bits(a) == bits(b), (case.name, name)


def test_an_option_that_is_a_list_survives_every_format(tmp_path):
    write_vectors(tmp_path, "mean_variance_norm", "npz", dtypes="float32", quick=True)
    header, cases = read_vectors(tmp_path)
    for name, form in FORMATS.items():
        (tmp_path / name).mkdir()
        form.write(tmp_path / name, Vectors(header, [case for case in cases if case.inputs["x"].size < 200]))
        axes = [case.options["axes"] for case in read_vectors(tmp_path / name).cases]
        assert (0,) in axes and (0, 2) in axes


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_arguments_give_the_same_bytes(tmp_path, folders, name):
    write_vectors(tmp_path, "layer_norm", name, quick=True)
    for path in folders[name].iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes()


def test_another_seed_gives_other_numbers_of_the_same_cases(tmp_path, folders):
    write_vectors(tmp_path, "layer_norm", "npz", quick=True, seed=1)
    first, other = read_vectors(folders["npz"]).cases, read_vectors(tmp_path).cases
    assert [case.name for case in first] == [case.name for case in other]
    assert any(bits(a.inputs["x"]) != bits(b.inputs["x"]) for a, b in zip(first, other, strict=True))


def test_the_default_run_has_every_stratum_and_a_sane_size(whole):
    folder, summary = whole
    cases = read_vectors(folder).cases
    assert summary.size < 32 * 2**20 and summary.cases == len(cases) > 500
    without = {"layouts", "momentum", "evaluation", "mask", "shards"}      # contiguous arrays; layer norm has no others
    assert {s.replace(" ", "-") for s in STRATA if s not in without} == set(summary.strata)
    assert any("contiguous" in reason for reason in summary.left_out)
    assert max(case.inputs["x"].shape[0] for case in cases) > 65535
    assert len({case.name for case in cases}) == len(cases)
    tolerances = np.concatenate([r.tolerance.ravel() for case in cases for r in case.results.values()])
    assert np.isnan(tolerances).any() and np.isfinite(tolerances).mean() > 0.95


@pytest.mark.parametrize("name", FORMATS)
def test_the_reference_passes_and_mutants_fail_in_every_format(folders, name):
    cases = read_vectors(folders[name]).cases
    assert [case.name for case in cases if wrong(case, reference("layer_norm", case))] == []
    for fault, results in (({"eps": 10.0}, {"y", "dx"}), ({"unbiased": True}, {"y", "dx"}), ({"mean_term": False}, {"dx"})):
        for dtype in NAMES:
            caught = {r for case in cases if case.dtype == dtype for r in wrong(case, mutant(case, **fault))}
            assert caught == results, (fault, dtype)
    assert not any(wrong(case, mutant(case)) for case in cases if case.dtype == "float32")


@pytest.mark.parametrize("norm", [name for name in offered() if name != "layer_norm"])
def test_the_reference_passes_the_vectors_of_every_norm(tmp_path, norm):
    write_vectors(tmp_path, norm, "raw", quick=True)
    header, cases = read_vectors(tmp_path)
    assert header["norm"] == norm
    assert [case.name for case in cases if wrong(case, reference(norm, case))] == []


def test_a_reversed_momentum_fails(tmp_path):
    write_vectors(tmp_path, "batch_norm", "npz", dialect="torch", dtypes=["float32"], quick=True)
    caught = set()
    for case in read_vectors(tmp_path).cases:
        if case.options["training"]:
            case.options["momentum"] = 1 - case.options["momentum"]
            caught.update(wrong(case, reference("batch_norm", case)))
    assert caught == {"running_mean", "running_var"}


def test_the_parameters_may_be_wider_than_the_activations(tmp_path):
    summary = write_vectors(tmp_path, "layer_norm", "raw", dtypes=[{"x": "bfloat16", "params": "float32"}], quick=True)
    assert summary.dtypes == ("bfloat16.params-float32.grads-float32.state-float32",)
    header, cases = read_vectors(tmp_path)
    assert header["arithmetic"][summary.dtypes[0]]["params"] == "float32"
    for case in cases:
        assert case.inputs["x"].dtype.name == case.results["y"].dtype == case.results["dx"].dtype == "bfloat16"
        assert all(case.results[name].dtype == "float32" for name in ("dgamma", "dbeta") if name in case.results)
        assert not wrong(case, reference("layer_norm", case))


def test_a_tolerance_pays_for_the_rounding_of_what_it_belongs_to():
    tiny = np.longdouble(2.0**-60)
    exact = np.array([1 + tiny, 3.0, 5.0, 1.0], np.longdouble)
    bound = np.array([tiny / 4, np.inf, np.nan, tiny * (1 + tiny)], np.longdouble)
    expected, tolerance = rounded_up(Expected(exact, bound, 1.0))
    assert expected.dtype == tolerance.dtype == np.float64
    if np.finfo(np.longdouble).eps < np.finfo(np.float64).eps:
        assert expected[0] == 1 and tolerance[0] == tiny * 1.25
        assert tolerance[3] > tiny and tolerance[3].astype(np.longdouble) >= bound[3]
    assert np.isinf(tolerance[1]) and np.isnan(tolerance[2])


def test_the_safetensors_package_reads_them(folders, peer):
    file = peer("safetensors.numpy").load_file(folders["safetensors"] / "vectors.safetensors")
    cases = read_vectors(folders["safetensors"]).cases
    assert len(file) == sum(1 for case in cases for _ in case.arrays())
    for case in cases:
        for name, array in case.arrays():
            assert bits(file[f"{case.name}/{name}"]) == bits(array)


@pytest.mark.parametrize(
    "change, names",
    [
        ({"format": "hdf5"}, "format 'hdf5' is unknown; it must be one of npz, safetensors, json, raw"),
        ({"norm": "layernorm"}, "norm 'layernorm' is unknown; it must be one of "),
        ({"norm": "dynamic_tanh"}, "norm 'dynamic_tanh' has no golden vectors; there are some of batch_norm"),
        ({"dialect": "jax"}, "dialect 'jax' is unknown to layer_norm; it must be one of torch, flax, keras, onnx"),
        ({"dtypes": ["int8"]}, "dtype 'int8' is unknown; it must be one of float64, float32, float16, bfloat16"),
        ({"dtypes": [{"y": "float32"}]}, "dtypes names the roles y; it must name x"),
        ({"dtypes": []}, "dtypes is empty"),
        ({"seed": -1}, "seed is -1; it must be a whole number, 0 or more"),
        ({"out": __file__}, f"cannot write to {__file__}: File exists"),
    ],
)
def test_bad_input_is_one_line(tmp_path, change, names):
    with pytest.raises(Unusable) as error:
        write_vectors(**{"out": tmp_path, "norm": "layer_norm", "quick": True, **change})
    assert names in str(error.value) and "\n" not in str(error.value)


def test_a_folder_without_vectors_says_so(tmp_path):
    with pytest.raises(ValueError, match=r"holds none of them; it must hold one of vectors\.npz, vectors\.safetensors"):
        read_vectors(tmp_path)
