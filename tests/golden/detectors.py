#!/usr/bin/env python3
"""Writes detectors.safetensors: autoencoders by PyTorch, marks and divergences by NumPy and SciPy, densities, shrunk
covariances and true-positive rates by scikit-learn.

pip install torch numpy scipy scikit-learn safetensors; python detectors.py
Versions when last run: torch 2.15.0, numpy 2.4.6, scipy 1.17.1, scikit-learn 1.9.1.
"""
import os

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax
from scipy.stats import entropy
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_curve
from sklearn.neighbors import KernelDensity

rng = np.random.default_rng(2017)
f32 = lambda *shape: rng.normal(size=shape).astype(np.float32).astype(np.float64)
out = {}


def autoencoder(name, channels, layers, activation, size):
    """MagNet's DenoisingAutoEncoder from fixed weights, in double precision, with the gradients of a training loss."""
    widths = [channels] + [w for w in layers if isinstance(w, int)]
    widths += widths[:0:-1] + [channels]
    weights = [torch.tensor(0.6 * f32(b, a, 3, 3), requires_grad=True) for a, b in zip(widths, widths[1:])]
    biases = [torch.tensor(0.3 * f32(b), requires_grad=True) for b in widths[1:]]
    images = torch.tensor(rng.uniform(size=(2, channels, *size)).astype(np.float32).astype(np.float64), requires_grad=True)
    target = torch.tensor(rng.uniform(size=(2, channels, *size)).astype(np.float32).astype(np.float64))
    number, activity, x = 0, 0.0, images

    def conv(x, act):
        nonlocal number, activity
        x = act(F.conv2d(x, weights[number], biases[number], padding=1))
        number += 1
        activity = activity + x.square().sum((1, 2, 3))
        return x

    for layer in layers:
        x = conv(x, activation) if isinstance(layer, int) else {"average": F.avg_pool2d, "max": F.max_pool2d}[layer](x, 2)
    for layer in reversed(layers):
        x = conv(x, activation) if isinstance(layer, int) else F.interpolate(x, scale_factor=2, mode="nearest")
    x = conv(x, torch.sigmoid)
    (F.mse_loss(x, target) + 1e-3 * activity.mean()).backward()
    for i, (w, b) in enumerate(zip(weights, biases)):
        out[f"{name}.weights.convs.{i}.weight"], out[f"{name}.weights.convs.{i}.bias"] = w.detach().float(), b.detach().float()
        out[f"{name}.weight_gradient.{i}"], out[f"{name}.bias_gradient.{i}"] = w.grad, b.grad
    out.update({f"{name}.images": images.detach(), f"{name}.target": target, f"{name}.output": x.detach(),
                f"{name}.activity": activity.detach(), f"{name}.image_gradient": images.grad})


autoencoder("cifar10", 3, [3], torch.sigmoid, (6, 5))
autoencoder("mnist_i", 1, [3, "average", 3], torch.sigmoid, (8, 6))
autoencoder("max", 3, [4, "max", 2], torch.relu, (6, 4))

def trained(name, steps):
    """The weights of the autoencoder `name` after full-batch Adam with Keras' settings, without noise."""
    weights = [torch.nn.Parameter(out[f"{name}.weights.convs.{i}.weight"].double()) for i in range(3)]
    biases = [torch.nn.Parameter(out[f"{name}.weights.convs.{i}.bias"].double()) for i in range(3)]
    adam, clean = torch.optim.Adam(weights + biases, lr=0.01, eps=1e-7), out[f"{name}.images"]
    losses = []
    for _ in range(steps):
        x, activity = clean, 0.0
        for w, b in zip(weights, biases):
            x = torch.sigmoid(F.conv2d(x, w, b, padding=1))
            activity = activity + x.square().sum((1, 2, 3))
        loss = F.mse_loss(x, clean) + 1e-4 * activity.mean()
        losses.append(loss.item())
        adam.zero_grad()
        loss.backward()
        adam.step()
    for i, (w, b) in enumerate(zip(weights, biases)):
        out[f"{name}.trained_weight.{i}"], out[f"{name}.trained_bias.{i}"] = w.detach(), b.detach()
    out[f"{name}.losses"] = torch.tensor(losses, dtype=torch.float64)


trained("cifar10", 20)

