#!/usr/bin/env python3
"""torchattacks' and foolbox' iterative attacks on the networks of victim.py; writes iterative.safetensors.

pip install torch torchattacks foolbox safetensors; python iterative.py
Versions when last run: torch 2.15, torchattacks 3.5.1, foolbox 3.3.4.

NAME.images are the positions of six images, NAME the adversarial versions in float64, stored in float32: the first six
whose result moves by less than 1e-5 when the network computes in float32 or its weights move by a millionth, so that
no sign of a gradient entry hangs on rounding. NAME.right and NAME.l2, of attacks with random numbers, are the number
of images still right and the median L2 norm of the perturbation for each of ten seeds (thirty for noise, which varies
more). NAME.first is the first success on a grid of 256 epsilons, -1 for none and -2 where rounding decides.
"""
import os
import foolbox, torch, torchattacks
from foolbox import attacks as fa
from safetensors.torch import save_file
from victim import HERE, load

# More threads only wait for one another on networks this small.
torch.set_num_threads(1)
IMAGES, SEEDS, GRID = 6, 10, 256
PIXEL = 1 / 255


def torch_attack(make, targeted=False):
    def run(net, x, classes):
        attack = make(net)
        if targeted:
            attack.set_mode_targeted_by_label(quiet=True)
        return attack(x, classes)
    return run


def foolbox_attack(attack, epsilon, targeted=False):
    def run(net, x, classes):
        criterion = foolbox.criteria.TargetedMisclassification if targeted else foolbox.criteria.Misclassification
        return attack.run(foolbox.PyTorchModel(net, bounds=(0, 1), device="cpu"), x, criterion(classes), epsilon=epsilon)
    return run


def repeated(attack, epsilon):
    def run(net, x, classes):
        model = foolbox.PyTorchModel(net, bounds=(0, 1), device="cpu")
        return attack(model, x, foolbox.criteria.Misclassification(classes), epsilons=epsilon)[0]
    return run


def goal(labels, count, targeted):
    return (labels + 1) % count if targeted else labels


def variants(count):
    """The network in float64, in float32, and twice with weights moved by a millionth; with images and labels."""
    yield load(count)
    yield load(count, torch.float32)
    for seed in range(2):
        torch.manual_seed(seed)
        net, x, labels = load(count)
        for p in net.parameters():
            p.mul_(1 + 1e-6 * torch.randn_like(p))
        yield net, x, labels


def stable(run, count, targeted=False):
    """Six images that rounding does not change, and their results."""
    results = [run(net, x, goal(labels, count, targeted)).double() for net, x, labels in variants(count)]
    result, others = results[0], torch.stack(results[1:])
    keep = ((others - result).abs().amax((0, 2, 3, 4)) < 1e-5).nonzero().flatten()
    net, x, labels = load(count)
    print(f"  {len(keep)} of {len(x)} stable, right afterwards {(net(result).argmax(1) == labels).sum()}")
    assert len(keep) >= IMAGES
    return keep[:IMAGES], result[keep[:IMAGES]]


def seeds(run, count, targeted, tries=SEEDS):
    """Images still right, and median L2 norm, for each of the seeds."""
    net, x, labels = load(count)
    right, norms = [], []
    for seed in range(tries):
        torch.manual_seed(seed)
        result = run(net, x, goal(labels, count, targeted))
        right.append((net(result).argmax(1) == labels).sum().item())
        norms.append((result - x).flatten(1).norm(dim=1).median().item())
    print("  right", sorted(right), "median L2", min(norms), max(norms))
    return torch.tensor(right), torch.tensor(norms)


class ExactL1(fa.L1BasicIterativeAttack):
    """foolbox's, with the Euclidean projection onto the L1 ball by bisection on the threshold."""
    def project(self, x, x0, epsilon):
        change = (x - x0).raw.flatten(1)
        low, high = torch.zeros(len(change), 1).double(), change.abs().amax(1, keepdim=True).double()
        for _ in range(100):
            middle = (low + high) / 2
            out = (change.abs() - middle).clamp(min=0).sum(1, keepdim=True) > epsilon
            low, high = torch.where(out, middle, low), torch.where(out, high, middle)
        near = change.sign() * (change.abs() - high).clamp(min=0)
        inside = change.abs().sum(1, keepdim=True) <= epsilon
        near = torch.where(inside, change, near.to(change.dtype))
        return x0 + type(x0)(near.view(x0.raw.shape))


def save(name, deterministic, random, extra=()):
    out = dict(extra)
    for case, (count, targeted, run) in deterministic.items():
        print(case)
        out[f"{case}.images"], result = stable(run, count, targeted)
        out[case] = result.float().contiguous()
    for case, options in random.items():
        print(case)
        out[f"{case}.right"], out[f"{case}.l2"] = seeds(options[2], *options[:2], *options[3:])
    save_file(out, os.path.join(HERE, f"{name}.safetensors"))


