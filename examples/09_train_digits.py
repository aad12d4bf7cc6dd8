"""9. Train digits, with any norm in any place.

A small network on 1437 images of handwritten digits, seconds a run.  Any method of `refnorm list` that acts on activations or
on weights can be put into it, before the activation or after it, and SAM-ON perturbs the norm's parameters alone.  The step is
the declared one: what trains here is what refnorm proves.

    python examples/09_train_digits.py                                        the tour
    python examples/09_train_digits.py --norm layer_norm --place post         one network of your own
    python examples/09_train_digits.py --norm batch_norm --weight-norm weight_norm --optimizer sam-on --steps 600
"""

import argparse
import time

import refnorm as rn
from refnorm.data.digits import load_digits
from refnorm.nets import MLP, SAM, SAM_ON, SGD, SphereSGD, train

OPTIMIZERS = {
    "sgd": lambda lr: SGD(lr, momentum=0.9),
    "sphere": lambda lr: SphereSGD(lr, momentum=0.9),
    "sam": lambda lr: SAM(0.05, SGD(lr, momentum=0.9)),
    "sam-on": lambda lr: SAM_ON(0.05, SGD(lr, momentum=0.9)),
}
NEEDS = {"num_groups": 4, "virtual_batch_size": 16, "centre_window": 3, "pool_window": 3, "num_heads": 4}
"""What some norms cannot do without."""
TOUR = (
    {"norm": None},
    {"norm": "batch_norm"},
    {"norm": "layer_norm"},
    {"norm": "group_norm"},
    {"norm": "rms_norm", "place": "post"},
    {"norm": "iterative_norm"},
    {"norm": None, "weight_norm": "scaled_weight_standardization"},
    {"norm": "batch_norm", "optimizer": "sphere"},
    {"norm": "batch_norm", "optimizer": "sam"},
    {"norm": "batch_norm", "optimizer": "sam-on"},
)


def options_of(norm):
    """The options that a norm asks for and has no default of."""
    if norm is None:
        return {}
    known = rn.NORMS[norm].signature.parameters
    return {name: value for name, value in NEEDS.items() if name in known and known[name].default is known[name].empty}


def run(norm=None, place="pre", weight_norm=None, optimizer="sgd", lr=0.05, steps=200, seed=0):
    """Loss at the end, test accuracy, the share of parameters that belong to norms, seconds."""
    digits, start = load_digits(), time.perf_counter()
    network = MLP((64, 48, 48, 10), norm=norm, norm_options=options_of(norm), place=place, weight_norm=weight_norm)
    trained = train(network, digits.rows, digits.labels, steps=steps, optimizer=OPTIMIZERS[optimizer](lr), seed=seed)
    sizes = {name: p.size for name, p in trained.parameters.items()}
    share = sum(n for name, n in sizes.items() if "norm" in name) / sum(sizes.values())
    accuracy = trained.accuracy(digits.test_rows, digits.test_labels)
    return {"loss": trained.losses[-20:].mean(), "accuracy": accuracy, "share": share, "seconds": time.perf_counter() - start}


def line(settings, found):
    where = f"{settings.get('norm') or 'none'} {settings.get('place', '') if settings.get('norm') else ''}".strip()
    weight = settings.get("weight_norm") or ""
    made = f"  {where:<22}{weight:<32}{settings.get('optimizer', 'sgd'):<9}"
    return f"{made}{found['loss']:>8.4f}{found['accuracy']:>10.1%}{found['share']:>9.1%}{found['seconds']:>8.1f} s"


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--norm", help="of activations, as `refnorm list` has it")
    parser.add_argument("--place", choices=("pre", "post"), default="pre", help="before the activation (default), or after it")
    parser.add_argument("--weight-norm", help="of weights")
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default="sgd")
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = vars(parser.parse_args(argv))
    for name in filter(None, (options["norm"], options["weight_norm"])):
        if name not in rn.NORMS:
            parser.error(f"no method is called {name!r}; `refnorm list` has them")
    chosen = [options] if options["norm"] or options["weight_norm"] else [{**options, **t} for t in TOUR]
    print(f"  {'norm':<22}{'of weights':<32}{'steps by':<9}{'loss':>8}{'accuracy':>10}{'norm’s':>9}")
    for settings in chosen:
        try:
            print(line(settings, run(**settings)), flush=True)
        except ValueError as error:
            parser.error(str(error))
    print(f"\n  {options['steps']} steps of 64 images, learning rate {options['lr']}, seed {options['seed']}; 360 test images")
    print("  norm’s: the share of parameters that belong to norms, which is all that SAM-ON perturbs")


if __name__ == "__main__":
    main()
