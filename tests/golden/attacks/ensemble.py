#!/usr/bin/env python3
"""torchattacks' PGD and EOTPGD on two views of a network of victim.py; writes ensemble.safetensors.

pip install torch torchattacks foolbox safetensors; python ensemble.py
Versions when last run: torch 2.15, torchattacks 3.5.1.

The views see the image as it is, and as 0.7 x + 0.12. `logits` and `probabilities` are attacked through their mean,
`losses` through a network that shows one view and the other in turn. Tensors are named as in iterative.py.
"""
import torch, torchattacks
from iterative import PIXEL, save, torch_attack


class Views(torch.nn.Module):
    def __init__(self, net, form):
        super().__init__()
        self.net, self.form, self.calls = net, form, 0

    def forward(self, x):
        views = self.net(x), self.net(0.7 * x + 0.12)
        self.calls += 1
        return {
            "logits": lambda: (views[0] + views[1]) / 2,
            "probabilities": lambda: ((views[0].softmax(1) + views[1].softmax(1)) / 2).log(),
            "losses": lambda: views[(self.calls - 1) % 2],
        }[self.form]()


budget = dict(eps=8 * PIXEL, alpha=2 * PIXEL, steps=6, random_start=False)
averaged = lambda form: torch_attack(lambda net: torchattacks.PGD(Views(net, form), **budget))
save("ensemble", {
    "logits": (4, False, averaged("logits")),
    "probabilities": (4, False, averaged("probabilities")),
    "losses": (4, False, torch_attack(lambda net: torchattacks.EOTPGD(Views(net, "losses"), **budget, eot_iter=2))),
    "losses_targeted": (4, True, torch_attack(lambda net: torchattacks.EOTPGD(Views(net, "losses"), **budget, eot_iter=2), True)),
}, {})
