"""npz files of the simplest kind, for readers that are no NumPy."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Stored members, nothing compressed, and every size in its local header: a loop over the file can read it.

    The same arrays give the same bytes.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member, body = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), io.BytesIO()
            member.create_system = 3  # on every system
            np.lib.format.write_array(body, np.asanyarray(array), allow_pickle=False)
            archive.writestr(member, body.getvalue())
