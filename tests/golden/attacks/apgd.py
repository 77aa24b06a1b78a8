#!/usr/bin/env python3
"""Runs the APGD of the auto-attack reference on the small networks of victim.py, and writes apgd.safetensors.

pip install torch safetensors; pip install --no-deps pyautoattack; python apgd.py
Versions when last run: torch 2.15, pyautoattack 0.2.0 (Croce and Hein's code).

Without random start everything is deterministic: `NAME.best` are the points of highest loss (`best_loss=True` in the
reference), `NAME.first` the first points that are misclassified, in the order in which the reference shows them to the
network, else the points of highest loss. With random starts, `NAME.robust` counts the images that withstand, of 32,
for ten seeds. `NAME.images` are the positions of the images.
"""
import os
import torch
from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
from safetensors.torch import save_file
from victim import load

torch.set_num_threads(1)
HERE = os.path.dirname(os.path.abspath(__file__))
COUNT = 8
# name: classes, norm, loss, epsilon, steps
FIXED = {
    "linf_ce": (4, "Linf", "ce", 5 / 255, 12),
    "l2_ce": (2, "L2", "ce", 0.7, 25),
    "linf_dlr": (4, "Linf", "dlr", 7 / 255, 12),
    "l2_dlr": (4, "L2", "dlr", 0.6, 25),
    "l1_dlr": (4, "L1", "dlr", 5.0, 25),
}
# name: classes, norm, loss, epsilon, steps, multi-epsilon
RANDOM = {
    "linf": (2, "Linf", "ce", 10 / 255, 20, False),
    "l2": (4, "L2", "dlr", 0.9, 10, False),
    "l1": (4, "L1", "dlr", 8.0, 20, False),
    "l1_multi": (4, "L1", "dlr", 8.0, 20, True),
    "targeted": (4, "Linf", "t", 9 / 255, 10, False),
}


class Recorder:
    """A network that remembers what it was shown."""

    def __init__(self, net):
        self.net, self.shown = net, []

    def __call__(self, x):
        self.shown.append(x.detach().clone())
        return self.net(x)


def fixed(classes, norm, loss, epsilon, steps):
    net, x, y = load(classes)
    z = net(x)
    # In single precision the cross-entropy of a surer image is flat.
    unsure = (loss != "ce") | ((z.gather(1, y[:, None]) - z.scatter(1, y[:, None], -torch.inf).amax(1, True)).flatten() < 15)
    chosen = unsure.nonzero().flatten()[:COUNT]
    # In single precision like ours; the network casts up.
    x, y = x[chosen].float(), y[chosen]
    recorder = Recorder(net)
    attack = APGDAttack(recorder, norm=norm, eps=epsilon, n_iter=steps, loss=loss, device="cpu")
    attack.init_hyperparam(x)
    # Noise of zero is no random start.
    rand, randn = torch.rand, torch.randn
    torch.rand, torch.randn = lambda s: torch.full(tuple(s), 0.5, dtype=x.dtype), lambda s: torch.zeros(tuple(s), dtype=x.dtype)
    best, robust, loss, _ = attack.attack_single_run(x, y)
    torch.rand, torch.randn = rand, randn
    first = best.clone()
    for shown in reversed(recorder.shown):
        wrong = net(shown).argmax(1) != y
        first[wrong] = shown[wrong].to(first.dtype)
    return best, first, robust.bool(), loss, chosen


def random(classes, norm, loss, epsilon, steps, multi):
    # In single precision, as the attack casts the images.
    net, x, y = load(classes, torch.float32)
    kept = []
    for seed in range(10):
        common = dict(norm=norm, eps=epsilon, n_iter=steps, seed=seed, device="cpu", use_largereps=multi)
        attack = APGDAttack_targeted(net, n_target_classes=3, **common) if loss == "t" else APGDAttack(net, loss=loss, **common)
        kept.append((net(attack.perturb(x, y)).argmax(1) == y).sum())
    return torch.stack(kept).float()


if __name__ == "__main__":
    out = {}
    for name, case in FIXED.items():
        best, first, robust, loss, chosen = fixed(*case)
        print(name, "robust", robust.int().tolist(), "loss", [round(v, 4) for v in loss.tolist()])
        out |= {f"{name}.best": best.float(), f"{name}.first": first.float(), f"{name}.loss": loss.float()}
        out[f"{name}.images"] = chosen.to(torch.uint8)
    for name, case in RANDOM.items():
        out[f"{name}.robust"] = random(*case)
        print(name, out[f"{name}.robust"].int().tolist())
    save_file(out, os.path.join(HERE, "apgd.safetensors"))
