#!/usr/bin/env python3
"""Square of the auto-attack reference against defenses that it knows, on the networks of victim.py; writes
square_adaptive.safetensors.

pip install torch safetensors; pip install --no-deps pyautoattack; python square_adaptive.py
Versions when last run: torch 2.15, pyautoattack 0.2.0 (Croce and Hein's code).

`loss.*`: the margin, cross-entropy and log-odds of random logits beside alarms, from their definition.
`guard.*`: a network with two alarms (total variation along rows; brightness) whose thresholds are the 95 % quantiles of
199 clean images; ten seeds of Square on the network alone (`plain`) and with the alarms in its loss
(`evading`): images of 32 that are not lost (wrong and accepted), and the mean queries of the latter.
`tint.*`: a network that adds a random number to every channel for each answer; ten seeds of Square on single answers (`plain`) and on
the mean logits of 20 (`eot`): images of 32 that the mean of 200 fresh answers has right, and the mean proposals.
"""
import os
import torch
from pyautoattack.square import SquareAttack
from safetensors.torch import save_file
from victim import images, load

torch.set_num_threads(1)
HERE = os.path.dirname(os.path.abspath(__file__))
SEEDS, QUERIES = 10, 300
GUARD_EPSILON, TINT_EPSILON, TINT, DRAWS = 32 / 255, 40 / 255, 0.3, 20


def excess(over):
    """Sum of what alarms exceed if one fires, else the nearest to firing; [alarms, batch]."""
    return torch.where(over.amax(0) > 0, over.clamp(min=0).sum(0), over.amax(0))


def seen(logits, y, over, weight=1.0):
    """A rejection counts as the true class."""
    rejected = logits.amax(1) + weight * excess(over)
    u = torch.arange(len(y))
    out = logits.clone()
    out[u, y] = torch.maximum(logits[u, y], rejected)
    return out


def losses(out):
    g = torch.Generator().manual_seed(3)
    values = torch.rand(40, 6, generator=g, dtype=torch.float32)
    logits, scores = (values[:, :4].double() - 0.5) * 20, values[:, 4:].double()
    y = torch.arange(40) % 4
    threshold, median, weight = torch.tensor([0.7, 0.4]).double(), torch.tensor([0.5, 0.1]).double(), 2.5
    over = ((scores - threshold) / (threshold - median)).T
    z = seen(logits, y, over, weight)
    u = torch.arange(40)
    others = z.clone()
    others[u, y] = -torch.inf
    rejected = (scores > threshold).any(1)
    out |= {"loss.values": values, "loss.margin": others.amax(1) - z[u, y],
            "loss.cross_entropy": torch.nn.functional.cross_entropy(z, y, reduction="none"),
            "loss.log_odds": others.logsumexp(1) - z[u, y],
            "loss.lost": ((logits.argmax(1) != y) & ~rejected).to(torch.uint8)}
    print("of 40: wrong", int((logits.argmax(1) != y).sum()), "rejected", int(rejected.sum()), "lost",
          int(out["loss.lost"].sum()))


def scores(x):
    return torch.stack([(x[..., 1:] - x[..., :-1]).abs().mean((1, 2, 3)), x.mean((1, 2, 3))])


class Reference(SquareAttack):
    """Square with another margin."""

    def __init__(self, margin, epsilon, seed, net):
        super().__init__(net, norm="Linf", n_queries=QUERIES, eps=epsilon, seed=seed, resc_schedule=True, device="cpu")
        self.margin = margin

    def margin_and_loss(self, x, y):
        margin = self.margin(x, y)
        return margin, margin

    def run(self, x, y):
        self.init_hyperparam(x)
        torch.random.manual_seed(self.seed)
        return self.attack_single_run(x, y)


def margin(z, y):
    u = torch.arange(len(y))
    others = z.clone()
    others[u, y] = -torch.inf
    return z[u, y] - others.amax(1)


def guard(out):
    net, x, y = load(2, torch.float32)
    clean = scores(images(2, 199, 2)[0])
    threshold, median = clean.quantile(0.95, dim=1), clean.median(1).values
    over = lambda x: (scores(x) - threshold[:, None]) / (threshold - median)[:, None]
    lost = lambda x: (net(x).argmax(1) != y) & ~(over(x) > 0).any(0)
    plain, evading, counts = [], [], []
    for seed in range(SEEDS):
        _, found = Reference(lambda x, y: margin(net(x), y), GUARD_EPSILON, seed, net).run(x, y)
        plain.append((~lost(found)).sum().float())
        wrong = (net(found).argmax(1) != y).sum().item()
        used, found = Reference(lambda x, y: margin(seen(net(x), y, over(x)), y), GUARD_EPSILON, seed, net).run(x, y)
        evading.append((~lost(found)).sum().float())
        counts.append(used.mean())
    print("guard: clean rejected", (over(x) > 0).any(0).sum().item(), "plain", [int(r) for r in plain], "wrong", wrong,
          "evading", [int(r) for r in evading], [round(c.item(), 1) for c in counts])
    out |= {"guard.threshold": threshold, "guard.median": median, "guard.plain": torch.stack(plain),
            "guard.evading": torch.stack(evading), "guard.queries": torch.stack(counts)}


def tint(out):
    net, x, y = load(2, torch.float32)
    answer = lambda x: net(x + TINT * (2 * torch.rand(len(x), 3, 1, 1) - 1))
    mean = lambda x, draws: torch.stack([answer(x) for _ in range(draws)]).mean(0)
    rows = {"plain": [], "eot": []}
    counts = {"plain": [], "eot": []}
    for seed in range(SEEDS):
        for name, draws in (("plain", 1), ("eot", DRAWS)):
            used, found = Reference(lambda x, y: margin(mean(x, draws), y), TINT_EPSILON, seed, net).run(x, y)
            rows[name].append((mean(found, 200).argmax(1) == y).sum().float())
            counts[name].append(used.mean())
    print("tint: clean right", (mean(x, 200).argmax(1) == y).sum().item(), {n: [int(v) for v in r] for n, r in rows.items()},
          {n: [round(v.item(), 1) for v in r] for n, r in counts.items()})
    out |= {f"tint.{name}": torch.stack(values) for name, values in rows.items()}
    out |= {f"tint.{name}.queries": torch.stack(values) for name, values in counts.items()}


if __name__ == "__main__":
    out = {}
    losses(out)
    guard(out)
    tint(out)
    out = {name: value.float() if value.dtype == torch.float64 else value for name, value in out.items()}
    save_file({name: value.contiguous() for name, value in out.items()}, os.path.join(HERE, "square_adaptive.safetensors"))
