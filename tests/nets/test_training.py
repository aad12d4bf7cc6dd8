"""Optimizers, sharpness, training and federated averaging: identities that hold exactly, and PyTorch beside them."""

import numpy as np
import pytest

from refnorm.nets import ASAM, MLP, SAM, SAM_ON, SGD, SphereSGD, federated_average, loss_and_gradients, to_vector, train
from refnorm.nets.federated import averaged
from refnorm.nets.training import batches

RNG = np.random.default_rng(0)
X, LABELS = RNG.normal(size=(40, 6)), RNG.integers(0, 3, 40)
NET = MLP((6, 8, 3), norm="batch_norm")


def same(a, b):
    return all(np.array_equal(a[k], b[k]) for k in a) and list(a) == list(b)


def test_sgd_is_pytorchs():
    torch = pytest.importorskip("torch")
    w, gs = RNG.normal(size=(3, 4)), RNG.normal(size=(5, 3, 4))
    mine = SGD(lr=0.1, momentum=0.9, weight_decay=0.01)
    parameters, memory = {"w": w}, mine.start({"w": w})
    t = torch.tensor(w, requires_grad=True)
    theirs = torch.optim.SGD([t], lr=0.1, momentum=0.9, weight_decay=0.01)
    for g in gs:
        parameters, memory = mine.update(parameters, {"w": g}, memory)
        t.grad = torch.tensor(g)
        theirs.step()
    np.testing.assert_allclose(parameters["w"], t.detach().numpy(), atol=1e-15)


