#!/usr/bin/env python3
"""PGD on a part of the shared victims' images, by IBM ART with its `mask`; writes masked.safetensors.

pip install torch safetensors adversarial-robustness-toolbox; python masked.py
Versions when last run: torch 2.15, adversarial-robustness-toolbox 1.20.1.

`mask` is a disc with a hole, the same for all channels; `each` is another rectangle for each image. No random start, so
that nothing is drawn; contrast is halved, so that no pixel is cut to [0,1]: ART projects after the cut, not before it.
"""
import os
import numpy as np
import torch
from art.attacks.evasion import ProjectedGradientDescentPyTorch
from art.estimators.classification import PyTorchClassifier
from safetensors.torch import save_file
from victim import HERE, load

STEPS, COUNT = 7, 5


def disc():
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    away = ((y - 6.5) ** 2 + (x - 8.5) ** 2).sqrt()
    return ((away < 5.5) & (away > 1.5)).float()


def rectangles(count):
    masks = torch.zeros(count, 16, 16)
    for i in range(count):
        top, left = i % 9, (5 * i) % 11
        masks[i, top:top + 3 + i % 5, left:left + 4 + i % 3] = 1
    return masks


def main():
    out = {"mask": disc(), "each": rectangles(COUNT)}
    for classes in (2, 4):
        net, x, y = load(classes)
        x, y = x[:COUNT].float() * 0.5 + 0.25, y[:COUNT].numpy()
        estimator = PyTorchClassifier(net, torch.nn.CrossEntropyLoss(), (3, 16, 16), classes, clip_values=(0, 1))
        for name, norm, eps, step in (("linf", np.inf, 20.3 / 255, 4.1 / 255), ("l2", 2, 0.9, 0.27)):
            for masks in ("mask", "each"):
                mask = out[masks].expand(COUNT, 16, 16).unsqueeze(1).expand(COUNT, 3, 16, 16)
                for targeted in (False, True):
                    labels = (y + 1) % classes if targeted else y
                    attack = ProjectedGradientDescentPyTorch(
                        estimator, norm=norm, eps=eps, eps_step=step, max_iter=STEPS, targeted=targeted,
                        num_random_init=0, batch_size=COUNT, verbose=False)
                    found = torch.tensor(attack.generate(x.numpy(), labels, mask=mask.numpy().astype(np.float32)))
                    assert torch.equal(found[mask == 0], x[mask == 0])
                    out[f"{name}{classes}.{masks}.{'towards' if targeted else 'away'}"] = found
    save_file({name: value.contiguous() for name, value in out.items()}, os.path.join(HERE, "masked.safetensors"))


main()
