"""A small atlas, built once: methods of every kind of page, and claims of every verdict."""

import json

import pytest

METHODS = "batch_norm layer_norm group_norm rms_norm weight_norm spectral_norm".split()
CITE = {
    "authors": "A. Author, B. Writer et al.", "title": "A <b>Claim</b> & More", "venue": "arXiv", "year": 2020,
    "arxiv": "2001.00001",
}  # fmt: skip


def number(what, measured, paper=None, low=None, high=None, ok=None, note=""):
    said = {"what": what, "paper": paper, "measured": measured, "low": low, "high": high}
    return {**said, "asserted": (low, high) != (None, None), "ok": ok, "note": note}


SAMPLE = {
    "name": "a-sample", "section": 1, "title": "A sample, with <angles> & signs", "cite": CITE,
    "says": "It is so.\n\n    x = 1 < 2", "origin": "paper", "conditions": "eps = 0",
    "seeds": [0, 1], "command": "refnorm reproduce a-sample",
    "numbers": [
        number("first", 1.4999, paper=1.5, low=1.4, high=1.6, ok=True, note="near"),
        number("second", "nan", high=2, ok=False),
        number("third", 3, paper="large"),
    ],
    "tables": {"A table": {"columns": ["m", "value"], "rows": [[16, 0.123456], ["x", "<i>"]]}},
    "verdict": "does not hold", "conclusion": "It is not so.", "figure": "a-sample.svg", "seconds": 1.5,
}  # fmt: skip
FIGURE = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10"><circle r="4" cx="5" cy="5"/></svg>'


@pytest.fixture(scope="session")
def results(tmp_path_factory):
    """What `refnorm reproduce --out` would have written for one claim."""
    folder = tmp_path_factory.mktemp("results")
    (folder / "a-sample.json").write_text(json.dumps(SAMPLE))
    (folder / "a-sample.svg").write_text(FIGURE)
    return folder


@pytest.fixture(scope="session")
def atlas(tmp_path_factory, results):
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    from refnorm.atlas import build

    return build(tmp_path_factory.mktemp("atlas"), claims=results, methods=METHODS)
