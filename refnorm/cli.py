"""The command `refnorm`: list, show, check, reproduce.  Exit codes: 0 right, 1 wrong, 2 unusable."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

USAGE = """\
  refnorm list                               every method, from its declaration
  refnorm show layer_norm                    formula, area, facts, citation, and the very source of forward and backward
  refnorm facts                              methods x invariances, methods x constraints: what holds, and the witness where not
  refnorm check                              prove every method: witnesses, invariances, constraints
  refnorm check torch                        judge PyTorch's own operations
  refnorm check --backend numba              judge refnorm's own kernels as anybody's
  refnorm check kernel.py:my_layer_norm --norm layer_norm
                                             judge yours: right or wrong, which dialect, how many bits, the smallest input
  refnorm vectors OUT --norm layer_norm --format raw
                                             golden vectors with a tolerance for every element, for any language
  refnorm reproduce                          what the papers say, measured: a table of numbers and a verdict a claim
  refnorm reproduce stochasticity --out DIR  one claim; its numbers as JSON, its figure as SVG and PNG
  refnorm atlas OUT --claims DIR             static pages: every method, every claim, lessons, exercises; open OUT/index.html
  refnorm check OUT/exercises/01_center.py   an exercise of the atlas, filled in: right, or what is wrong
"""


def parser() -> argparse.ArgumentParser:
    from refnorm import __version__

    top = argparse.ArgumentParser(
        prog="refnorm",
        description="The reference for normalization in deep learning.",
        epilog=USAGE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"refnorm {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    commands.add_parser("list", help="every method, from its declaration")

    show = commands.add_parser("show", help="one method: formula, area, facts, citation, source")
    show.add_argument("name", help="a method's name, as `refnorm list` has it")

    facts = commands.add_parser("facts", help="methods x invariances and methods x constraints, each cell measured now")
    facts.add_argument("name", nargs="?", help="one method, with every witness in words")

    check = commands.add_parser(
        "check",
        help="prove refnorm's own methods, or judge a candidate",
        epilog=USAGE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    check.add_argument(
        "target",
        nargs="?",
        help="torch, a candidate (path/to/file.py:name, package.module:name, model.onnx, exec:./program), an exercise of the "
        "atlas (path/to/exercise.py); nothing: refnorm itself",
    )
    check.add_argument("--norm", help="what the candidate claims to be, a method's name; without a target: prove this one only")
    check.add_argument("--backend", help="judge refnorm's own kernels instead: numba, cuda (with --norm: one method's)")
    check.add_argument("--dialect", help="whose conventions it should follow (default: the one that it is found to speak)")
    check.add_argument("--dtype", help="comma-separated: float64,float32,float16,bfloat16")
    check.add_argument("--normalized-ndim", type=int, metavar="N", help="trailing axes that a layer or rms norm normalizes")
    check.add_argument("--channel-axis", type=int, choices=(1, -1), help="where your candidate has its channels (default 1)")
    check.add_argument("--quick", action="store_true", help="the checks that find most bugs, in seconds")
    check.add_argument("--seed", type=int, default=0, help="of every draw (default 0)")
    check.add_argument("--json", type=Path, metavar="FILE", help="write the report as JSON")
    check.add_argument("--plot", type=Path, metavar="FILE", help="draw error against |mean|/std with its bound (.png, .svg)")
    check.add_argument("--junit", type=Path, metavar="FILE", help="write the report as JUnit XML")
    check.add_argument("--replay", type=Path, metavar="FILE", help="run a saved counterexample again")
    check.add_argument("--verbose", "-v", action="store_true", help="every finding, not the red ones alone")

    vectors = commands.add_parser("vectors", help="golden vectors for other languages, with a tolerance for every element")
    vectors.add_argument("out", type=Path, help="the folder to write; its manifest names every case")
    vectors.add_argument("--norm", required=True, help="a method's name")
    vectors.add_argument("--format", default="npz", help="npz, safetensors, json or raw (default npz)")
    vectors.add_argument("--dialect", help="whose conventions (default: torch)")
    vectors.add_argument("--dtype", help="comma-separated: float64,float32,float16,bfloat16")
    vectors.add_argument("--quick", action="store_true", help="fewer cases")
    vectors.add_argument("--seed", type=int, default=0, help="of every draw (default 0)")

    bench = commands.add_parser("bench", help="kernels against a peer, side by side in one process, accuracy beside speed")
    bench.add_argument("--backend", default="numba", help="numba (default), or cuda")
    bench.add_argument("--against", default="torch", help="torch (default)")
    bench.add_argument("--json", type=Path, metavar="FILE", help="write the cells as JSON")
    bench.add_argument("--saved", type=Path, metavar="FILE", help="show a saved run: tables in Markdown, or its picture")
    bench.add_argument("--picture", type=Path, metavar="FILE", help="draw ratios, bandwidth and accuracy (.png, .svg)")
    bench.add_argument("--threads", default="1,2", help="comma-separated thread counts (default 1,2)")
    bench.add_argument("--only", default="", help="operations whose name contains this")

    reproduce = commands.add_parser("reproduce", help="what the papers say, measured: numbers, verdict, figure")
    reproduce.add_argument("names", nargs="*", metavar="NAME", help="claims, as --list has them (default: all)")
    reproduce.add_argument("--list", action="store_true", help="the claims, a line each")
    reproduce.add_argument("--out", type=Path, metavar="DIR", help="write NAME.json, NAME.svg and NAME.png of each claim there")
    reproduce.add_argument("--executor", default="local", help="local (default), serial, dask://HOST:PORT or mpi")
    reproduce.add_argument("--workers", type=int, default=2, metavar="N", help="local processes or MPI ranks (default 2)")

    atlas = commands.add_parser("atlas", help="static pages of every method, claim and lesson, to open from the disk")
    atlas.add_argument("out", type=Path, help="the folder to write; open its index.html")
    atlas.add_argument("--claims", type=Path, metavar="DIR", help="results that `refnorm reproduce --out DIR` wrote")
    atlas.add_argument("--only", metavar="NAMES", help="comma-separated methods (default: all)")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    options = parser().parse_args(argv)
    try:
        return COMMANDS[options.command](options)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 2
    except BrokenPipeError:                         # `refnorm list | head`
        sys.stderr.close()
        return 0


def unusable(line: str) -> int:
    print(f"refnorm: {line}", file=sys.stderr)
    return 2


def list_(options: argparse.Namespace) -> int:
    from refnorm import NORMS
    from refnorm.display.catalogue import catalogue

    catalogue(NORMS.values())
    return 0


def show(options: argparse.Namespace) -> int:
    from refnorm import NORMS
    from refnorm.display.catalogue import portrait

    if options.name not in NORMS:
        return unusable(f"no method is called {options.name!r}; there are {', '.join(NORMS)}")
    portrait(NORMS[options.name])
    return 0


def facts(options: argparse.Namespace) -> int:
    from refnorm import NORMS
    from refnorm.display.facts import matrices

    if options.name is not None and options.name not in NORMS:
        return unusable(f"no method is called {options.name!r}; there are {', '.join(NORMS)}")
    chosen = [m for name, m in NORMS.items() if options.name in (None, name)]
    return 0 if matrices(chosen, in_words=options.name is not None) else 1


def check(options: argparse.Namespace) -> int:
    if options.target is None and options.replay is None and options.backend is None:
        return prove(options)
    if options.norm is None and options.replay is None and str(options.target).endswith(".py"):
        from refnorm.atlas.command import exercise

        return exercise(options)
    from refnorm.conformance.command import judge

    return judge(options)


def vectors(options: argparse.Namespace) -> int:
    from refnorm.conformance.command import write

    return write(options)


def bench(options: argparse.Namespace) -> int:
    from refnorm.bench.command import bench, show

    if options.saved is not None:
        return show(options.saved, options.picture)
    threads = [int(n) for n in options.threads.split(",")]
    return bench(options.backend, options.against, options.json, threads, options.only, picture=options.picture)


def reproduce(options: argparse.Namespace) -> int:
    from refnorm.display.claims import list_claims, reproduce

    if options.list:
        list_claims()
        return 0
    return reproduce(options.names, options.out, options.executor, options.workers)


def atlas(options: argparse.Namespace) -> int:
    from refnorm.atlas.command import write

    return write(options)


def prove(options: argparse.Namespace) -> int:
    """refnorm's own methods, each by its declaration."""
    from refnorm import NORMS
    from refnorm.display.proofs import proofs

    if options.norm is not None and options.norm not in NORMS:
        return unusable(f"no method is called {options.norm!r}; there are {', '.join(NORMS)}")
    chosen = [m for name, m in NORMS.items() if options.norm in (None, name)]
    findings = proofs(chosen, options.seed, options.verbose)
    if options.json:
        import json

        options.json.write_text(json.dumps([vars(f) for f in findings], indent=1))
    return 0 if all(f.ok for f in findings) else 1


COMMANDS = {
    "list": list_,
    "show": show,
    "facts": facts,
    "check": check,
    "vectors": vectors,
    "bench": bench,
    "reproduce": reproduce,
    "atlas": atlas,
}


if __name__ == "__main__":
    sys.exit(main())
