#!/usr/bin/env python3
"""Writes smooth_adv.safetensors: what SmoothAdv makes of the first two images of densenet_tiny_expected.safetensors.

pip install torch torchvision safetensors; python smooth_adv.py      (after densenet_tiny.py)
Versions when last run: torch 2.15, torchvision 0.29.

The method is Salman et al. (NeurIPS 2019) as Hadisalman/smoothing-adversarial has it: the logarithm of the mean
probabilities over fixed noise, unit gradients, steps of 2 budgets / steps, the box before the budget. In float64, stored
in float32.

noise              [draws, images, 3, 19, 23], standard normal; sigma is 0.25
untargeted         away from the labels, budget 2, 3 steps
targeted           towards the next class
clipped            untargeted, with the noisy copies cut to [0,1]
smoothed           mean probabilities of the noisy copies of the unchanged images
smoothed_gradient  gradient of the sum of -log of the mean probabilities of the labels there
"""
import pathlib

import torch, torchvision
from safetensors.torch import load_file, save_file

HERE = pathlib.Path(__file__).parent
SIGMA, BUDGET, STEPS, DRAWS = 0.25, 2.0, 3, 4

net = torchvision.models.DenseNet(growth_rate=4, block_config=(2, 1), num_init_features=6, bn_size=2, num_classes=3)
net.load_state_dict(load_file(HERE / "densenet_tiny.safetensors"))
net = net.double().eval().requires_grad_(False)
expected = load_file(HERE / "densenet_tiny_expected.safetensors")
# Two images keep the file small.
images, labels = expected["images"][:2].double(), expected["labels"][:2]
torch.manual_seed(1)
noise = torch.randn(DRAWS, *images.shape).double().float().double()


def mean_probabilities(x, clip):
    noisy = [x + SIGMA * n for n in noise]
    return torch.stack([net(v.clamp(0, 1) if clip else v).softmax(1) for v in noisy]).mean(0)


def gradient(x, classes, clip):
    x = x.clone().requires_grad_(True)
    chosen = mean_probabilities(x, clip).gather(1, classes[:, None])
    return torch.autograd.grad(-chosen.log().sum(), x)[0]


def smooth_adv(classes, sign, clip=False):
    delta = torch.zeros_like(images)
    for _ in range(STEPS):
        g = gradient(images + delta, classes, clip)
        delta = delta + sign * (2 * BUDGET / STEPS) * g / g.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        delta = (images + delta).clamp(0, 1) - images
        delta = delta * (BUDGET / delta.flatten(1).norm(dim=1)).clamp(max=1).view(-1, 1, 1, 1)
    length = delta.flatten(1).norm(dim=1)
    print("lengths", length.tolist(), "probabilities", mean_probabilities(images + delta, clip).gather(1, classes[:, None]).flatten().tolist())
    return images + delta


out = dict(
    noise=noise,
    untargeted=smooth_adv(labels, 1),
    targeted=smooth_adv((labels + 1) % 3, -1),
    clipped=smooth_adv(labels, 1, clip=True),
    smoothed=mean_probabilities(images, False),
    smoothed_gradient=gradient(images, labels, False),
)
print("before", out["smoothed"].gather(1, labels[:, None]).flatten().tolist())
save_file({name: tensor.float().contiguous() for name, tensor in out.items()}, HERE / "smooth_adv.safetensors")
