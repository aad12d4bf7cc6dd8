"""Docstrings and citations as pages show them."""

from __future__ import annotations

import inspect
import re
import unicodedata
from html import escape

from refnorm.anatomy.method import Citation

SECTION = re.compile(r"(?m)^(Parameters|Returns|Raises)\n-+\n")


def docstring(doc: str) -> str:
    """A docstring as HTML: paragraphs, indented formulas, and its sections of named things."""
    parts = SECTION.split(inspect.cleandoc(doc))
    html = prose(parts[0])
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        listed, rest = _split(body, title)
        html += f'<h3 class="small">{title}</h3>{_named(listed) if title == "Parameters" else prose(listed)}{prose(rest)}'
    return html


def prose(text: str) -> str:
    """Paragraphs; what is indented stays as it stands."""
    html = []
    for block in re.split(r"\n\s*\n", text.strip("\n")):
        if not block.strip():
            continue
        if all(line.startswith("    ") for line in block.splitlines()):
            html.append(f'<pre class="set" tabindex="0">{escape(inspect.cleandoc(block))}</pre>')
        else:
            plain, indented = _tail(block)
            html.append(f"<p>{_code(plain)}</p>" if plain else "")
            html.append(f'<pre class="set" tabindex="0">{escape(indented)}</pre>' if indented else "")
    return "".join(html)


def _tail(block: str) -> tuple[str, str]:
    """A paragraph that ends in indented lines."""
    lines = block.splitlines()
    cut = len(lines)
    while cut > 0 and lines[cut - 1].startswith("    "):
        cut -= 1
    return "\n".join(lines[:cut]), inspect.cleandoc("\n".join(lines[cut:])) if cut < len(lines) else ""


def _code(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _split(body: str, title: str) -> tuple[str, str]:
    """A section's own lines, and paragraphs behind them that are no part of it."""
    first, *rest = re.split(r"\n\s*\n", body, maxsplit=1)
    return first, rest[0] if rest else ""


def _named(body: str) -> str:
    """name : what it is, and lines that go on, indented."""
    items: list[list[str]] = []
    for line in body.splitlines():
        if line.startswith(" ") and items:
            items[-1][1] += " " + line.strip()
        else:
            name, _, what = line.partition(" : ")
            items.append([name, what])
    return "<dl>" + "".join(f"<dt><code>{escape(n)}</code></dt><dd>{_code(w)}</dd>" for n, w in items) + "</dl>"


def bibtex(cite: Citation) -> str:
    """A BibTeX entry; of a preprint, one that says so."""
    people = re.sub(r" et al\.?$", ", others", cite.authors)
    first = unicodedata.normalize("NFKD", people.split(",")[0].split()[-1]).encode("ascii", "ignore").decode()
    word = re.findall(r"[A-Za-z]+", cite.title)
    key = f"{first.lower()}{cite.year}{next((w for w in word if len(w) > 3), word[0]).lower()}"
    fields = {"title": cite.title, "author": " and ".join(a.strip() for a in people.split(",")), "year": str(cite.year)}
    if cite.venue.lower() != "arxiv":
        fields["booktitle"] = cite.venue
    if cite.arxiv:
        fields |= {"eprint": cite.arxiv, "archivePrefix": "arXiv"}
    kind = "misc" if cite.venue.lower() == "arxiv" else "inproceedings"
    body = ",\n".join(f"  {name:<13} = {{{value}}}" for name, value in fields.items())
    return f"@{kind}{{{key},\n{body}\n}}"
