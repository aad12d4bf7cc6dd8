"""The site: static pages that open from the disk, without a server and without a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from refnorm import __version__
from refnorm.anatomy.method import NORMS, Method

from . import formula, front, portrait
from .evidence import Evidence, gather

NAVIGATION = (
    ("Methods", "index.html"),
    ("Claims", "claims/index.html"),
    ("Learn", "learn/index.html"),
    ("Kernel authors", "kernels.html"),
    ("API", "api.html"),
)
Progress = Callable[[int, int, str], None]


class Unbuildable(Exception):
    """No site: what is missing, in one line."""


class Site:
    """A folder of pages made from the templates; `methods` are those that have a page."""

    def __init__(self, out: Path, methods: Sequence[str] = ()) -> None:
        try:
            import jinja2
            import matplotlib  # noqa: F401
            from markupsafe import Markup
        except ImportError as error:
            raise Unbuildable(f"{error.name} is not installed; get it with: pip install 'refnorm[atlas]'") from error
        self.out, self.methods = out, methods
        self.pages: list[str] = []
        self.environment = jinja2.Environment(
            loader=jinja2.PackageLoader("refnorm.atlas", "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
        )
        self.environment.filters["formula"] = lambda text: Markup(formula.formula(text))
        self.environment.filters["set"] = lambda text: Markup(formula.formula(text, block=True))
        try:
            out.mkdir(parents=True, exist_ok=True)
            self.write("style.css", resources.files("refnorm.atlas").joinpath("style.css").read_text(encoding="utf-8"))
        except OSError as error:
            raise Unbuildable(f"cannot write to {out}: {error.strerror or error}") from error

    def write(self, path: str, text: str) -> None:
        """A file as it is."""
        (self.out / path).parent.mkdir(parents=True, exist_ok=True)
        (self.out / path).write_text(text, encoding="utf-8")

    def page(self, path: str, template: str, context: Mapping[str, Any], section: str = "") -> None:
        """A page at `path`, which says how deep it lies; `section` is what the navigation marks."""
        known = {
            "root": "../" * path.count("/"), "path": path, "section": section or path.split("/")[0].split(".")[0],
            "navigation": NAVIGATION, "version": __version__, "methods": self.methods,
        }  # fmt: skip
        self.write(path, self.environment.get_template(template).render({**known, **context}))
        self.pages.append(path)


def build(
    out: Path | str, claims: Path | str | None = None, methods: Sequence[str] | None = None, progress: Progress | None = None
) -> Site:
    """Write the atlas into the folder `out`.

    claims   a folder of results that `refnorm reproduce --out` wrote; without it the claims are shown as not run
    methods  names, for a part of the atlas; all unless said
    progress called (done, total, what)

    Raises Unbuildable, in one line, where a library is missing or nothing can be written; ValueError for an unknown method.
    """
    chosen = list(NORMS) if methods is None else list(methods)
    for name in chosen:
        if name not in NORMS:
            raise ValueError(f"no method is called {name!r}; there are {', '.join(NORMS)}")
    from . import api, kernel_authors, learn, papers

    site = Site(Path(out), chosen)
    tick = progress or (lambda done, total, what: None)
    evidence = []
    for k, name in enumerate(chosen):
        tick(k, len(chosen), f"proving {name}")
        evidence.append(gather(NORMS[name]))
    method_pages(site, evidence)
    papers.pages(site, None if claims is None else Path(claims))
    learn.pages(site)
    shown = [e.method for e in evidence]
    kernel_authors.page(site, shown)
    api.page(site, shown)
    tick(len(chosen), len(chosen), "done")
    return site


def method_pages(site: Site, evidence: Sequence[Evidence]) -> None:
    shown: list[Method] = [e.method for e in evidence]
    site.page("index.html", "index.html", front.page(evidence))
    for e in evidence:
        site.page(f"methods/{e.method.name}.html", "method.html", portrait.page(e, shown), "index")
