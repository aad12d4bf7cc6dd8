#!/usr/bin/env bash
# The CUDA kernels judged and measured on this machine's GPU, within ten minutes, from a checkout, without a network.  Needed: a
# Python (PYTHON=..., default python3) with PyTorch built for CUDA, numba-cuda, and refnorm's own requirements.
#
#   examples/on_a_gpu.sh [OUT]      writes OUT/check.txt, OUT/check.json, OUT/bench.json and OUT/bench.txt (default: ./on_a_gpu)
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-on_a_gpu}
python=${PYTHON:-python3}
mkdir -p "$out"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader | tee "$out/machine.txt"
"$python" -c 'import importlib.metadata as m; print(*(f"{p} {m.version(p)}" for p in ("numba", "numba-cuda", "torch", "numpy")))' \
    | tee -a "$out/machine.txt"

echo "== a first call ($SECONDS s)"
"$python" - <<'PYTHON'
import torch
import refnorm as rn

for dtype in (torch.float32, torch.bfloat16):
    x = (torch.randn(4096, 1024, device="cuda") + 100).to(dtype)
    gamma, beta = (torch.randn(1024, device="cuda").to(dtype) for _ in range(2))
    y, cache = rn.layer_norm.forward(x, gamma, beta, backend="cuda")
    dx, dgamma, dbeta = rn.layer_norm.backward(torch.randn_like(x), cache, backend="cuda")
    right = torch.nn.functional.layer_norm(x.double(), (1024,), gamma.double(), beta.double())
    print(dtype, type(y).__module__, y.device, "largest error", float((y.double() - right).abs().max()))
PYTHON

echo "== judged ($SECONDS s)"
judged=0
timeout 240 "$python" -m refnorm check --backend cuda --quick --json "$out/check.json" 2>&1 | tee "$out/check.txt" || judged=$?

echo "== measured ($SECONDS s)"
timeout 300 "$python" -m refnorm bench --backend cuda --against torch --json "$out/bench.json" 2>&1 | tee "$out/bench.txt"

echo "== done ($SECONDS s); judged: exit code $judged (0 right, 1 wrong, 124 out of time)"
exit "$judged"
