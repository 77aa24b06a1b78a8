#!/usr/bin/env python3
"""Adversarial patches by IBM ART on the shared victims: placing, gradients, and learning step by step; writes
patch.safetensors.

pip install torch torchvision safetensors adversarial-robustness-toolbox; python patch.py
Versions when last run: torch 2.15, torchvision 0.29, adversarial-robustness-toolbox 1.20.1.

`place.*`: ART's overlay of a patch on images that are not square, for the scales, angles and shifts of `places` (scale,
shift to the right, shift down, angle), which stand in for its random numbers. `gradient*`: autograd's gradient of the
mean cross-entropy at the patch through that overlay, on the shared images.

`learned*`: fixed location without rotation, where nothing is random, pass by pass, in batches of five in the order of
the images. ART never clears the patch's gradient, so that its Adam follows the sum of all gradients so far; here it is
cleared before every step.
"""
import itertools
import os
import numpy as np
import torch
from art.attacks.evasion import AdversarialPatchPyTorch
from art.estimators.classification import PyTorchClassifier
from safetensors.torch import save_file
from victim import HERE, load

PASSES, BATCH, COUNT = 4, 5, 13
# Float32 cannot tell the gradient of an answer that is nearly certain.
SCALE = 0.1
# No place at which the nearest pixel is a matter of rounding.
PLACES = [(0.63, 1.37, -0.81, 0.0), (0.87, -0.53, 0.29, 17.3), (0.31, 4.13, 3.37, -22.1), (0.98, 0.11, 0.17, 151.7)]


class Scaled(torch.nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x) * SCALE


class Cleared(AdversarialPatchPyTorch):
    def _train_step(self, *args, **kwargs):
        self._patch.grad = None
        return super()._train_step(*args, **kwargs)


def estimator(net, classes, shape):
    return PyTorchClassifier(Scaled(net), torch.nn.CrossEntropyLoss(), shape, classes, clip_values=(0, 1))


def overlay(attack, images, patch):
    """With the places above in turn, in the order in which ART asks for them."""
    drawn, uniform = itertools.chain.from_iterable(PLACES[i % len(PLACES)] for i in range(len(images))), np.random.uniform
    np.random.uniform = lambda *_, **__: next(drawn)
    try:
        return attack._random_overlay(images, patch)
    finally:
        np.random.uniform = uniform


def main():
    out = {"places": torch.tensor(PLACES, dtype=torch.float64).float()}
    g = torch.Generator().manual_seed(0)
    net, x, y = load(4)
    wide = torch.rand(len(PLACES), 3, 22, 27, generator=g)
    out["place.images"] = wide
    for kind in ("circle", "square"):
        for size in (9, 40):
            patch = torch.rand(3, size, size, generator=g)
            attack = AdversarialPatchPyTorch(
                estimator(net, 4, (3, 22, 27)), patch_shape=(3, size, size), patch_type=kind, verbose=False)
            out[f"place.patch.{kind}{size}"] = patch
            out[f"place.{kind}{size}"] = overlay(attack, wide, patch).float()

    for classes in (2, 4):
        net, x, y = load(classes)
        x, y = x[:COUNT].float(), y[:COUNT]
        est = estimator(net, classes, (3, 16, 16))
        patch = torch.rand(3, 8, 8, generator=g).double().requires_grad_(True)
        attack = AdversarialPatchPyTorch(est, patch_shape=(3, 8, 8), verbose=False)
        logits = Scaled(net)(overlay(attack, x, patch).clamp(0, 1))
        torch.nn.functional.cross_entropy(logits, y).backward()
        out[f"gradient{classes}.patch"], out[f"gradient{classes}"] = patch.detach().float(), patch.grad.float()
        for name, optimizer, kind, targeted, rate in (
            ("adam.away", "Adam", "circle", False, 5 / 255), ("adam.towards", "Adam", "square", True, 0.05),
            ("sign.away", "pgd", "square", False, 0.03), ("sign.towards", "pgd", "circle", True, 0.03),
        ):
            attack = Cleared(
                est, rotation_max=0, learning_rate=rate, max_iter=1, batch_size=BATCH, patch_shape=(3, 7, 7),
                patch_location=(6, 3), patch_type=kind, optimizer=optimizer, targeted=targeted, verbose=False)
            labels = torch.ones_like(y) if targeted else y
            passes = []
            for _ in range(PASSES):
                found, _ = attack.generate(x.numpy(), labels.numpy(), shuffle=False)
                passes.append(torch.tensor(found).float())
            out[f"learned{classes}.{name}"] = torch.stack(passes)
    save_file({name: value.contiguous() for name, value in out.items()}, os.path.join(HERE, "patch.safetensors"))


main()
