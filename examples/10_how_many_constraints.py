"""10. How many constraints can a group bear?

A normalized output is not free: each row that is standardized has mean 0 and variance 1, each block that is whitened has D
means and D (D + 1) / 2 covariances to meet.  Count them, and smaller groups bear more: that is why a group norm with as many
groups as channels, or a whitening of many channels from few samples, leaves a network little to say.  But counting is half of
it: there is no white block of D coordinates from fewer than D + 1 samples, however many unknowns there are.

    python examples/10_how_many_constraints.py
"""

import numpy as np

import refnorm as rn
from refnorm.analysis import constraint_system
from refnorm.analysis.constraint_system import ConstraintSystem

C, H, W = 64, 4, 4                                   # channels and positions of one sample


def group_norm_table():
    """For each number of groups: constraints, unknowns, and the share that is left free."""
    rows = []
    for groups in (1, 2, 4, 8, 16, 32, 64):
        system = constraint_system.of(rn.NORMS["group_norm"], x=np.zeros((1, C, H, W)), num_groups=groups)
        rows.append((groups, system.count, system.unknowns, 1 - system.count / system.unknowns))
    return rows


def whitening_table(d=8):
    """For a whitening of d channels from m samples: counted, possible, and how near to white anything can come."""
    rows = []
    for m in (4, 6, 7, 8, 9, 16):
        system = ConstraintSystem(1, d, m, whitens=True)
        found = system.minimized(np.random.default_rng(m))
        possible = system.allowed_by_counting, system.feasible
        rows.append((m, system.count, system.unknowns, *possible, system.least_residual, found))
    return rows


def ranks():
    """Are the constraints independent?  The rank of their Jacobian at a real output of the method."""
    rng, rows = np.random.default_rng(0), []
    for name, shape, options in (
        ("batch_norm", (8, 3), {}),
        ("group_norm", (2, 12), {"num_groups": 3}),
        ("batch_whitening_zca", (9, 5), {}),
        ("group_whitening_zca", (2, 20), {"num_groups": 4}),
    ):
        method, x = rn.NORMS[name], rng.normal(size=shape)
        system = constraint_system.of(method, x=x, **options)
        y = method.forward(x, eps=0.0, **options)[0]
        z = method.triple.partition(**method.resolve(x, **options)[0]).split(y)
        rows.append((name, shape, system.count, system.rank(z), system.unknowns))
    return rows


def main():
    print(f"Group norm of one sample, {C} channels of {H} x {W}: constraints against unknowns\n")
    print(f"  {'groups':>8}{'constraints':>13}{'unknowns':>10}{'left free':>12}")
    for groups, count, unknowns, free in group_norm_table():
        print(f"  {groups:>8}{count:>13}{unknowns:>10}{free:>11.1%}  {'#' * round(40 * free)}")

    print("\nWithout positions (a dense layer of 64 units) they leave less; of 32 groups each keeps a sign, no more\n")
    for groups in (8, 16, 32):
        system = ConstraintSystem(groups, 1, C // groups, whitens=False)
        print(f"  {groups:>8}{system.count:>13}{system.unknowns:>10}{1 - system.count / system.unknowns:>11.1%}")

    print("\nWhitening 8 channels from m samples: counting says m >= 5.5, the truth is m >= 9\n")
    head = f"  {'m':>4}{'constraints':>13}{'unknowns':>10}  {'by counting':<13}{'in truth':<11}"
    print(f"{head}{'least |cov - I|^2':>18}{'found by search':>17}")
    for m, count, unknowns, counted, feasible, least, found in whitening_table():
        said = ("allowed" if counted else "no", "possible" if feasible else "no")
        print(f"  {m:>4}{count:>13}{unknowns:>10}  {said[0]:<13}{said[1]:<11}{least:>18.0f}{abs(found):>17.6f}")
    print("\n  Centred rows have rank m - 1 at most, so d - m + 1 of the eigenvalues stay zero: that is the residual, exactly.")

    print("\nAre they independent?  The rank of the constraints' Jacobian at a real output\n")
    for name, shape, count, rank, unknowns in ranks():
        print(f"  {name:<22}{'x'.join(map(str, shape)):<8}{count:>4} constraints, rank {rank:>3}, of {unknowns} unknowns")

    counting, feasible = constraint_system.largest_group_count(256)
    print(f"\nGroup whitening of 256 units: counting allows {int(counting)} groups, {int(feasible)} can be white.")
    print("Ask for 16 at eps 0:\n")
    try:
        rn.group_whitening_zca(np.random.default_rng(0).normal(size=(2, 256)), num_groups=16, eps=0.0)
    except ValueError as error:
        print(f"  ValueError: {error}")


if __name__ == "__main__":
    main()
