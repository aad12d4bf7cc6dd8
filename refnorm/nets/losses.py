"""Losses: means over the batch, as steps of the tape."""

from __future__ import annotations

from typing import Any

import numpy as np

from refnorm.autodiff.joint import joint


def cross_entropy(logits: Any, labels: np.ndarray) -> Any:
    """Mean of -log softmax(logits)[label]: logits (N, K), labels (N,) integers.

    With p = softmax(logits), dL/dlogits = (p - onehot(label)) / N.
    """
    n, classes = np.shape(logits)
    labels = np.asarray(labels)
    if labels.shape != (n,) or labels.dtype.kind not in "iu" or (n and not 0 <= labels.min() <= labels.max() < classes):
        raise ValueError(f"labels has shape {labels.shape} and dtype {labels.dtype}; logits has shape {(n, classes)}, so it "
                         f"must be {n} integers in 0..{classes - 1}")
    onehot = np.eye(classes)[labels]

    def forward(logits: Any) -> tuple[Any, Any]:
        shifted = logits - np.max(logits, axis=1, keepdims=True)
        logp = shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))
        return -np.sum(logp * onehot) / n, logp

    return joint(forward, lambda g, logp: (g * (np.exp(logp) - onehot) / n,))(logits)


def squared_error(outputs: Any, targets: Any) -> Any:
    """Mean over the batch of half the squared distance: outputs (N, K), targets (N, K)."""
    if np.shape(outputs) != np.shape(targets):
        raise ValueError(f"targets has shape {np.shape(targets)}; it must have the shape of outputs, {np.shape(outputs)}")
    return 0.5 * np.sum(np.square(outputs - targets)) / np.shape(outputs)[0]


def accuracy(logits: Any, labels: np.ndarray) -> float:
    """The share of rows whose largest logit is at the label."""
    return float(np.mean(np.argmax(logits, axis=1) == labels))
