"""What the bandwidth is measured against is a copy."""

import numpy as np
import pytest

from refnorm.bench.copying import copy
from refnorm.kernels.cpu.streaming import STREAM_FROM


@pytest.mark.parametrize("n", [3, 64, 1000, STREAM_FROM + 5])
def test_it_copies(n):
    x = np.arange(n, dtype=np.float32)
    y = np.zeros_like(x)
    copy(x, y)
    np.testing.assert_array_equal(y, x)
