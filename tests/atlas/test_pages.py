"""Every page of the atlas: whole links, unique ids, no request, and what a screen reader needs."""

import re
from itertools import pairwise
from urllib.parse import unquote, urlsplit

import pytest

from .page import Page


@pytest.fixture(scope="module")
def pages(atlas):
    return {path: Page((atlas.out / path).read_text(encoding="utf-8")) for path in atlas.pages}


def test_the_parser_sees_what_is_wrong():
    page = Page('<a href="#x"><b id="x"></a><img src="http://e/x"><p id="x">')
    assert page.unclosed and page.ids == ["x", "x"] and page.links == ["#x"] and page.loads == ["http://e/x"]
    assert not page.named(Page("<input id=a>").all("input")[0])


def test_there_is_a_page_for_everything(atlas):
    from .conftest import METHODS

    assert {f"methods/{name}.html" for name in METHODS} <= set(atlas.pages)
    whole = "index.html claims/index.html claims/a-sample.html learn/index.html kernels.html api.html"
    assert set(whole.split()) <= set(atlas.pages)
    assert len([p for p in atlas.pages if p.startswith("learn/")]) == 8


def test_elements_are_closed(pages):
    assert {path: page.unclosed for path, page in pages.items() if page.unclosed} == {}


def test_ids_are_unique(pages):
    for path, page in pages.items():
        assert sorted(page.ids) == sorted(set(page.ids)), path


def test_links_are_whole(atlas, pages):
    """Every link leads to a file that is there, and to an anchor that it has; what lies outside is https."""
    anchors = {path: set(page.ids) for path, page in pages.items()}
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme:
                assert parts.scheme == "https", (path, link)
                continue
            target = (atlas.out / path).parent / unquote(parts.path) if parts.path else atlas.out / path
            inside = target.resolve().relative_to(atlas.out.resolve()).as_posix()
            assert target.is_file(), (path, link)
            if parts.fragment:
                assert parts.fragment in anchors[inside], (path, link)


def test_nothing_is_fetched_but_what_lies_beside(atlas, pages):
    for path, page in pages.items():
        for address in page.loads:
            assert address == "data:," or (atlas.out / path).parent.joinpath(address).is_file(), (path, address)
        assert not re.search(r"@import|url\((?!#)|fetch\(|XMLHttpRequest|<script[^>]+src=", page.source), path
    assert not re.search(r"@import|url\(", (atlas.out / "style.css").read_text())


def test_landmarks_headings_and_names(pages):
    for path, page in pages.items():
        assert page.all("html")[0].attributes["lang"] == "en"
        assert [len(page.all(tag)) for tag in ("main", "h1", "title", "header", "footer")] == [1, 1, 1, 1, 1], path
        levels = [int(e.tag[1]) for e in page.all("h1", "h2", "h3", "h4")]
        assert all(b <= a + 1 for a, b in pairwise(levels)), (path, levels)
        assert page.all("a")[0].attributes == {"class": "skip", "href": "#main"}
        for nav in page.all("nav"):
            assert nav.attributes.get("aria-label"), path
        for control in page.all("input", "select", "textarea"):
            assert page.named(control), (path, control)
        for button in page.all("button"):
            assert button.text.strip(), (path, button)


def test_pictures_have_words(pages):
    for path, page in pages.items():
        for image in page.all("img"):
            assert image.attributes.get("alt"), path
        for svg in page.all("svg"):
            assert svg.attributes.get("role") == "img" and svg.attributes.get("aria-label"), (path, svg.attributes)
        for math in page.all("math"):
            assert math.attributes.get("alttext"), path


def test_tables_have_captions_and_scopes(pages):
    for path, page in pages.items():
        tables = [t for t in page.all("table") if t.attributes.get("role") != "presentation"]
        assert len(page.all("caption")) == len(tables), path
        for heading in page.all("th"):
            assert heading.attributes.get("scope") in ("row", "col") and heading.text.strip(), (path, heading)
        for region in page.elements:
            if region.attributes.get("role") == "region":
                assert region.attributes.get("aria-label") and region.attributes.get("tabindex") == "0", path


def test_the_style_has_focus_dark_and_phone(atlas):
    style = (atlas.out / "style.css").read_text()
    assert ":focus-visible" in style and "prefers-color-scheme: dark" in style and "max-width: 46rem" in style


def test_what_a_claim_says_is_text(atlas):
    page = (atlas.out / "claims" / "a-sample.html").read_text()
    assert "&lt;angles&gt; &amp; signs" in page and "<i>" not in page and "A &lt;b&gt;Claim&lt;/b&gt; &amp; More" in page
    assert "does not hold" in page and "1.4 to 1.6" in page and "at most 2" in page and "0.1235" in page
    assert (atlas.out / "claims" / "a-sample.svg").is_file() and 'src="a-sample.svg"' in page


def test_claims_that_were_not_run_say_so(atlas):
    from refnorm.claims import CLAIMS

    name = next(iter(CLAIMS))
    page = (atlas.out / "claims" / f"{name}.html").read_text()
    assert "has not been run" in page and f"refnorm reproduce {name}" in page
