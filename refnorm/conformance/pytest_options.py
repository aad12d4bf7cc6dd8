"""pytest's option --refnorm-seed N: other draws for every check of `parametrize_with_checks`, under xdist as well.

A plugin: pytest -p refnorm.conformance.pytest_options, where its entry point is not installed.
"""

from __future__ import annotations

from typing import Any


def pytest_addoption(parser: Any) -> None:
    words = "draw the cases of refnorm's checks from this seed, in the place of the one given to parametrize_with_checks"
    parser.getgroup("refnorm").addoption("--refnorm-seed", type=int, default=None, metavar="N", help=words)


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    """Each worker of xdist collects by itself, and is given the same options."""
    seed = config.getoption("refnorm_seed")
    if seed is None:
        return
    from .pytest_checks import BoundCheck

    for item in items:
        for value in item.callspec.params.values() if hasattr(item, "callspec") else ():
            if isinstance(value, BoundCheck):
                value.session.options["seed"] = seed