# Marks of fixed reconstructions, and divergences of fixed logits.
images, reconstructions = rng.uniform(size=(2, 5, 3, 4, 4)).astype(np.float32).astype(np.float64)
out["marks.images"], out["marks.reconstructions"] = torch.tensor(images), torch.tensor(reconstructions)
for power in (1, 2):
    out[f"marks.{power}"] = torch.tensor(np.mean(np.abs(images - reconstructions) ** power, axis=(1, 2, 3)))
p, q = 3 * f32(8, 4), 3 * f32(8, 4)
q[0], q[1], q[2] = p[0], p[1] + np.float32(0.01) * q[1].astype(np.float32), 40 * q[2]
q = q.astype(np.float32).astype(np.float64)
out["divergence.p"], out["divergence.q"] = torch.tensor(p), torch.tensor(q)
for temperature in (1, 10, 40):
    a, b = softmax(p / temperature, axis=1), softmax(q / temperature, axis=1)
    squared = np.array([jensenshannon(x, y) ** 2 for x, y in zip(a, b)])
    m = (a + b) / 2
    assert np.allclose(squared, (entropy(a, m, axis=1) + entropy(b, m, axis=1)) / 2, rtol=1e-6, atol=1e-16)
    out[f"divergence.{temperature}"] = torch.tensor(squared)

# Feature squeezing of a linear network by two bit depths.
images, weights = rng.uniform(size=(6, 3, 2, 2)).astype(np.float32).astype(np.float64), 2 * f32(12, 3)
probabilities = lambda x: softmax(x.reshape(6, 12) @ weights, axis=1)
moved = [np.abs(probabilities(images) - probabilities(np.round(images * n) / n)).sum(1) for n in (1, 3)]
out.update({"squeezing.images": torch.tensor(images), "squeezing.weights": torch.tensor(weights),
            "squeezing.scores": torch.tensor(np.max(moved, axis=0))})

# Densities and distances of features.
features, labels, queries, head = f32(40, 12), np.arange(40) % 3, 1.5 * f32(10, 12), f32(12, 3)
features = (features + 0.8 * labels[:, None]).astype(np.float32).astype(np.float64)
predicted = (queries @ head).argmax(1)
for bandwidth in (0.8, 2.5):
    kde = [KernelDensity(bandwidth=bandwidth).fit(features[labels == c]) for c in range(3)]
    found = [kde[c].score_samples(q[None])[0] for c, q in zip(predicted, queries)]
    out[f"density.{bandwidth}"] = torch.tensor(np.array(found))
means = np.stack([features[labels == c].mean(0) for c in range(3)])
shrunk = LedoitWolf(assume_centered=True).fit(features - means[labels])
distances = np.stack([shrunk.mahalanobis(queries - mean) for mean in means])
out.update({"features.train": torch.tensor(features), "features.labels": torch.tensor(labels),
            "features.queries": torch.tensor(queries), "features.head": torch.tensor(head),
            "mahalanobis": torch.tensor(distances.min(0)), "covariance": torch.tensor(shrunk.covariance_),
            "shrinkage": torch.tensor([shrunk.shrinkage_], dtype=torch.float64)})
few = (f32(7, 12) * np.linspace(0.2, 3, 12)).astype(np.float32).astype(np.float64)
shrunk = LedoitWolf(assume_centered=True).fit(few)
out.update({"few.rows": torch.tensor(few), "few.covariance": torch.tensor(shrunk.covariance_),
            "few.shrinkage": torch.tensor([shrunk.shrinkage_], dtype=torch.float64)})

# True-positive rates of tied scores.
for case, (count, levels) in enumerate([(300, 4), (40, 2), (500, 1000)]):
    positive = np.arange(count) % 3 == 0
    scores = np.round((rng.normal(size=count) + positive) * levels) / levels
    fpr, tpr, _ = roc_curve(positive, scores, drop_intermediate=False)
    rates = [tpr[fpr <= at + 1e-12].max() for at in (0.01, 0.05, 0.3)]
    out.update({f"roc.{case}.positive": torch.tensor(positive.astype(np.float64)),
                f"roc.{case}.scores": torch.tensor(scores), f"roc.{case}.rates": torch.tensor(np.array(rates))})

save_file({k: v.contiguous() for k, v in out.items()},
          os.path.join(os.path.dirname(os.path.abspath(__file__)), "detectors.safetensors"))
