"""Writes bootstrap.json: intervals that resample slides, by scipy.stats.bootstrap.

    pip install numpy scipy && python tests/golden/bootstrap.py

Each slide is [class, right images, images]. With 100,000 draws of scipy's the ends are known to about 0.002.
"""

import json
import pathlib

import numpy as np
from scipy.stats import bootstrap

rng = np.random.default_rng(1979)


def accuracy(right, total, axis=-1):
    return right.sum(axis=axis) / total.sum(axis=axis)


def patient_rate(right, total, axis=-1):
    return (right / total).mean(axis=axis)


def interval(statistic, right, total):
    result = bootstrap(
        (right, total), statistic, n_resamples=100_000, paired=True, vectorized=True, confidence_level=0.95,
        method="percentile", random_state=rng, batch=10_000,
    ).confidence_interval
    return [float(result.low), float(result.high)]


def case(slides):
    classes = rng.integers(0, 2, slides)
    total = rng.integers(2, 30, slides)
    right = rng.binomial(total, rng.uniform(0.2, 1, slides))
    return {
        "slides": np.stack([classes, right, total], 1).tolist(),
        "accuracy": interval(accuracy, right, total),
        "patient_rate": interval(patient_rate, right, total),
    }


golden = [case(12), case(30), case(80)]
path = pathlib.Path(__file__).with_name("bootstrap.json")
path.write_text(json.dumps(golden, separators=(",", ":")) + "\n")
