#!/usr/bin/env python3
"""Universal perturbations of the shared victims, step by step, for given orders; writes universal.safetensors.

pip install torch safetensors foolbox; python universal.py
Versions when last run: torch 2.15, foolbox 3.3.4.

SGD-UAP as in Shafahi et al., "Universal Adversarial Training", AAAI 2020, algorithm 2 with the clipped loss of
equation 4: autograd through clip(x + v), in float64. DeepFool's UAP as in Moosavi-Dezfooli et al., CVPR 2017,
algorithm 1, with foolbox's DeepFool for the single images, also in float64.
Budgets are no whole gray levels, so that no pixel lands on 0 or 1 but for rounding. `ordersN` are the orders of the passes, in batches of five.
"""
import os
import foolbox
import torch
from safetensors.torch import save_file
from victim import HERE, TEST, load

F = torch.nn.functional
PASSES, BATCH = 3, 5
# Float32 cannot tell the gradient of an answer that is nearly certain.
SCALE = 0.1


def unit(norm, g):
    if norm == "linf":
        return g.sign()
    return g / (g.norm() if norm == "l2" else g.abs().sum())


def l1_projection(v, radius):
    size = v.abs().flatten()
    if size.sum() <= radius:
        return v
    sorted_, _ = size.sort(descending=True)
    sums = sorted_.cumsum(0) - radius
    steps = torch.arange(1, len(size) + 1, dtype=v.dtype)
    last = (sorted_ - sums / steps > 0).nonzero().max()
    return v.sign() * (v.abs() - sums[last] / (last + 1)).clamp(min=0)


def project(norm, v, budget):
    if norm == "linf":
        return v.clamp(-budget, budget)
    if norm == "l2":
        return v * min(1.0, budget / v.norm().item()) if v.norm() > 0 else v
    return l1_projection(v, budget)


def cut(moved):
    """clip to [0,1], through which gradients pass on the edge too: torch 2.15's own clamp stops them there."""
    inside = (moved >= 0) & (moved <= 1)
    return moved.detach().clamp(0, 1) + (moved - moved.detach()) * inside


def sgd_uap(net, x, y, orders, norm, budget, step, decay, beta, targeted):
    v = torch.zeros_like(x[0])
    passes = []
    for number, order in enumerate(orders):
        for batch in torch.tensor(order).split(BATCH):
            v = v.detach().requires_grad_()
            logits = net(cut(x[batch] + v)) * SCALE
            loss = F.cross_entropy(logits, y[batch], reduction="none").clamp(max=beta).mean()
            (grad,) = torch.autograd.grad(-loss if targeted else loss, v)
            v = project(norm, v.detach() + unit(norm, grad) * step * decay**number * budget, budget)
        passes.append(v)
    return torch.stack(passes)


def deepfool_uap(net, x, order, norm, budget):
    model = foolbox.PyTorchModel(net, bounds=(0, 1))
    attack = {"linf": foolbox.attacks.LinfDeepFoolAttack, "l2": foolbox.attacks.L2DeepFoolAttack}[norm]
    deepfool = attack(steps=10, candidates=10, overshoot=0.02)
    answer = lambda image: net(image[None]).argmax(1)
    v = torch.zeros_like(x[0])
    for i in order:
        start = (x[i] + v).clamp(0, 1)
        if answer(start) != answer(x[i]):
            continue
        across, _, _ = deepfool(model, start[None], answer(start), epsilons=None)
        if answer(across[0]) != answer(start):
            v = project(norm, v + (across[0] - start), budget)
    return v


def order(seed, count, passes):
    g = torch.Generator().manual_seed(seed)
    return [torch.randperm(count, generator=g).tolist() for _ in range(passes)]


out = {}
for classes in [2, 4]:
    net, x, y = load(classes)
    orders = order(classes, TEST, PASSES)
    out[f"orders{classes}"] = torch.tensor(orders, dtype=torch.uint8)
    for norm, budget in [("linf", 23.7 / 255), ("l2", 2.5), ("l1", 20.0)]:
        v = sgd_uap(net, x, y, orders, norm, budget, 0.4, 0.8, 12.0, False)
        out[f"sgd{classes}.{norm}"] = v
    # A loss that is cut off, equal steps, towards class 1.
    out[f"sgd{classes}.targeted"] = sgd_uap(net, x, 0 * y + 1, orders, "linf", 23.7 / 255, 0.4, 1.0, 1.3, True)
    for norm, budget in [("linf", 23.7 / 255), ("l2", 2.5)]:
        out[f"deepfool{classes}.{norm}"] = deepfool_uap(net, x, orders[0], norm, budget)
for name, v in out.items():
    if v.is_floating_point():
        net, x, _ = load(int(name.split(".")[0][-1]))
        last = v if v.dim() == 3 else v[-1]
        print(name, "fools", (net((x + last).clamp(0, 1)).argmax(1) != net(x).argmax(1)).float().mean().item())
floats = {name: (v.float() if v.is_floating_point() else v).contiguous() for name, v in out.items()}
save_file(floats, os.path.join(HERE, "universal.safetensors"))
