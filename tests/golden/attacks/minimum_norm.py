#!/usr/bin/env python3
"""Writes minimum_norm.safetensors: what adv-lib's FMN, DDN and sigma-zero find for victim.py's networks.

pip install torch adv-lib safetensors; python minimum_norm.py
Versions when last run: torch 2.15, adv-lib 0.2.8.

Networks and images are float64. `NAME.trace` holds the logits of the first images in every step, `NAME.image` what a
short run makes of the first one, `NAME.norms` the smallest norms of a long run, infinite where it found nothing.
adv-lib's sigma-zero is untargeted; it goes towards a target on a network whose two logits are the largest other one and
the target's, which is that target's loss.
"""
import os, warnings
import torch
from safetensors.torch import save_file
from victim import HERE, load

warnings.filterwarnings("ignore")
from adv_lib.attacks import ddn, fmn, sigma_zero

torch.set_num_threads(1)
COUNT, TRACED, SHORT, LONG = 16, 4, 20, 100
out = {}


class Traced(torch.nn.Module):
    """Keeps what the network says in every step."""
    def __init__(self, net):
        super().__init__()
        self.net, self.said = net, []
    def forward(self, x):
        logits = self.net(x)
        self.said.append(logits.detach())
        return logits


class Towards(torch.nn.Module):
    """The largest other logit and that of each image's target."""
    def __init__(self, net, targets):
        super().__init__()
        self.net, self.targets = net, targets.unsqueeze(1)
    def forward(self, x):
        logits = self.net(x)
        others = logits.scatter(1, self.targets, -float("inf")).amax(1, keepdim=True)
        return torch.cat([others, logits.gather(1, self.targets)], 1)


def keep(name, net, x, p, attack):
    """`attack` takes a network, a range of images and a number of steps."""
    traced = Traced(net)
    short = attack(traced, slice(0, TRACED), SHORT)
    out[f"{name}.trace"], out[f"{name}.image"] = torch.stack(traced.said), short[0]
    sizes = (attack(net, slice(0, COUNT), LONG) - x).flatten(1).norm(p, dim=1)
    # Every image starts out right, so that no change means no success.
    out[f"{name}.norms"] = torch.where(sizes > 0, sizes, float("inf"))
    print(name, out[f"{name}.norms"].median().item(), flush=True)


for classes in (2, 4):
    net, x, y = load(classes)
    x, y = x[:COUNT], y[:COUNT]
    t = (y + 1) % classes
    for targeted, labels in [(False, y), (True, t)]:
        if targeted and classes == 2: continue
        end = f"{classes}_targeted" if targeted else f"{classes}"
        for p in (0, 1, 2, float("inf")):
            keep(f"fmn_{p}_{end}", net, x, p, lambda net, at, steps: fmn(net, x[at], labels[at], p, targeted, steps))
        for levels in (256, None):
            keep(f"ddn_{levels}_{end}", net, x, 2, lambda net, at, steps: ddn(net, x[at], labels[at], targeted, steps, levels=levels))
        goal = (lambda net, at: Towards(net, t[at])) if targeted else lambda net, at: net
        own = torch.zeros_like(y) if targeted else y
        keep(f"sigma_zero_{end}", net, x, 0, lambda net, at, steps: sigma_zero(goal(net, at), x[at], own[at], steps))

save_file({k: v.float().contiguous() for k, v in out.items()}, os.path.join(HERE, "minimum_norm.safetensors"))
