"""The atlas in a real Chromium: no complaint, no request, and everything moves that should."""

import numpy as np
import pytest

from refnorm import NORMS
from refnorm.atlas.slider import playground

from .browser import Browser, chromium

ACROSS = "document.documentElement.scrollWidth"                 # a phone's innerWidth grows with it
pytestmark = pytest.mark.skipif(chromium() is None, reason="there is no Chromium on the PATH (apt-get install chromium)")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


def test_no_complaint_no_request_and_no_sideways_scrolling(browser, atlas):
    """Every page, on a phone in the dark."""
    for path in atlas.pages:
        browser.open(atlas.out / path, wide=360, high=740, dark=True)
        assert browser.errors == [], path
        strangers = [r for r in browser.requests if not r.startswith(atlas.out.resolve().as_uri()) and r != "data:,"]
        assert strangers == [], path
        assert browser.run(ACROSS) <= 360, path
        assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"


def test_a_browser_sees_what_is_wrong(browser, tmp_path):
    """The witness: errors, requests and sideways scrolling are seen where there are some."""
    wide = '<meta name="viewport" content="width=device-width"><p style="width:900px">wide</p><img src="x.png">'
    (tmp_path / "bad.html").write_text(f"{wide}<script>setTimeout(undefinedFunction)</script>")
    browser.open(tmp_path / "bad.html", wide=360)
    assert any("undefinedFunction" in e for e in browser.errors) and any("x.png" in r for r in browser.requests)
    assert browser.run(ACROSS) > 900


@pytest.mark.parametrize("name", ["batch_norm", "layer_norm", "rms_norm", "weight_norm"])
@pytest.mark.parametrize("neuron", [False, True], ids=["matrix", "neuron"])
def test_the_slider_shows_what_refnorm_computes(browser, atlas, name, neuron):
    browser.open(atlas.out / "methods" / f"{name}.html")
    play = playground(NORMS[name])
    which = "neuron" if neuron else "matrix"
    browser.run(f"document.querySelector('#slider [value={which}]').click()")
    for steps in (-3, 0, 1.5, 3):
        browser.run(f"a.value = {steps}; a.dispatchEvent(new Event('input'))")
        shown = browser.run("Object.fromEntries(['moved', 'ratio', 'along'].map(id => "
                            "[id, +document.getElementById(id).dataset.value]))")
        right = play.answer(2.0**steps, neuron)
        np.testing.assert_allclose([shown[k] for k in right], list(right.values()), rtol=1e-9, atol=1e-12)
    says = browser.run("document.getElementById('answer').textContent")
    assert ("does not answer" in says) == (right["moved"] < 1e-9)
    assert browser.run("document.querySelectorAll('#slider .bar').length") == play.layer.dy.shape[1]


def test_the_slider_by_keyboard(browser, atlas):
    browser.open(atlas.out / "methods" / "batch_norm.html")
    browser.run("a.focus()")
    browser.press("ArrowRight")
    assert browser.run("document.getElementById('a-value').textContent") == "1.189"


def test_search(browser, atlas):
    browser.open(atlas.out / "index.html")
    browser.run("q.value = 'ba 2016'; q.dispatchEvent(new Event('input'))")
    shown = "[...document.querySelectorAll('.chip')].filter(c => c.offsetParent).map(c => c.dataset.name)"
    assert browser.run(shown) == ["layer_norm"]
    assert browser.run("found.textContent") == "1 method fits; Enter opens layer_norm."
    assert browser.run("document.querySelectorAll('#invariance-table tbody tr:not(.dim)').length") == 1
    browser.run("q.value = 'no such thing'; q.dispatchEvent(new Event('input'))")
    assert browser.run(shown) == [] and browser.run("found.textContent") == "No method fits."
    browser.run("q.value = 'keras batch'; q.dispatchEvent(new Event('input')); q.focus()")
    browser.loaded = False
    browser.press("Enter", "\r")
    while not browser.loaded:
        browser.next(30)
    assert browser.run("location.pathname").endswith("/methods/batch_norm.html")


def test_sorting(browser, atlas):
    browser.open(atlas.out / "index.html")
    column = "[...document.querySelectorAll('#invariance-table tbody tr')].map(r => r.cells[{}].textContent.trim())"
    names = browser.run(column.format(0))
    press = "document.querySelectorAll('#invariance-table th button')[{}].click()"
    browser.run(press.format(0))
    assert browser.run(column.format(0)) == sorted(names)
    browser.run(press.format(0))
    assert browser.run(column.format(0)) == sorted(names, reverse=True)
    browser.run(press.format(2))
    kinds = [cell.split(" ")[0] for cell in browser.run(column.format(2))]
    assert kinds == sorted(kinds, key=["yes", "forward", "dense", "no"].index) and len(set(kinds)) > 1
    assert browser.run("[...document.querySelectorAll('#invariance-table [aria-sort]')].length") == 1


def test_the_cube_lights_another_row(browser, atlas):
    browser.open(atlas.out / "methods" / "batch_norm.html")
    lit = "[...new Set([...document.querySelectorAll('.cube .lit')].map(e => e.dataset.row))]"
    assert browser.run(lit) == ["0"]
    browser.run("const r = document.querySelector('input.rows'); r.value = 3; r.dispatchEvent(new Event('input'))")
    assert browser.run(lit) == ["3"] and browser.run("document.querySelector('figure output').textContent") == "4 of 6"


def test_the_skip_link_is_first_and_leads_to_the_content(browser, atlas):
    browser.open(atlas.out / "learn" / "index.html")
    browser.press("Tab")
    assert browser.run("document.activeElement.textContent") == "Skip to the content"
    browser.press("Enter", "\r")
    assert browser.run("location.hash") == "#main"