def minimal(norm, count, most, targeted):
    """The first epsilon of the grid at which one step of FGSM reaches the goal, by image."""
    attack = getattr(fa, f"{norm}BasicIterativeAttack")(rel_stepsize=1.0, steps=1, random_start=False)
    found = []
    for net, x, labels in variants(count):
        classes = goal(labels, count, targeted)
        first = torch.full((len(x),), -1)
        for step in range(GRID, 0, -1):
            hit = net(foolbox_attack(attack, most * step / GRID, targeted)(net, x, classes)).argmax(1)
            first[(hit == classes) if targeted else (hit != classes)] = step
        found.append(first)
    found = torch.stack(found)
    first = torch.where((found == found[0]).all(0), found[0], -2)
    print("minimal", norm, targeted, first.tolist())
    return first


if __name__ == "__main__":
    ta = torchattacks
    rel = dict(rel_stepsize=0.2, steps=10, random_start=False)
    bim = dict(eps=8 * PIXEL, alpha=2 * PIXEL, steps=7)
    pgd = dict(eps=9 * PIXEL, alpha=4 * PIXEL, steps=4)
    many = dict(rel_stepsize=0.4, steps=4, random_start=True)
    noise = dict(repeats=10)
    save("iterative", {
        "bim2": (2, False, torch_attack(lambda net: ta.BIM(net, eps=6 * PIXEL, alpha=1.5 * PIXEL, steps=10))),
        "bim4": (4, False, torch_attack(lambda net: ta.BIM(net, **bim))),
        "bim4_targeted": (4, True, torch_attack(lambda net: ta.BIM(net, **bim), True)),
        "bim_l2": (4, False, foolbox_attack(fa.L2BasicIterativeAttack(**rel), 0.8)),
        "bim_l1": (4, False, foolbox_attack(ExactL1(**rel), 16.0)),
        "bim_l1_targeted": (4, True, foolbox_attack(ExactL1(**rel), 16.0, True)),
        "pgd": (4, False, torch_attack(lambda net: ta.PGD(net, **bim, random_start=False))),
        "pgd_l2": (4, False, torch_attack(lambda net: ta.PGDL2(net, eps=0.8, alpha=0.16, steps=10, random_start=False))),
        "pgd_l2_targeted": (2, True, torch_attack(lambda net: ta.PGDL2(net, eps=0.8, alpha=0.16, steps=10, random_start=False), True)),
    }, {
        "pgd_random": (4, False, torch_attack(lambda net: ta.PGD(net, **pgd))),
        "pgd_random_targeted": (4, True, torch_attack(lambda net: ta.PGD(net, **pgd), True)),
        "pgd_random_l2": (4, False, foolbox_attack(fa.L2PGD(**many), 0.8)),
        "pgd_random_l1": (4, False, foolbox_attack(ExactL1(**many), 14.0)),
        "pgd_restarts": (4, False, repeated(fa.LinfPGD(**many).repeat(4), 9 * PIXEL)),
        "rfgsm": (4, False, torch_attack(lambda net: ta.RFGSM(net, eps=13 * PIXEL, alpha=6.5 * PIXEL, steps=1))),
        "rfgsm_steps": (4, False, torch_attack(lambda net: ta.RFGSM(net, eps=9 * PIXEL, alpha=4 * PIXEL, steps=3))),
        "rfgsm_targeted": (4, True, torch_attack(lambda net: ta.RFGSM(net, eps=9 * PIXEL, alpha=4 * PIXEL, steps=3), True)),
        "uniform": (4, False, foolbox_attack(fa.LinfAdditiveUniformNoiseAttack(), 100 * PIXEL), 30),
        "uniform_repeated": (4, False, foolbox_attack(fa.LinfRepeatedAdditiveUniformNoiseAttack(**noise), 100 * PIXEL), 30),
        "gaussian": (4, False, foolbox_attack(fa.L2AdditiveGaussianNoiseAttack(), 8.0), 30),
        "gaussian_repeated": (4, False, foolbox_attack(fa.L2RepeatedAdditiveGaussianNoiseAttack(**noise), 8.0), 30),
    }, {
        f"minimal_{norm.lower()}{'_targeted' if targeted else ''}.first": minimal(norm, 4, most, targeted)
        for norm, most, targeted in [("Linf", 16 * PIXEL, False), ("L2", 2.0, False), ("L1", 40.0, False), ("Linf", 16 * PIXEL, True)]
    })
