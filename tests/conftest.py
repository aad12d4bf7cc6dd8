"""What tests share: a peer that is absent is skipped with its reason, except in CI, where it must be there."""

import importlib
import os

import pytest


@pytest.fixture(scope="session")
def peer():
    """peer("torch") -> the module; skips where it is absent, fails where CI=true says that it must not be."""

    def load(name: str):
        try:
            return importlib.import_module(name)
        except ImportError:
            message = f"{name} is not installed: pip install 'refnorm[peers]'"
            if os.environ.get("CI") == "true":
                pytest.fail(message + " (CI=true: peers may not be absent)")
            pytest.skip(message)

    return load
