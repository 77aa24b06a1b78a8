#!/usr/bin/env python3
"""torchattacks' and foolbox' momentum attacks on the networks of victim.py; writes momentum.safetensors.

pip install torch torchattacks foolbox safetensors; python momentum.py
Versions when last run: torch 2.15, torchattacks 3.5.1, foolbox 3.3.4.

The tensors are named as in iterative.py. resize.* are one image, resized by PyTorch to 13x13 and 7x7 and padded to its
own 16x16 at (2, 1) and (5, 8).
"""
import foolbox, torch, torchattacks
from foolbox import attacks as fa
from iterative import PIXEL, foolbox_attack, save, torch_attack
from victim import load

ta = torchattacks


def tifgsm(**options):
    def make(net):
        attack = ta.TIFGSM(net, diversity_prob=0.0, **options)
        attack.stacked_kernel = attack.stacked_kernel.to(next(net.parameters()).dtype)
        return attack
    return make


def resized(x, side, top, left):
    small = torch.nn.functional.interpolate(x, size=[side, side], mode="bilinear", align_corners=False)
    return torch.nn.functional.pad(small, [left, 16 - side - left, top, 16 - side - top])


budget = dict(eps=9 * PIXEL, alpha=2 * PIXEL, steps=6)
image = load(4)[1][:1]
save("momentum", {
    "mi": (4, False, torch_attack(lambda net: ta.MIFGSM(net, **budget, decay=1.0))),
    "mi2": (2, False, torch_attack(lambda net: ta.MIFGSM(net, eps=6 * PIXEL, alpha=1.5 * PIXEL, steps=6, decay=0.7))),
    "mi_targeted": (4, True, torch_attack(lambda net: ta.MIFGSM(net, **budget, decay=1.0), True)),
    "mi_l2": (2, False, foolbox_attack(fa.L2MomentumIterativeFastGradientMethod(momentum=1.0, steps=8, rel_stepsize=0.2), 0.8)),
    "ni": (4, False, torch_attack(lambda net: ta.NIFGSM(net, **budget, decay=1.0))),
    "ni_targeted": (4, True, torch_attack(lambda net: ta.NIFGSM(net, **budget, decay=0.9), True)),
    "si_ni": (4, False, torch_attack(lambda net: ta.SINIFGSM(net, **budget, decay=1.0, m=4))),
    "ti": (4, False, torch_attack(tifgsm(**budget, decay=0.0, len_kernel=7))),
    "ti_mi": (4, False, torch_attack(tifgsm(**budget, decay=1.0, len_kernel=15))),
    "ti_mi_targeted": (4, True, torch_attack(tifgsm(**budget, decay=1.0, len_kernel=5), True)),
}, {
    "di": (4, False, torch_attack(lambda net: ta.DIFGSM(net, **budget, decay=1.0, resize_rate=0.8, diversity_prob=0.7))),
    "di_targeted": (4, True, torch_attack(lambda net: ta.DIFGSM(net, **budget, decay=1.0, resize_rate=0.8, diversity_prob=0.7), True)),
    "vmi": (4, False, torch_attack(lambda net: ta.VMIFGSM(net, **budget, decay=1.0, N=5, beta=1.5))),
    "vni": (4, False, torch_attack(lambda net: ta.VNIFGSM(net, **budget, decay=1.0, N=5, beta=1.5))),
}, {
    "resize.image": image.float(),
    "resize.13": resized(image, 13, 2, 1).float().contiguous(),
    "resize.7": resized(image, 7, 5, 8).float().contiguous(),
})
