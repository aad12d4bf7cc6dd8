"""5. Is my kernel right?  NumPy, PyTorch, and a program in C.

Three layer norms go before the judge.  The first divides by the unbiased deviation, a habit from statistics; the second is
PyTorch's own; the third is a C program that the judge starts once a call.  There is no tolerance to choose: what each element
may be off by is derived from the very input.

    python examples/05_is_my_kernel_right.py

From the shell it is one command:

    refnorm check my_kernel.py:layer_norm --norm layer_norm
    refnorm check "exec:./my_program" --norm layer_norm --dtype float32
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from refnorm.conformance import Candidate, check

C = Path(__file__).parent / "c"


def layer_norm(x, gamma, beta, *, eps=1e-5):
    """Right but for ddof=1."""
    axes = tuple(range(-gamma.ndim, 0))
    mean = x.mean(axes, keepdims=True)
    var = x.var(axes, keepdims=True, ddof=1)
    return (x - mean) / np.sqrt(var + x.dtype.type(eps)) * gamma + beta


def judge_numpy():
    return check(Candidate(layer_norm, dtypes=("float32",)), norm="layer_norm", quick=True)


def judge_torch():
    """PyTorch's layer norm, its gradients by autograd."""
    import torch

    def forward(x, gamma, beta, *, eps=1e-5):
        return torch.nn.functional.layer_norm(x, x.shape[-1:] if gamma is None else gamma.shape, gamma, beta, eps)

    return check(Candidate.from_torch(forward, dtypes=("float32",)), norm="layer_norm", quick=True)


def judge_c(folder):
    """examples/c/program.c, compiled into `folder`; None where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    program = Path(folder) / "program"
    subprocess.run([compiler, "-O2", str(C / "program.c"), str(C / "layer_norm.c"), "-lm", "-o", str(program)], check=True)
    return check(Candidate.from_command(str(program), dtypes=("float32",)), norm="layer_norm", quick=True)


def show(title, report):
    print(f"\n{title}\n\n  {report.headline}\n")
    for failure in report.failures[:1]:
        print("  The smallest input that shows it, ready to paste:\n")
        print("\n".join(f"    {line}" for line in failure.reproduce().splitlines()))
        print()
    passed = sum(o.status == "passed" for o in report.outcomes)
    print(f"  {passed} checks passed, {len(report.failures)} failed, {report.cases} cases, {report.seconds:.1f} s")


def main():
    show("A layer norm in NumPy", judge_numpy())
    try:
        show("PyTorch's layer norm", judge_torch())
    except ImportError:
        print("\nPyTorch's layer norm: PyTorch is not installed")
    with tempfile.TemporaryDirectory() as folder:
        report = judge_c(folder)
    if report is None:
        print("\nA layer norm in C: there is no compiler (cc, gcc) on the PATH")
    else:
        show("A layer norm in C", report)


if __name__ == "__main__":
    main()
