"""A claim's page of numbers: DIR/NAME.json, with its figure DIR/NAME.svg and DIR/NAME.png.

{"name", "section", "title", "cite": {"authors", "title", "venue", "year", "arxiv"}, "says", "origin", "conditions", "seeds",
 "command", "numbers": [{"what", "paper", "measured", "low", "high", "asserted", "ok", "note"}],
 "tables": {name: {"columns", "rows"}}, "verdict", "conclusion", "figure", "seconds"}

JSON has no infinity and no NaN: they stand as the strings "inf", "-inf", "nan".
"""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from .claim import Claim, Number, Result


def record(claim: Claim, result: Result, seconds: float) -> dict[str, Any]:
    """The claim and its result as JSON has them."""
    told = {f.name: getattr(claim, f.name) for f in dataclasses.fields(claim) if f.name not in ("measure", "figure", "cite")}
    page = {
        **told,
        "cite": dataclasses.asdict(claim.cite),
        "command": f"refnorm reproduce {claim.name}",
        "numbers": [_number(n) for n in result.numbers],
        "tables": {name: {"columns": columns, "rows": rows} for name, (columns, rows) in result.tables.items()},
        "verdict": result.verdict,
        "conclusion": result.conclusion,
        "figure": f"{claim.name}.svg",
        "seconds": round(seconds, 1),
    }
    return {key: _plain(value) for key, value in page.items()}


def write(claim: Claim, result: Result, seconds: float, folder: Path) -> None:
    """The JSON and the figure, into a folder that is made where it is missing."""
    from .style import drawn

    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(record(claim, result, seconds), indent=1, allow_nan=False, ensure_ascii=False)
    (folder / f"{claim.name}.json").write_text(text + "\n")
    with drawn(claim, result) as figure:
        figure.savefig(folder / f"{claim.name}.svg", metadata={"Date": None})
        figure.savefig(folder / f"{claim.name}.png")


def _number(n: Number) -> dict[str, Any]:
    return {**dataclasses.asdict(n), "ok": n.ok}


def _plain(value: Any) -> Any:
    """Python's own numbers, lists and strings in the place of NumPy's."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
