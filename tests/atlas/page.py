"""A page as a parser sees it: elements with their attributes and text, ids, links, what it asks a server for."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "input", "img", "br", "hr", "mspace", "polygon", "rect", "path", "line", "circle", "use"}
LOADS = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "video": "src", "object": "data"}


@dataclass
class Element:
    tag: str
    attributes: dict
    inside: tuple[str, ...]
    text: str = ""


@dataclass
class Page(HTMLParser):
    source: str
    elements: list[Element] = field(default_factory=list)
    open: list[Element] = field(default_factory=list)
    unclosed: list[str] = field(default_factory=list)

    def __post_init__(self):
        super().__init__(convert_charrefs=True)
        self.feed(self.source)
        self.unclosed += [e.tag for e in self.open]

    def handle_starttag(self, tag, attributes):
        element = Element(tag, dict(attributes), tuple(e.tag for e in self.open))
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attributes):
        self.elements.append(Element(tag, dict(attributes), tuple(e.tag for e in self.open)))

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        if not self.open or self.open[-1].tag != tag:
            self.unclosed.append(f"</{tag}> inside <{self.open[-1].tag if self.open else ''}>")
            return
        self.open.pop()

    def handle_data(self, data):
        for element in self.open:
            element.text += data

    def all(self, *tags):
        return [e for e in self.elements if e.tag in tags]

    @property
    def ids(self):
        return [e.attributes["id"] for e in self.elements if "id" in e.attributes]

    @property
    def links(self):
        return [e.attributes["href"] for e in self.all("a") if "href" in e.attributes]

    @property
    def loads(self):
        """What the browser fetches by itself."""
        return [e.attributes[LOADS[e.tag]] for e in self.elements if e.tag in LOADS and LOADS[e.tag] in e.attributes]

    def named(self, element):
        """Has a control a name that a screen reader can say?"""
        own = element.attributes
        labelled = own.get("aria-label") or own.get("aria-labelledby") or "label" in element.inside
        return bool(labelled or own.get("id") in {e.attributes.get("for") for e in self.all("label")})
