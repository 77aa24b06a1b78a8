"""Writes metrics.json: metrics by scikit-learn, intervals by statsmodels, PSNR and SSIM by scikit-image.

    pip install numpy scikit-learn scikit-image statsmodels && python tests/golden/metrics.py
"""

import json
import pathlib

import numpy as np
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, recall_score, roc_auc_score
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

rng = np.random.default_rng(1927)


def binary(count, levels, shift):
    """Labels and tied scores (logit differences on a grid), with scikit-learn's metrics."""
    labels = rng.integers(0, 2, count)
    scores = np.round((rng.normal(size=count) + shift * labels) * levels) / levels
    predicted = (scores > 0).astype(int)
    return {
        "labels": labels.tolist(),
        "scores": scores.tolist(),
        "accuracy": accuracy_score(labels, predicted),
        "confusion": confusion_matrix(labels, predicted).tolist(),
        "sensitivity": recall_score(labels, predicted),
        "specificity": recall_score(labels, predicted, pos_label=0),
        "balanced_accuracy": balanced_accuracy_score(labels, predicted),
        "auroc": roc_auc_score(labels, scores),
    }


def multiclass(count, classes):
    labels = rng.integers(0, classes, count)
    logits = rng.normal(size=(count, classes)).astype(np.float32)
    logits[np.arange(count), labels] += 1
    predicted = logits.argmax(1)
    return {
        "labels": labels.tolist(),
        "logits": logits.tolist(),
        "accuracy": accuracy_score(labels, predicted),
        "confusion": confusion_matrix(labels, predicted).tolist(),
        "recalls": recall_score(labels, predicted, average=None).tolist(),
        "balanced_accuracy": balanced_accuracy_score(labels, predicted),
    }


def wilson(hits, total):
    low, high = proportion_confint(hits, total, method="wilson")
    return {"hits": hits, "total": total, "low": low, "high": high}


def newcombe(a, m, b, n):
    """Balanced accuracy a/m and b/n: half of the difference between a/m and the error 1 - b/n, plus a half."""
    low, high = confint_proportions_2indep(a, m, n - b, n, method="newcomb", compare="diff")
    return {"a": [a, m], "b": [b, n], "value": (a / m + b / n) / 2, "low": (low + 1) / 2, "high": (high + 1) / 2}


def similarity(channels, height, width, noise):
    first = rng.integers(0, 256, (channels, height, width))
    first = np.clip(first // 3 + np.linspace(0, 160, width).astype(int), 0, 255)
    second = np.clip(first + np.round(rng.normal(size=first.shape) * noise), 0, 255).astype(int)
    a, b = first / 255, second / 255
    return {
        "shape": [channels, height, width],
        "first": first.ravel().tolist(),
        "second": second.ravel().tolist(),
        "psnr": peak_signal_noise_ratio(a, b, data_range=1),
        "ssim": structural_similarity(
            a, b, data_range=1, channel_axis=0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        ),
    }


golden = {
    "binary": [binary(40, 100, 1.5), binary(60, 2, 0.8), binary(25, 1, -0.5)],
    "multiclass": [multiclass(50, 4)],
    # The paper's Tables 2 and 3 first.
    "wilson": [
        wilson(h, n)
        for h, n in [(154, 156), (153, 156), (90, 91), (88, 91), (10, 91), (25, 91), (0, 15), (15, 15), (1, 1), (13, 30)]
    ],
    "newcombe": [newcombe(90, 91, 64, 65), newcombe(10, 91, 60, 65), newcombe(0, 15, 15, 15), newcombe(7, 12, 3, 9)],
    "similarity": [similarity(3, 17, 23, 8), similarity(1, 11, 11, 40), similarity(3, 12, 30, 1)],
}
path = pathlib.Path(__file__).with_name("metrics.json")
path.write_text(json.dumps(golden, separators=(",", ":")) + "\n")
