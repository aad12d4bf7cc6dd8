"""ONNX's specification, by its own evaluator, in float64; its errors are in refnorm/conformance/presets/onnx.py."""

import numpy as np
import pytest

import refnorm as rn

RNG = np.random.default_rng(0)
X, GAMMA, BETA = RNG.normal(1, 2, size=(4, 6, 5)), RNG.normal(size=6), RNG.normal(size=6)
MEAN, VAR = RNG.normal(size=6), RNG.uniform(0.5, 2, 6)


def evaluate(peer, operator, opset, arrays, outputs=1, **attributes):
    onnx = peer("onnx")
    from onnx.reference import ReferenceEvaluator

    inputs, results = [f"i{k}" for k in range(len(arrays))], [f"o{k}" for k in range(outputs)]
    info = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.DOUBLE, None) for n in (*inputs, *results)]
    node = onnx.helper.make_node(operator, inputs, results, **attributes)
    graph = onnx.helper.make_graph([node], "g", info[: len(inputs)], info[len(inputs) :])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    return ReferenceEvaluator(model).run(None, dict(zip(inputs, arrays, strict=True)))


@pytest.mark.parametrize("axis", [-1, 1])
def test_layer_norm(peer, axis):
    gamma, beta = RNG.normal(size=X.shape[axis:]), RNG.normal(size=X.shape[axis:])
    (y,) = evaluate(peer, "LayerNormalization", 17, [X, gamma, beta], axis=axis, epsilon=1e-5)
    np.testing.assert_allclose(rn.layer_norm(X, gamma, beta, axis=axis, eps=float(np.float32(1e-5))), y, rtol=1e-10, atol=1e-12)


def test_instance_norm(peer):
    (y,) = evaluate(peer, "InstanceNormalization", 6, [X, GAMMA, BETA], epsilon=1e-5)
    np.testing.assert_allclose(rn.instance_norm(X, GAMMA, BETA, eps=float(np.float32(1e-5))), y, rtol=1e-10, atol=1e-12)


def test_batch_norm_in_evaluation(peer):
    (y,) = evaluate(peer, "BatchNormalization", 15, [X, GAMMA, BETA, MEAN, VAR], epsilon=1e-5)
    mine = rn.batch_norm(X, GAMMA, BETA, state=rn.batch_norm.state(MEAN, VAR), training=False, eps=float(np.float32(1e-5)))
    np.testing.assert_allclose(mine, y, rtol=1e-10, atol=1e-12)


def test_batch_norm_in_training(peer):
    arrays = [X, GAMMA, BETA, MEAN, VAR]
    y, mean, var = evaluate(peer, "BatchNormalization", 15, arrays, outputs=3, epsilon=1e-5, momentum=0.75, training_mode=1)
    state = rn.batch_norm.state(MEAN, VAR)
    mine, new = rn.batch_norm(X, GAMMA, BETA, state=state, momentum=0.75, eps=float(np.float32(1e-5)), dialect="onnx")
    np.testing.assert_allclose(mine, y, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(new.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(new.var, var, rtol=1e-12)
