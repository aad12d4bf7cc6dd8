"""The conformance kit: is this implementation right, which dialect does it speak, how many bits does it lose?

from refnorm.conformance import Candidate, check
report = check(my_layer_norm, norm="layer_norm")
print(report)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .candidate import Candidate, Unusable, load_candidate
    from .pytest_checks import parametrize_with_checks
    from .report import Failure, Report
    from .verdict import check, replay

_HOME = {
    "Candidate": "candidate", "Unusable": "candidate", "load_candidate": "candidate", "Failure": "report", "Report": "report",
    "check": "verdict", "replay": "verdict", "parametrize_with_checks": "pytest_checks",
}  # fmt: skip

__all__ = ["Candidate", "Failure", "Report", "Unusable", "check", "load_candidate", "parametrize_with_checks", "replay"]


def __getattr__(name: str) -> Any:
    """Names are imported when they are asked for: the tolerance alone needs none of the rest."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
