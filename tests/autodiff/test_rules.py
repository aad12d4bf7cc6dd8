"""Every rule, on every example of the table, held against the Taylor remainder; and the table against the rules that exist."""

import functools
import inspect

import numpy as np
import pytest
from table_of_examples import EXAMPLES
from taylor import inner, outputs, slopes

from refnorm.autodiff import defvjp, jvp, stop, vjp
from refnorm.autodiff.core import TABLE, composite, name_of, plain

FIRST, SECOND = 1.98, 2.95


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_remainder(example):
    first, second = slopes(example, *example.draw())
    assert first > FIRST
    assert second > SECOND


@pytest.mark.parametrize("fun", {e.fun: None for e in EXAMPLES}, ids=name_of)
def test_values_types_and_purity(fun):
    """A traced call has the value of the plain one; cotangents have their argument's shape and dtype; nothing is written to."""
    for example in (e for e in EXAMPLES if e.fun is fun):
        for single in (False, True):
            xs = [narrow(x) if single else x for x in example.draw()]
            for x in xs:
                x.flags.writeable = False
            bound = 1e-4 if single else 1e-13
            ys, plain_ys = everything(vjp(example, *xs)[0]), everything(example(*xs))
            assert len(ys) == len(plain_ys)
            for y, expected in zip(ys, plain_ys, strict=True):
                assert np.shape(y) == np.shape(expected)
                assert np.asarray(y).dtype == np.asarray(expected).dtype
                np.testing.assert_allclose(y, expected, rtol=bound, atol=bound)
            for x, g in zip(xs, pulled_back(example, xs), strict=True):
                assert g.shape == x.shape
                assert g.dtype == x.dtype
                assert g.flags.writeable


def test_forward_is_the_transpose_of_backward():
    for example in EXAMPLES:
        xs, rng = example.draw(), np.random.default_rng(1)
        vs = [rng.normal(size=x.shape) for x in xs]
        ys, dys = (everything(a) for a in jvp(example, tuple(xs), tuple(vs)))
        dys = [dy for y, dy in zip(ys, dys, strict=True) if np.asarray(y).dtype.kind in "fc"]
        gs = cotangents(ys, np.random.default_rng(2))
        there, back = inner(gs, dys), inner(vs, pulled_back(example, xs))
        assert abs(there - back) <= 1e-12 * (1 + sum(np.sum(np.abs(g * dy)) for g, dy in zip(gs, dys, strict=True)))


def test_keywords_are_bound_to_their_arguments():
    """A traced argument given by keyword has the cotangent that it has by position."""
    tried = 0
    for example in EXAMPLES:
        if example.call or isinstance(example.fun, np.ufunc):
            continue
        xs = example.draw()
        parameters = list(inspect.signature(example.fun).parameters.values())[: len(xs)]
        if all(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters):
            names, tried = [p.name for p in parameters], tried + 1

            def by_keyword(*xs, names=names, example=example):
                return example.fun(**dict(zip(names, xs, strict=True)), **example.options)

            for a, b in zip(pulled_back(example, xs), pulled_back(by_keyword, xs), strict=True):
                np.testing.assert_array_equal(a, b)
    assert tried > 300


def test_every_rule_has_an_example_and_is_called(monkeypatch):
    """Each function has an example of its own, and each rule of each argument was run; private steps, by the functions they
    are steps of."""
    silent = {}
    for fun, entry in list(TABLE.items()):
        if entry.kind not in ("rule", "composite") or any(p.kind is p.VAR_POSITIONAL for p in entry.parameters):
            continue
        monkeypatch.setitem(TABLE, fun, entry)

        def reporting(i, text, fun=fun):
            if text is None:
                return None
            silent[fun, i] = text
            return functools.wraps(text)(lambda *args, **kwargs: (silent.pop((fun, i), None), text(*args, **kwargs))[1])

        texts = [reporting(i, text) for i, text in enumerate(entry.texts)]
        composite(fun)(*texts) if entry.kind == "composite" else defvjp(fun, *texts)
    for example in EXAMPLES:
        xs = tuple(example.draw())
        jvp(example, xs, xs)                            # the rules, and the rules of the rules
    assert not silent
    public = {f for f, entry in TABLE.items() if entry.kind in ("rule", "composite") and not f.__name__.startswith("_")}
    assert public <= {e.fun for e in EXAMPLES}


def test_rules_take_what_numpy_takes():
    """The parameters of rules and bodies are the function's own, in its order: else a keyword or out= would go astray."""
    for fun, entry in TABLE.items():
        if isinstance(fun, np.ufunc) or not entry.parameters or not getattr(fun, "__module__", "").startswith("numpy"):
            continue
        own = inspect.signature(fun).parameters
        mine = [p.name for p in entry.parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        assert mine == list(own)[: len(mine)], fun.__name__
        if not any(p.kind is p.VAR_KEYWORD for p in own.values()):
            assert {p.name for p in entry.parameters if p.kind is p.KEYWORD_ONLY} <= set(own), fun.__name__


# tests of the test: rules that are wrong, each of which the slopes must show


@pytest.mark.parametrize("fun, wrong, order", [
    (np.tanh, [lambda g, y, x: g * (1 + y * y)], 1),                                                # a sign
    (np.exp, [lambda g, y, x: g * y * 1.0001], 1),                                                  # a part in 10^4
    (np.multiply, [lambda g, y, a, b: g * b, lambda g, y, a, b: g * b], 1),                         # the other factor
    (np.matmul, [lambda g, y, a, b: g @ np.swapaxes(b, -1, -2), lambda g, y, a, b: np.flip(a).T @ g], 1),
    (np.tanh, [lambda g, y, x: g * (1 - stop(y) ** 2)], 2),                                         # right to first order
    (np.linalg.inv, [lambda g, y, a: -stop(y).T @ g @ y.T], 2),
    (np.fft.fft, [lambda g, y, a, norm=None: np.fft.fft(g)], 1),                                    # transposed, not conjugated
    (np.max, [lambda g, y, a: g * np.equal(a, np.min(a))], 1),                                      # the wrong entry
])  # fmt: skip
def test_a_wrong_rule_is_seen(monkeypatch, fun, wrong, order):
    example = next(e for e in EXAMPLES if e.fun is fun)
    monkeypatch.setitem(TABLE, fun, TABLE[fun])
    assert slopes(example, *example.draw())[order - 1] > (FIRST, SECOND)[order - 1]
    defvjp(fun, *wrong)
    first, second = slopes(example, *example.draw())
    assert second < SECOND
    assert (first < FIRST) == (order == 1)


# words that the tests above are written in


def narrow(x):
    return x.astype(np.complex64 if np.iscomplexobj(x) else np.float32)


def everything(y):
    return list(y) if isinstance(y, tuple | list) else [y]


def cotangents(ys, rng):
    ys = outputs(ys)
    return [rng.normal(size=y.shape) + (1j * rng.normal(size=y.shape) if np.iscomplexobj(y) else 0) for y in ys]


def pulled_back(f, xs):
    """The cotangents of xs under random cotangents of f's floating-point outputs."""
    def floating(*xs):
        return tuple(outputs(f(*xs)))

    ys, pull = vjp(floating, *xs)
    return pull(tuple(np.asarray(plain(g)) for g in cotangents(list(ys), np.random.default_rng(2))))
