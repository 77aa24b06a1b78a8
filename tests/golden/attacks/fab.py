#!/usr/bin/env python3
"""Runs the FAB of the auto-attack reference on the small networks of victim.py, and writes fab.safetensors.

pip install torch safetensors; pip install --no-deps pyautoattack; python fab.py
Versions when last run: torch 2.15, pyautoattack 0.2.0 (Croce and Hein's code).

The first run has no random start: `NAME.sizes` are the norms of the perturbations of all 32 images, `NAME.images` the
first 8 results. `NAME.robust` counts the images that withstand within a limit, for ten seeds of the restarts.
"""
import os
import torch
from pyautoattack.fab_pt import FABAttack_PT
from safetensors.torch import save_file
from victim import load

torch.set_num_threads(1)
HERE = os.path.dirname(os.path.abspath(__file__))
# name: classes, norm, steps
FIXED = {"linf2": (2, "Linf", 20), "l2": (2, "L2", 20), "linf": (4, "Linf", 20), "l1": (4, "L1", 20)}
# name: classes, norm, limit, steps, targets, restarts
LIMITED = {"targeted": (4, "L2", 0.8, 10, 3, 1), "restarts": (2, "Linf", 12 / 255, 5, None, 3)}


def norms(d, norm):
    d = d.flatten(1).abs()
    return {"Linf": d.amax(1), "L2": d.square().sum(1).sqrt(), "L1": d.sum(1)}[norm]


if __name__ == "__main__":
    out = {}
    for name, (classes, norm, steps) in FIXED.items():
        # The images in single precision, as the attack casts them; the network in double.
        double, x, y = load(classes)
        net, x = lambda x: double(x).float(), x.float()
        attack = FABAttack_PT(net, norm=norm, n_iter=steps, device="cpu")
        found = attack.attack_single_run(x, y)
        assert (net(found).argmax(1) != y).all()
        out |= {f"{name}.sizes": norms(found - x, norm), f"{name}.images": found[:8].clone()}
        print(name, "median", out[f"{name}.sizes"].median().item())
    for name, (classes, norm, limit, steps, targets, restarts) in LIMITED.items():
        net, x, y = load(classes, torch.float32)
        kept = []
        for seed in range(10):
            attack = FABAttack_PT(net, norm=norm, eps=limit, n_iter=steps, n_restarts=restarts, seed=seed, device="cpu",
                                  targeted=targets is not None, n_target_classes=targets)
            found = attack.perturb(x, y)
            kept.append((net(found).argmax(1) == y).sum().float())
        out[f"{name}.robust"] = torch.stack(kept)
        print(name, out[f"{name}.robust"].int().tolist())
    save_file(out, os.path.join(HERE, "fab.safetensors"))
