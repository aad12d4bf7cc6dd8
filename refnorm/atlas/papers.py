"""Pages of claims: what a paper says, and what refnorm measures; from results of `refnorm reproduce` where there are some."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from refnorm.anatomy.method import Citation
from refnorm.claims import CLAIMS, Claim

from .site import Site, Unbuildable
from .text import bibtex, prose

VERDICTS = {
    "holds": "v-holds",
    "holds under conditions": "v-conditions",
    "does not hold": "v-not",
    "reported": "v-reported",
    "not run": "v-open",
}


def pages(site: Site, folder: Path | None) -> None:
    """One page a claim, and the page that lists them."""
    records = results(folder)
    for k, record in enumerate(records):
        around = {"before": records[k - 1] if k else None, "after": records[k + 1] if k + 1 < len(records) else None}
        name, figure = record["name"], None
        if folder is not None and record["verdict"] != "not run" and (folder / record["figure"]).is_file():
            (site.out / "claims").mkdir(exist_ok=True)
            shutil.copyfile(folder / record["figure"], site.out / "claims" / record["figure"])
            figure = record["figure"]
        context = _context(record)
        context["conclusion"] = _linked(context["conclusion"], {r["name"] for r in records} - {name})
        site.page(f"claims/{name}.html", "claim.html", {**context, "figure": figure, **around})
    run = [r for r in records if r["verdict"] != "not run"]
    site.page(
        "claims/index.html",
        "claims.html",
        {
            "title": "What the papers say", "run": len(run),
            "records": [{**r, "kind": VERDICTS[r["verdict"]]} for r in records],
            "description": "Claims about normalization, each measured: what the paper says, the numbers, the verdict.",
        },
    )  # fmt: skip


def results(folder: Path | None) -> list[dict[str, Any]]:
    """Every claim by section: as it was measured, or as it is declared where it has not been run."""
    found = {}
    if folder is not None:
        if not folder.is_dir():
            raise Unbuildable(f"{folder} is no folder; --claims takes one that `refnorm reproduce --out` wrote")
        for path in sorted(folder.glob("*.json")):
            try:
                record = json.loads(path.read_text(encoding="utf-8"))
                found[record["name"]] = record
                _ = [record[key] for key in ("section", "title", "cite", "says", "verdict", "numbers", "figure")]
            except (ValueError, KeyError, TypeError) as error:
                raise Unbuildable(f"{path} is no result of `refnorm reproduce`: {type(error).__name__}: {error}") from error
    declared = {name: _declared(claim) for name, claim in CLAIMS.items()}
    records = sorted({**declared, **found}.values(), key=lambda r: (r["section"], r["name"]))
    return [{**r, "title": r["title"][:1].upper() + r["title"][1:]} for r in records]


def _linked(html: str, names: set[str]) -> str:
    """With links where another claim is named."""
    hyphened = sorted((re.escape(n) for n in names if "-" in n), key=len, reverse=True)
    pattern = rf"(?<![\w-])({'|'.join(hyphened)})(?![\w-])"
    return re.sub(pattern, r'<a href="\1.html">\1</a>', html) if hyphened else html


def _declared(claim: Claim) -> dict[str, Any]:
    """A claim's record without what only a run can say."""
    told = {f: getattr(claim, f) for f in ("name", "section", "title", "says", "origin", "conditions", "seeds")}
    rest: dict[str, Any] = {"numbers": [], "tables": {}, "conclusion": "", "seconds": None, "figure": f"{claim.name}.svg"}
    cite = dataclasses.asdict(claim.cite)
    return {**told, "cite": cite, "command": f"refnorm reproduce {claim.name}", "verdict": "not run", **rest}


def _context(record: Mapping[str, Any]) -> dict[str, Any]:
    cite = Citation(**record["cite"])
    tables = record["tables"]
    return {
        "title": record["title"], "description": record["says"].split("\n")[0], "record": record,
        "kind": VERDICTS[record["verdict"]], "says": prose(record["says"]), "cite": cite, "bibtex": bibtex(cite),
        "conclusion": prose(record["conclusion"]), "numbers": [_number(n) for n in record["numbers"]],
        "tables": [
            {"name": name, "columns": table["columns"], "rows": [[_cell(v) for v in row] for row in table["rows"]]}
            for name, table in tables.items()
        ],
    }  # fmt: skip


def _number(n: Mapping[str, Any]) -> dict[str, Any]:
    low, high = (None if v is None else _cell(v) for v in (n["low"], n["high"]))
    if low and high:
        asked = f"exactly {low}" if low == high else f"{low} to {high}"
    else:
        asked = f"at least {low}" if low else f"at most {high}"
    said = "" if n["paper"] is None else _cell(n["paper"])
    state = "no" if n["ok"] is None else "yes" if n["ok"] else "wrong"
    word = {"no": "reported", "yes": "as asserted", "wrong": "outside"}[state]
    shown = {"asked": asked if n["asserted"] else "", "paper": said, "measured": _cell(n["measured"])}
    return {**n, **shown, "kind": state, "word": word}


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
