#!/usr/bin/env python3
"""Runs the Square attack of the auto-attack reference on the small networks of victim.py, and writes square.safetensors.

pip install torch safetensors; pip install --no-deps pyautoattack; python square.py
Versions when last run: torch 2.15, pyautoattack 0.2.0 (Croce and Hein's code).

For ten seeds: `NAME.robust`, how many of 32 images withstand, and `NAME.queries`, the mean number of queries an image.
"""
import os
import torch
from pyautoattack.square import SquareAttack
from safetensors.torch import save_file
from victim import load

torch.set_num_threads(1)
HERE = os.path.dirname(os.path.abspath(__file__))
# name: classes, norm, epsilon, queries, whether the schedule is rescaled, whether targeted
CASES = {
    "linf": (2, "Linf", 26 / 255, 150, True, False),
    "l2": (4, "L2", 1.6, 150, False, False),
    "l1": (4, "L1", 20.0, 150, True, False),
    "targeted": (4, "Linf", 24 / 255, 150, True, True),
}

if __name__ == "__main__":
    out = {}
    for name, (classes, norm, epsilon, queries, rescaled, targeted) in CASES.items():
        net, x, y = load(classes, torch.float32)
        goal = (y + 1) % classes if targeted else y
        robust, counts = [], []
        for seed in range(10):
            attack = SquareAttack(net, norm=norm, n_queries=queries, eps=epsilon, seed=seed, resc_schedule=rescaled,
                                  targeted=targeted, device="cpu")
            attack.init_hyperparam(x)
            torch.random.manual_seed(seed)
            used, found = attack.attack_single_run(x, goal)
            missed = net(found).argmax(1) != goal if targeted else net(found).argmax(1) == goal
            robust.append(missed.sum().float())
            counts.append(used.mean())
        out |= {f"{name}.robust": torch.stack(robust), f"{name}.queries": torch.stack(counts)}
        print(name, [int(r) for r in robust], [round(c.item(), 1) for c in counts])
    save_file(out, os.path.join(HERE, "square.safetensors"))
