"""`refnorm atlas`: what it writes, and what it refuses."""

import json

import pytest

from refnorm import NORMS
from refnorm.atlas import Unbuildable, build, equations, front, papers, sources
from refnorm.cli import main

from .conftest import SAMPLE


def test_unknown_methods_and_folders_are_refused(tmp_path, capsys):
    with pytest.raises(ValueError, match="no method is called 'layernorm'"):
        build(tmp_path, methods=["layernorm"])
    (tmp_path / "file").write_text("")
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")                # PyTorch brings the one without the other
    assert main(["atlas", str(tmp_path / "file"), "--only", "layer_norm"]) == 2
    assert "cannot write to" in capsys.readouterr().err


def test_results_that_are_none_are_refused(tmp_path):
    with pytest.raises(Unbuildable, match="is no folder"):
        papers.results(tmp_path / "absent")
    (tmp_path / "x.json").write_text(json.dumps({"name": "x"}))
    with pytest.raises(Unbuildable, match=r"x\.json is no result of `refnorm reproduce`"):
        papers.results(tmp_path)
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(Unbuildable, match="JSONDecodeError"):
        papers.results(tmp_path)


def test_results_take_the_place_of_declarations(results):
    found = {r["name"]: r for r in papers.results(results)}
    assert found["a-sample"]["conclusion"] == SAMPLE["conclusion"] and len(found) > 1
    assert {r["verdict"] for name, r in found.items() if name != "a-sample"} == {"not run"}


def test_families_follow_from_the_constraints():
    known = {
        "gradient_centralization": 0, "batch_norm": 1, "variance_norm": 1, "rms_norm": 2, "weight_norm": 2, "lp_norm": 2,
        "batch_whitening_zca": 3, "cayley": 3,
    }  # fmt: skip
    assert {name: front.FAMILIES.index(front.family(NORMS[name])) for name in known} == known


@pytest.mark.parametrize("name", NORMS)
def test_every_source_has_its_lines_once(name):
    for listing in [part for parts in sources.listings(NORMS[name]) for part in parts]:
        assert listing.rows
    for function in filter(None, NORMS[name].source):
        source, lines = equations.statements(function)
        assert [line.first for line in lines] == sorted(line.first for line in lines)
        assert lines[-1].last == len(source.rstrip("\n").splitlines())
