"""The numbered examples, loaded by their number."""

import importlib.util
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example():
    """number -> the module examples/NN_*.py."""
    loaded = []

    def load(number):
        (path,) = FOLDER.glob(f"{number:02d}_*.py")
        spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        loaded.append(spec.name)
        spec.loader.exec_module(module)
        return module

    yield load
    for name in loaded:
        del sys.modules[name]
