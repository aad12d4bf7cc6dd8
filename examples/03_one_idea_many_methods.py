"""3. One idea, many methods.

A normalization is an area (which entries share statistics), an operation (what is done to them) and a recovery (what is given
back).  Here the same three lines, with nothing changed but one string, are batch norm, layer norm, group norm and so on; then
every method of refnorm that is such a triple is put together again from its parts and compared with what refnorm computes.

    python examples/03_one_idea_many_methods.py
"""

from collections import defaultdict

import numpy as np

import refnorm as rn
from refnorm.anatomy.area import Area, Layout
from refnorm.operations import standardize
from refnorm.proofs import problems

PATTERNS = {
    "batch_norm": "n c s -> c | | n s",
    "instance_norm": "n c s -> n c | | s",
    "group_norm": "n (g k) s -> n g | | k s",
    "position_norm": "n c s -> n s | | c",
}


def normalize(x, pattern, groups=None, eps=1e-5):
    """Any of them: sort the entries into rows, standardize the rows, put them back."""
    part = Area(pattern).partition(Layout.activations(x), groups)
    z = part.split(x)                               # (B, D, M): each of the B D rows shares statistics
    zhat, _ = standardize.forward(z, eps=eps)
    return part.merge(zhat)


def rebuilt(method, arguments):
    """y of a method from its area, operation and recovery, each called by itself."""
    call = method.triple.call(**arguments)
    zhat, _ = method.operation.forward(call.z, **call.options, **call.weighted)
    y = method.recovery.forward(call.part.merge(zhat), *call.parameters, layout=call.layout, **call.recovery_options)
    return call.layout.write(y)


def difference(method):
    """The largest difference between a method and itself rebuilt, on its own first example."""
    problem = next(problems(method))
    return float(np.max(np.abs(rebuilt(method, problem.arguments()) - problem.call(*problem.arrays))))


def main():
    x = np.random.default_rng(0).normal(size=(2, 6, 4, 4))
    print("One function, one string changed\n")
    for name, pattern in PATTERNS.items():
        options = {"num_groups": 3} if name == "group_norm" else {}
        theirs = getattr(rn, name)(x, eps=1e-5, **options)
        theirs = theirs[0] if isinstance(theirs, tuple) else theirs
        mine = normalize(x, pattern, 3 if options else None)
        blocks, _, samples = Area(pattern).partition(Layout.activations(x), 3 if options else None).blocks
        apart = np.max(np.abs(mine - theirs))
        print(f"  {name:<15}{pattern:<26}{blocks:>3} rows of {samples:<4}differs by {apart:.0e}")

    triples = [m for m in rn.NORMS.values() if m.triple]
    print(f"\n{len(triples)} of the {len(rn.NORMS)} methods are such triples, by operation and area\n")
    shelves = defaultdict(lambda: defaultdict(list))
    for m in triples:
        shelves[m.operation.name][m.area.words].append(m.name)
    for operation, areas in shelves.items():
        print(f"  {operation}")
        for words, names in areas.items():
            print(f"    {words:<28}{', '.join(names)}")
    worst = max(triples, key=difference)
    print(f"\nEach rebuilt from its three parts differs from itself by at most {difference(worst):.0e} ({worst.name})")
    others = [m.name for m in rn.NORMS.values() if not m.triple]
    print(f"\nThe other {len(others)} are no triples (mixtures, gates, windows, power iterations), and as well proven:\n")
    print("  " + ", ".join(others))


if __name__ == "__main__":
    main()
