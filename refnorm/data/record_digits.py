"""Train a small network on scikit-learn's digits and record what reaches each of its seven norms.

    python -m refnorm.data.record_digits        (about a minute; needs scikit-learn: pip install "refnorm[plots]")

The file beside this script, digits_activations.npz, is what it wrote: real inputs for the conformance kit, whose channels
have the means, spreads and dead units that random draws do not have.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import refnorm as rn
from refnorm.autodiff import vjp

FILE = Path(__file__).with_name("digits_activations.npz")
CONVOLUTIONS = {
    "batch_norm": {},
    "group_norm": {"num_groups": 4},
    "instance_norm": {},
    "position_norm": {},
    "mean_variance_norm": {},
}
DENSE = ("layer_norm", "rms_norm")
WIDTH, HIDDEN, CLASSES = 8, 32, 10


def load() -> dict[str, np.ndarray]:
    """The recorded activations by norm: float32, (32, 8, 8, 8) before the convolutional norms, (32, 32) before the others."""
    with np.load(FILE) as file:
        return {name: file[name] for name in file.files}


def convolve(x: Any, w: Any) -> Any:
    """3 x 3, padding 1: x (N, I, H, W), w (O, I, 3, 3)."""
    h, v = x.shape[2:]
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    shifts = [np.einsum("nihw,oi->nohw", padded[:, :, i : i + h, j : j + v], w[:, :, i, j]) for i in range(3) for j in range(3)]
    return sum(shifts[1:], shifts[0])


def network(x: Any, parameters: dict[str, Any], record: dict[str, Any] | None = None) -> Any:
    """Logits (N, 10) for images (N, 1, 8, 8); `record` receives what reaches each norm."""

    def normalized(name: str, h: Any, **options: Any) -> Any:
        if record is not None:
            record[name] = h
        affine = [parameters[key] for key in (f"{name}.gamma", f"{name}.beta") if key in parameters]
        return rn.NORMS[name].forward(h, *affine, **options)[0]

    for name, options in CONVOLUTIONS.items():
        x = np.maximum(normalized(name, convolve(x, parameters[f"{name}.w"]), **options), 0)
    x = np.reshape(x, (x.shape[0], -1))
    for name in DENSE:
        x = np.maximum(normalized(name, x @ parameters[f"{name}.w"]), 0)
    return x @ parameters["out.w"]


def initial(rng: np.random.Generator) -> dict[str, np.ndarray]:
    parameters = {}
    channels, features = 1, WIDTH * 64
    for name in (*CONVOLUTIONS, *DENSE):
        if name in CONVOLUTIONS:
            parameters[f"{name}.w"] = rng.normal(size=(WIDTH, channels, 3, 3)) * np.sqrt(2 / (9 * channels))
            channels, units = WIDTH, WIDTH
        else:
            parameters[f"{name}.w"] = rng.normal(size=(features, HIDDEN)) * np.sqrt(2 / features)
            features = units = HIDDEN
        for key, value in zip(rn.NORMS[name].arrays[1:], (1.0, 0.0), strict=False):
            parameters[f"{name}.{key}"] = np.full(units, value)
    parameters["out.w"] = rng.normal(size=(HIDDEN, CLASSES)) / np.sqrt(HIDDEN)
    return parameters


def loss(logits: Any, labels: np.ndarray) -> Any:
    """Mean cross-entropy."""
    shifted = logits - np.max(logits, axis=1, keepdims=True)
    picked = np.sum(shifted * np.eye(CLASSES)[labels], axis=1)
    return np.mean(np.log(np.sum(np.exp(shifted), axis=1)) - picked)


def train(images: np.ndarray, labels: np.ndarray, steps: int = 300, batch: int = 64, rate: float = 0.05) -> dict[str, Any]:
    """SGD with momentum 0.9."""
    rng = np.random.default_rng(0)
    parameters = initial(rng)
    velocity = {name: np.zeros_like(p) for name, p in parameters.items()}
    for step in range(steps):
        chosen = rng.choice(len(images), batch, replace=False)

        def objective(*values: Any, chosen: np.ndarray = chosen) -> Any:
            return loss(network(images[chosen], dict(zip(parameters, values, strict=True))), labels[chosen])

        value, pull = vjp(objective, *parameters.values())
        for (name, p), g in zip(parameters.items(), pull(np.ones(())), strict=True):
            velocity[name] = 0.9 * velocity[name] + g
            parameters[name] = p - rate * velocity[name]
        if step % 50 == 49:
            print(f"step {step + 1}: loss {float(value):.4f}")
    return parameters


def main() -> None:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images, labels = digits.images[:, None] / 16.0, digits.target
    parameters = train(images[:1500], labels[:1500])
    accuracy = np.mean(np.argmax(network(images[1500:], parameters), axis=1) == labels[1500:])
    print(f"test accuracy {accuracy:.3f}")
    record: dict[str, Any] = {}
    network(images[1500:1532], parameters, record)
    np.savez_compressed(FILE, **{name: h.astype(np.float32) for name, h in record.items()})
    print(f"wrote {FILE}, {FILE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