@pytest.mark.parametrize("options", [{"lr": -1}, {"momentum": 1.0}, {"weight_decay": np.nan}])
def test_sgd_refuses(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        SGD(**options)


@pytest.mark.parametrize("dim", [0, None])
def test_the_sphere_keeps_lengths_and_descends(dim):
    optimizer = SphereSGD(lr=0.1, momentum=0.9, weight_decay=0.1, dim=dim)
    start = NET.parameters(0)
    trained = train(NET, X, LABELS, steps=30, optimizer=optimizer, batch_size=20, parameters=start)
    axis = 1 if dim == 0 else None
    lengths = [np.linalg.norm(p["layer1.weight"], axis=axis) for p in (start, trained.parameters)]
    np.testing.assert_allclose(*lengths, rtol=1e-13)
    assert not np.allclose(start["layer1.weight"], trained.parameters["layer1.weight"])
    assert trained.losses[-5:].mean() < trained.losses[:5].mean()


def test_on_the_sphere_a_small_step_is_sgds():
    """To first order in the step, for a weight whose gradient is tangent (behind batch norm, eps 0)."""
    net = MLP((6, 8, 3), norm="batch_norm", norm_options={"eps": 0.0})
    p = net.parameters(0)
    g = loss_and_gradients(net, p, X, LABELS).gradients
    gaps = []
    for lr in (1e-2, 1e-3):
        moved = [o.update(p, g, o.start(p))[0]["layer1.weight"] for o in (SGD(lr), SphereSGD(lr))]
        gaps.append(np.linalg.norm(moved[0] - moved[1]))
    assert 80 < gaps[0] / gaps[1] < 120


def gradients():
    p = NET.parameters(1)
    return p, loss_and_gradients(NET, p, X, LABELS).gradients


@pytest.mark.parametrize("only", ["all", "norm", "no_norm"])
@pytest.mark.parametrize("adaptive", [None, "elementwise", "layerwise"])
def test_the_perturbation_has_length_rho_in_its_metric(adaptive, only):
    """||T^-1 eps|| = rho; and of the parameters that are not perturbed, the very same arrays."""
    p, g = gradients()
    sam = SAM(0.3, adaptive=adaptive, only=only)
    e = sam.perturbation(p, g)
    assert abs(np.sqrt(sum(np.sum((e[n] / sam.scaling(n, p[n])) ** 2) for n in e)) - 0.3) < 1e-12
    moved = sam.ascended(p, g)
    assert list(moved) == list(p)
    for n in p:
        assert (moved[n] is p[n]) == (n not in e)
    assert set(e) == {n for n in p if only == "all" or ("norm" in n) == (only == "norm")}


def test_the_infinity_norm_perturbs_each_entry_alike():
    p, g = gradients()
    e = SAM(0.3, p=np.inf).perturbation(p, g)
    assert all(np.array_equal(e[n], 0.3 * np.sign(g[n])) for n in p)


def test_sam_is_the_gradient_at_the_perturbed_point():
    p, g = gradients()
    sam = SAM(0.1)

    def evaluate(at):
        return loss_and_gradients(NET, at, X, LABELS)

    moved = {n: p[n] + 0.1 * g[n] / np.linalg.norm(to_vector(g)) for n in p}
    answer = sam.evaluated(p, evaluate)
    np.testing.assert_allclose(to_vector(answer.gradients), to_vector(evaluate(moved).gradients), atol=1e-14)
    assert answer.loss == evaluate(p).loss
    assert np.array_equal(answer.state["norm1"].mean, evaluate(p).state["norm1"].mean)


def test_a_radius_of_zero_is_sgd():
    runs = [train(NET, X, LABELS, steps=5, optimizer=o, batch_size=20).parameters for o in (SGD(0.1), SAM(0.0, SGD(0.1)))]
    assert same(*runs)


def test_asam_does_not_see_a_rescaling_that_the_function_does_not_see():
    """relu(3 w1) w2 / 3: the same function; elementwise ASAM at eta 0 perturbs it alike, SAM does not."""
    net = MLP((6, 8, 3), bias=False)
    p = {**net.parameters(0), "output.bias": np.zeros(3)}
    scaled = {**p, "layer1.weight": 3 * p["layer1.weight"], "output.weight": p["output.weight"] / 3}

    def worst(sam, at):
        g = loss_and_gradients(net, at, X, LABELS).gradients
        return loss_and_gradients(net, sam.ascended(at, g), X, LABELS).loss

    asam, sam = ASAM(0.5, eta=0.0), SAM(0.5)
    assert abs(worst(asam, p) - worst(asam, scaled)) < 1e-12 < 1e-3 < abs(worst(sam, p) - worst(sam, scaled))
    assert SAM_ON(0.1) == SAM(0.1, only="norm")


def test_sam_refuses():
    for options, match in (({"p": 1}, "p is 1"), ({"only": "bn"}, "only is 'bn'"), ({"adaptive": "yes"}, "adaptive is 'yes'")):
        with pytest.raises(ValueError, match=match):
            SAM(**options)


def test_batches_are_permutations():
    draws = batches(10, 3, 0)
    first, second = ([next(draws) for _ in range(3)] for _ in range(2))
    assert len(set(np.concatenate(first))) == len(set(np.concatenate(second))) == 9
    assert not np.array_equal(first, second)
    with pytest.raises(ValueError, match=r"batch_size is 11; it must lie in 1\.\.10"):
        next(batches(10, 11, 0))


def test_training_is_a_function_of_its_seed_and_writes_to_nothing():
    start = NET.parameters(0)
    copy = {k: v.copy() for k, v in start.items()}
    runs = [train(NET, X, LABELS, steps=6, optimizer=SGD(0.1, 0.9), batch_size=8, seed=3, parameters=start) for _ in range(2)]
    assert same(runs[0].parameters, runs[1].parameters) and np.array_equal(runs[0].losses, runs[1].losses)
    assert same(start, copy)
    other = train(NET, X, LABELS, steps=6, optimizer=SGD(0.1, 0.9), batch_size=8, seed=4, parameters=start)
    assert not np.array_equal(other.losses, runs[0].losses)


def test_progress_hears_of_every_step_and_may_end_it():
    heard = []

    def progress(step):
        heard.append(step)
        return step.step < 2

    trained = train(NET, X, LABELS, steps=9, optimizer=SGD(0.1), batch_size=8, progress=progress)
    assert [s.step for s in heard] == [0, 1, 2] and len(trained.losses) == 3
    np.testing.assert_allclose(heard[0].updated["output.bias"], -0.1 * heard[0].gradients["output.bias"])
    assert same(heard[0].updated, heard[1].parameters) and heard[1].state["norm1"].count == 1


def test_divergence_is_said():
    trained = train(MLP((6, 8, 3)), X, LABELS, steps=50, optimizer=SGD(1e6), batch_size=8)
    assert trained.diverged and not np.isfinite(trained.losses[-1])


def test_federated_averaging_over_one_client_is_sgd():
    """Ten rounds of three local steps are thirty steps: memory is fresh each round, which plain SGD does not notice."""
    rng = np.random.default_rng(5)
    start = NET.parameters(rng)
    (draw,) = rng.spawn(1)
    alone, state = start, {}
    for _ in range(10):
        local = train(NET, X, LABELS, steps=3, optimizer=SGD(0.1), batch_size=8, seed=draw, parameters=alone, state=state)
        alone, state = local.parameters, local.state
    served = federated_average(NET, [(X, LABELS)], rounds=10, local_steps=3, optimizer=SGD(0.1), batch_size=8, seed=5)
    assert same(alone, served.parameters) and np.array_equal(state["norm1"].mean, served.state["norm1"].mean)


def test_the_average_weighs_clients_by_their_samples():
    mean = averaged([{"w": np.zeros(2)}, {"w": np.ones(2)}], [10, 30])
    np.testing.assert_array_equal(mean["w"], [0.75, 0.75])


def test_a_network_learns_the_digits():
    pytest.importorskip("sklearn")
    from refnorm.data.digits import load_digits

    digits = load_digits()
    trained = train(MLP((64, 32, 10), norm="batch_norm"), digits.rows, digits.labels, steps=150, optimizer=SGD(0.2))
    assert trained.accuracy(digits.test_rows, digits.test_labels) > 0.9
    assert digits.images.shape == (1437, 1, 8, 8) and not digits.images.flags.writeable
