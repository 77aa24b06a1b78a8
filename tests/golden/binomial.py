#!/usr/bin/env python3
"""Writes binomial.json: exact bounds and tests of counts, the quantities of randomized smoothing, certified accuracy.

pip install numpy scipy statsmodels; python binomial.py
Versions when last run: scipy 1.17.1, statsmodels 0.15.0.

counts     one-sided Clopper-Pearson bounds (statsmodels' proportion_confint(alpha=2 alpha, method="beta"), which is SciPy's
           beta.ppf) and the two-sided binomial test at 1/2 (SciPy's binomtest)
intervals  proportion_confint(alpha=0.05, method="beta")
normal     pairs of a probability and SciPy's norm.ppf
certify    CERTIFY of Cohen et al. (2019): bound, and radius over sigma, None where it abstains
predict    PREDICT: the p-value, and whether it answers
accuracy   mean(right and R >= r), its bound with probability 1 - rho (analyze.py of locuslab/smoothing), mean radius
"""
import json, math, pathlib, random

import numpy as np
from scipy.stats import beta, binomtest, norm
from statsmodels.stats.proportion import proportion_confint

random.seed(2019)
ALPHA = 0.001


def bounds(hits, total, alpha):
    low, high = (float(bound) for bound in proportion_confint(hits, total, alpha=2 * alpha, method="beta"))
    if hits > 0:
        assert math.isclose(low, beta.ppf(alpha, hits, total - hits + 1), rel_tol=1e-12)
    return low, high


def count(hits, total, alpha):
    lower, upper = bounds(hits, total, alpha)
    p_value = float(binomtest(hits, total, 0.5).pvalue)
    # Near the smallest positive number there is nothing relative to compare.
    p_value = p_value if p_value > 1e-290 else None
    return dict(hits=hits, total=total, alpha=alpha, lower=lower, upper=upper, p_value=p_value)


def certify(hits, total):
    lower, _ = bounds(hits, total, ALPHA)
    return dict(hits=hits, total=total, lower=lower, radius=float(norm.ppf(lower)) if lower >= 0.5 else None)


def predict(first, second):
    p_value = float(binomtest(first, first + second, 0.5).pvalue)
    return dict(first=first, second=second, p_value=p_value, answers=p_value <= ALPHA)


def interval(hits, total):
    low, high = proportion_confint(hits, total, alpha=0.05, method="beta")
    return dict(hits=hits, total=total, low=float(low), high=float(high))


def accuracy(images):
    labels = np.array([random.randrange(3) for _ in range(images)])
    classes = np.where(np.array([random.random() < 0.2 for _ in range(images)]), -1, labels)
    wrong = np.array([random.random() < 0.2 for _ in range(images)])
    classes = np.where(wrong & (classes >= 0), (labels + 1) % 3, classes)
    hits = np.array([random.randrange(600, 1001) for _ in range(images)])
    hits = np.where(classes < 0, 500, hits)
    radius = np.array([norm.ppf(bounds(int(h), 1000, ALPHA)[0]) if c >= 0 else 0.0 for h, c in zip(hits, classes)]) * 0.25
    right = classes == labels
    at, rho = [], 0.01
    for r in (0.0, 0.1, 0.2, 0.35, 0.5, float(radius.max()), 0.7):
        mean = (right & (radius >= r)).mean()
        spread = math.sqrt(ALPHA * (1 - ALPHA) * math.log(1 / rho) / images) + math.log(1 / rho) / (3 * images)
        at.append(dict(radius=r, value=float(mean), lower=float(mean - ALPHA - spread)))
    return dict(labels=labels.tolist(), classes=classes.tolist(), hits=hits.tolist(), draws=1000, sigma=0.25, rho=rho, at=at,
                mean_radius=float((right * radius).mean()))


totals = [1, 2, 10, 100, 1000, 10_000, 100_000]
counts = []
for total in totals:
    hits = {1, total // 2, total // 2 + 1, total - 1, total} | {random.randint(1, total) for _ in range(6)} | {int(0.52 * total)}
    counts += [count(h, total, a) for h in sorted(hits - {0}) for a in (0.05, 0.001, 1e-5)]
certified = [(100, 100), (99, 100), (80, 100), (51, 100), (990, 1000), (10**5, 10**5), (99_999, 10**5), (10, 10), (9, 9)]
golden = dict(
    counts=counts,
    intervals=[interval(h, n) for h, n in [(0, 7), (1, 7), (7, 7), (90, 91), (500, 1000)]],
    normal=[[p, float(norm.ppf(p))] for p in (0.25, 0.500001, 0.6, 0.75, 0.9, 0.99, 0.999, 0.999930924833, 0.9999999)],
    certify=[certify(*case) for case in certified],
    predict=[predict(*case) for case in [(60, 40), (66, 34), (67, 33), (553, 447), (10, 0), (11, 0)]],
    accuracy=accuracy(60),
)
path = pathlib.Path(__file__).with_name("binomial.json")
path.write_text(json.dumps(golden, separators=(",", ":")) + "\n")
print(len(counts), golden["certify"], golden["predict"], sep="\n")
