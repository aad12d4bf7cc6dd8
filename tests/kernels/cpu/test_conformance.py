"""The conformance kit judges backend="numba" as it judges anyone: every stratum, all four dtypes, forward, backward, state."""

from pathlib import Path

import pytest

from refnorm.cli import main

CANDIDATES = Path(__file__).with_name("candidates.py")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["layer_norm", "rms_norm", "batch_norm", "group_norm", "last_group_norm", "instance_norm"])
def test_the_kit_finds_nothing(name, capsys):
    verdict = main(["check", f"{CANDIDATES}:{name}", "--norm", name.removeprefix("last_")])
    assert verdict == 0, capsys.readouterr().out
