#!/usr/bin/env python3
"""Writes minimal.safetensors: what torchattacks, foolbox and scipy find as the smallest changes for victim.py's networks.

pip install torch torchattacks foolbox scipy safetensors; python minimal.py
Versions when last run: torch 2.15, torchattacks 3.5.1, foolbox 3.3.4, scipy 1.17.1.

L-BFGS and Carlini & Wagner's L-infinity attack follow CleverHans' and the authors' published code, with scipy's and
PyTorch's optimisers. Networks and images are float64, results are stored as float32, or as levels of 255 where they are
such. All attacks see one image at a time, because foolbox's early stop looks at the whole batch.
"""
import os
import foolbox as fb, scipy.optimize, torch, torchattacks
from safetensors.torch import save_file
from victim import HERE, load

COUNT = 8
out = {}


def run(attack, net, x, criterion):
    """One image after the other, without a bound on the perturbation."""
    model = fb.PyTorchModel(net, bounds=(0, 1), device="cpu")
    return torch.cat([attack.run(model, x[i:i + 1], criterion(i)) for i in range(len(x))])


def away(y): return lambda i: fb.criteria.Misclassification(y[i:i + 1])
def towards(t): return lambda i: fb.criteria.TargetedMisclassification(t[i:i + 1])


torch.set_num_threads(1)


class Flipped(torch.nn.Module):
    """A network that sees negatives, whose brightest pixels are the darkest."""
    def __init__(self, net):
        super().__init__()
        self.net = net
    def forward(self, x): return self.net(1 - x)


def norms(a, b, p): return (a - b).flatten(1).norm(p, dim=1)


def lbfgs(net, x, target, steps, iterations, constant):
    """Box-constrained L-BFGS as CleverHans' LBFGS: squared L2 plus constant times cross-entropy, a search over it."""
    lower, upper, best, least = 0.0, 1e10, None, float("inf")
    for _ in range(steps):
        def objective(flat):
            z = torch.tensor(flat).reshape(x.shape).requires_grad_(True)
            loss = (z - x).square().sum() + constant * torch.nn.functional.cross_entropy(net(z), target)
            return loss.item(), torch.autograd.grad(loss, z)[0].flatten().numpy()
        found = scipy.optimize.minimize(objective, x.flatten().numpy(), jac=True, method="L-BFGS-B",
                                        bounds=[(0, 1)] * x.numel(), options=dict(maxiter=iterations))
        z = torch.tensor(found.x).reshape(x.shape)
        size = (z - x).norm().item()
        if net(z).argmax(1).item() == target.item():
            upper = min(upper, constant)
            if size < least: best, least = z, size
        else:
            lower = max(lower, constant)
        constant = (lower + upper) / 2 if upper < 1e9 else constant * 10
    return least


def carlini_linf(net, x, own, steps, rate, constant, decrease):
    """Carlini & Wagner's L-infinity attack on one image, after their li_attack.py; away from the class `own`."""
    tau, previous, least = 1.0, x, float("inf")
    while tau > 1 / 256:
        start = torch.atanh((2 * previous - 1) * 0.999999)
        modifier = torch.zeros_like(x, requires_grad=True)
        adam = torch.optim.Adam([modifier], rate)
        found = False
        while constant < 20 and not found:
            for _ in range(steps):
                z = (torch.tanh(start + modifier) + 1) / 2
                logits = net(z)[0]
                others = torch.cat([logits[:own], logits[own + 1:]])
                loss = constant * (logits[own] - others.max()).clamp(min=0) + ((z - x).abs() - tau).clamp(min=0).sum()
                if loss.item() < 1e-4 * constant and logits.argmax().item() != own:
                    found = True
                    break
                adam.zero_grad(); loss.backward(); adam.step()
            else:
                constant *= 2
        if not found: break
        previous = z.detach()
        size = (previous - x).abs().max().item()
        least, tau = min(least, size), min(tau, size) * decrease
    return least


for classes in (2, 4):
    net, x, y = load(classes)
    x, y = x[:COUNT], y[:COUNT]
    t = (y + 1) % classes
    fool = dict(steps=50, candidates=10, overshoot=0.02)
    l2, linf = fb.attacks.L2DeepFoolAttack(**fool), fb.attacks.LinfDeepFoolAttack(**fool)
    out[f"deepfool_l2_{classes}"] = run(l2, net, x, away(y))
    out[f"deepfool_linf_{classes}"] = run(linf, net, x, away(y))
    if classes == 4:
        out["deepfool_three_4"] = run(fb.attacks.L2DeepFoolAttack(steps=50, candidates=3), net, x, away(y))
    out[f"deepfool_torchattacks_norm_{classes}"] = norms(torchattacks.DeepFool(net)(x, y).double(), x, 2)

    jsma = lambda net, x: torch.cat([torchattacks_jsma(net, x[i:i + 1], t[i:i + 1]) for i in range(len(x))])
    def torchattacks_jsma(net, x, t):
        attack = torchattacks.JSMA(net, theta=1.0, gamma=0.1)
        attack.set_mode_targeted_by_label(quiet=True)
        return attack(x, t).double()
    levels = lambda x: (x * 255).round().to(torch.uint8)
    out[f"jsma_{classes}"] = levels(jsma(net, x))
    out[f"jsma_darker_{classes}"] = levels(1 - jsma(Flipped(net).eval(), 1 - x))

    cw = lambda **more: fb.attacks.L2CarliniWagnerAttack(**{**dict(binary_search_steps=6, steps=60, stepsize=1e-2, initial_const=1e-1), **more})
    ead = lambda **more: fb.attacks.EADAttack(**{**dict(binary_search_steps=6, steps=60, initial_const=1e-1, regularization=1e-3), **more})
    few = 4
    if classes == 4:
        out["cw_away"] = run(cw(), net, x[:few], away(y))
        out["cw_towards"] = run(cw(confidence=0.5), net, x[:few], towards(t))
        out["ead_en"] = run(ead(), net, x[:few], away(y))
        out["ead_l1"] = run(ead(decision_rule="L1", confidence=0.5), net, x[:few], towards(t))
    out[f"cw_linf_norm_{classes}"] = torch.tensor([carlini_linf(net, x[i:i + 1], y[i].item(), 40, 0.01, 0.1, 0.8) for i in range(few)])
    out[f"lbfgs_norm_{classes}"] = torch.tensor([lbfgs(net, x[i:i + 1], t[i:i + 1], 5, 100, 1e-2) for i in range(few)])
    for k, v in out.items():
        if "norm" in k: print(k, v, flush=True)

save_file({k: v.contiguous() if v.dtype == torch.uint8 else v.float().contiguous() for k, v in out.items()},
          os.path.join(HERE, "minimal.safetensors"))
