"""Every public callable of numpy, numpy.linalg and numpy.fft is decided: a rule, a composite, a constant, or a refusal.

A new NumPy function that is in none of the tables fails here.
"""

import numpy as np
import pytest

from refnorm.autodiff import Box
from refnorm.autodiff.core import TABLE, Node, dispatch

PUBLIC = {
    f"{module.__name__}.{name}": getattr(module, name)
    for module in (np, np.linalg, np.fft) for name in sorted(dir(module))
    if not name.startswith("_") and callable(getattr(module, name))
}  # fmt: skip

CONVERTS = set(  # it raises: through Box.__array__, or because a traced array is no index, path, buffer or dtype
    "asarray_chkfinite asmatrix broadcast nditer ndenumerate matrix flatiter poly1d byte bytes_ cdouble clongdouble "
    "complex128 complex256 complex64 csingle datetime64 double float128 float16 float32 float64 half int16 int32 int64 int8 "
    "int_ intc intp long longdouble longlong object_ short single timedelta64 ubyte uint uint16 uint32 uint64 uint8 uintc "
    "uintp ulong ulonglong ushort void bool bool_ character complexfloating flexible floating generic inexact integer "
    "number signedinteger unsignedinteger base_repr binary_repr bartlett blackman hamming hanning diag_indices tril_indices "
    "triu_indices indices format_float_positional format_float_scientific from_dlpack broadcast_shapes isfortran load "
    "memmap mintypecode ndarray ndindex record typename ufunc busdaycalendar datetime_data iinfo recarray".split()
)
HARMLESS = {
    "isscalar": "a question", "iterable": "a question", "str_": "its printed form", "dtype": "its dtype",
    "finfo": "of its dtype", "bmat": "None for what is no list; a list raises", "fftfreq": "operators", "rfftfreq": "operators",
    "row_stack": "is np.vstack", "vectorize": "takes a function", "frompyfunc": "takes a function",
    "LinAlgError": "an exception",
}  # fmt: skip
NO_ARRAY = set(
    "kaiser mask_indices get_include get_printoptions set_printoptions printoptions getbufsize setbufsize geterr seterr "
    "geterrcall seterrcall errstate isdtype issubdtype promote_types show_config show_runtime test info fromregex "
    "nested_iters".split()
)


def box(x=(1.5, -2.0)):
    return Box(np.asarray(x), 0, Node())


def boxed(a):
    return [box(b) for b in a] if isinstance(a, list) else box(a) if isinstance(a, np.ndarray) else a


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@pytest.mark.parametrize("name", PUBLIC)
def test_decided(name):
    fun, last = PUBLIC[name], name.rpartition(".")[2]
    if fun in TABLE:
        assert TABLE[fun].kind in ("rule", "composite", "constant", "refusal")
    elif isinstance(fun, np.ufunc) or hasattr(fun, "_implementation"):
        pytest.fail(f"{name} dispatches and is undecided: give it a rule, or say in rules_constant.py why it has none")
    elif last in CONVERTS:
        with pytest.raises((TypeError, ValueError, AttributeError, NotImplementedError)):
            fun(box())
    else:
        assert last in {*HARMLESS, *NO_ARRAY}, f"{name} is undecided: see whether a traced array can get lost in it"


def test_nothing_is_listed_in_vain():
    left = {name.rpartition(".")[2] for name, fun in PUBLIC.items() if fun not in TABLE}
    versions = {"row_stack", "float128", "complex256"}                      # not in every NumPy, not on every machine
    assert {*CONVERTS, *HARMLESS, *NO_ARRAY} - versions <= left


@pytest.mark.parametrize("kind, least", [("rule", 100), ("composite", 80), ("constant", 70), ("refusal", 100)])
def test_kinds(kind, least):
    assert sum(entry.kind == kind for entry in TABLE.values()) >= least


def test_refusals_say_the_name_and_what_to_do():
    for fun, entry in TABLE.items():
        if entry.kind == "refusal":
            with pytest.raises(NotImplementedError, match=rf"{fun.__name__} of a traced array: \w+"):
                dispatch(fun, (box(),), {})


def test_constants_are_plain():
    """The same as of plain arrays, or the same error."""
    x = np.array([[1.5, -2.25], [0.5, 3.5]])
    for fun, entry in TABLE.items():
        if entry.kind != "constant":
            continue
        for args in ((x,), (x, x), ([x, x],), ("ij,jk", x, x), (x[0], 1), (x, float), (x[0], np.arange(3.0))):
            try:
                expected = fun(*args)
            except (TypeError, ValueError):
                continue
            answer = dispatch(fun, tuple(boxed(a) for a in args), {})
            assert "Box" not in repr(answer)
            if "empty" not in fun.__name__:
                np.testing.assert_equal(answer, expected)
            break
        else:
            with pytest.raises(TypeError, match=r"ufunc '\w+'"):
                dispatch(fun, (box(),) * fun.nin, {})


def test_an_undecided_function_raises_its_name():
    from scipy.special import erf

    with pytest.raises(NotImplementedError, match=r"the ufunc erf has no derivative rule"):
        erf(box())                                                          # a ufunc without __module__
    with pytest.raises(NotImplementedError, match=r"numpy.* has no derivative rule"):
        np.lib.scimath.sqrt(box())
