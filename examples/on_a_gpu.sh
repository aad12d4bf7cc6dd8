#!/usr/bin/env bash
# The CUDA kernels judged and measured on this machine's GPU, within ten minutes, from a checkout, without a network.  Needed: a
# Python (PYTHON=..., default python3) with PyTorch built for CUDA, numba-cuda, and refnorm's own requirements.
#
#   examples/on_a_gpu.sh [OUT]     OUT (default ./on_a_gpu) is given machine.txt, first.txt, quick-DTYPE.txt, bench.txt,
#                                  bench.json and full-METHOD.txt
#
# Every step has a limit of its own, and what a step has found is kept when the next one fails.  Exit code: 0 all is right, 1
# something is wrong or was cut short (the last lines say what), 2 there is no GPU here, or something is missing.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 2
out=$(mkdir -p "${1:-on_a_gpu}" && cd "${1:-on_a_gpu}" && pwd) || exit 2
export PYTHON=${PYTHON:-python3} OUT=$out PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
export OMP_NUM_THREADS=2 OPENBLAS_NUM_THREADS=2      # several processes share the cores
wrong=()
step() { printf '\n== %s (%ss)\n' "$*" "$SECONDS"; }

"$PYTHON" -c 'import sys; from refnorm.bench.cuda import missing; print(f"refnorm: {missing()}") if missing() else sys.exit(7)'
case $? in 7) ;; *) exit 2 ;; esac
{
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader || echo "no nvidia-smi here"
    "$PYTHON" -c 'import importlib.metadata as m; print(*(f"{p} {m.version(p)}" for p in ("numba", "numba-cuda", "torch", "numpy")))'
} 2>&1 | tee "$out/machine.txt"

step "a first call"
timeout 90 "$PYTHON" - 2>&1 <<'PYTHON' | tee "$out/first.txt" || wrong+=("the first call")
import torch
import refnorm as rn

for dtype in (torch.float32, torch.bfloat16):
    x = (torch.randn(4096, 1024, device="cuda") + 100).to(dtype)
    gamma, beta = (torch.randn(1024, device="cuda").to(dtype) for _ in range(2))
    y, cache = rn.layer_norm.forward(x, gamma, beta, backend="cuda")
    dx, dgamma, dbeta = rn.layer_norm.backward(torch.randn_like(x), cache, backend="cuda")
    right = torch.nn.functional.layer_norm(x.double(), (1024,), gamma.double(), beta.double())
    print(dtype, type(y).__module__, y.device, "largest error", float((y.double() - right).abs().max()))
x = torch.randn(512, 64, 7, 7, device="cuda")
for method in (rn.iterative_norm, rn.batch_whitening_cholesky):
    y, cache, state = method.forward(x, eps=1e-3, backend="cuda")
    dx, *_ = method.backward(torch.randn_like(x), cache, backend="cuda")
    right, *_ = method.forward(x.cpu().numpy(), eps=1e-3)
    error = float((y.cpu() - torch.from_numpy(right)).abs().max())
    print(method.__name__, y.device, state.covariance.device, "largest error", error, bool(dx.isfinite().all()))
PYTHON

step "judged quickly, a process for each dtype"
# Kernels are compiled when first called, which takes most of the time.
judge() {
    timeout --foreground 150 "$PYTHON" -m refnorm check --backend cuda --quick --dtype "$1" >"$OUT/quick-$1.txt" 2>&1
    local code=$?
    printf '%s: exit code %s; %s\n' "$1" "$code" "$(tail -n 1 "$OUT/quick-$1.txt")"
    return "$code"
}
export -f judge
printf '%s\n' float32 bfloat16 float16 float64 | xargs -P 4 -I {} bash -c 'judge {}' || wrong+=("quickly judged")

step "measured, alone"
timeout 290 "$PYTHON" -m refnorm bench --backend cuda --against torch --json "$out/bench.json" 2>&1 | tee "$out/bench.txt" \
    || wrong+=("measured")

step "judged in full, as many methods as there is time for"
full() {
    timeout --foreground 120 "$PYTHON" -m refnorm check --backend cuda --norm "$1" >"$OUT/full-$1.txt" 2>&1
    local code=$?
    printf '%s: exit code %s; %s\n' "$1" "$code" "$(tail -n 1 "$OUT/full-$1.txt")"
    return "$code"
}
export -f full
left=$((580 - SECONDS))
if [ "$left" -gt 20 ]; then
    "$PYTHON" -c 'from refnorm.kernels.cuda import METHODS; print(*METHODS, sep="\n")' \
        | timeout "$left" xargs -P "$(nproc)" -I {} bash -c 'full {}' || wrong+=("judged in full")
fi

step "done"
[ ${#wrong[@]} -eq 0 ] && echo "all is right" && exit 0
printf 'wrong, or cut short: %s\n' "${wrong[@]}"
exit 1
