#!/usr/bin/env python3
"""Writes hopskipjump.safetensors: norms that foolbox's HopSkipJumpAttack reaches on victim.py's networks, seed by seed.

pip install torch foolbox safetensors; python hopskipjump.py
Versions when last run: torch 2.15, foolbox 3.3.4.

One image at a time, because foolbox normalises the gradient estimates of a batch together. One row a seed, one column
an image.
"""
import os, sys
import foolbox as fb, torch
from safetensors.torch import save_file
from victim import HERE, load

torch.set_num_threads(1)
COUNT, SEEDS = 16, 10
out = {}
for classes, constraint in ((4, "l2"), (4, "linf")):
    net, x, y = load(classes, torch.float32)
    model = fb.PyTorchModel(net.eval(), bounds=(0, 1), device="cpu")
    attack = fb.attacks.HopSkipJumpAttack(steps=6, initial_gradient_eval_steps=20, max_gradient_eval_steps=40, constraint=constraint)
    norm = lambda d: d.flatten(1).norm(2 if constraint == "l2" else float("inf"), dim=1)
    rows = []
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        found = [attack.run(model, x[i:i + 1], fb.criteria.Misclassification(y[i:i + 1])) for i in range(COUNT)]
        rows.append(norm(torch.cat(found) - x[:COUNT]))
        print(classes, constraint, seed, rows[-1], flush=True)
    out[f"{constraint}_{classes}"] = torch.stack(rows)
save_file(out, os.path.join(HERE, "hopskipjump.safetensors"))
