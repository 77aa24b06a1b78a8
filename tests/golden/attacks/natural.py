#!/usr/bin/env python3
"""Natural adversarial examples: one training step of a WGAN-GP and its inverter from given weights, and both searches
with given directions; writes natural.safetensors.

pip install torch numpy safetensors; python natural.py
Versions when last run: torch 2.15, numpy 2.5.

The step is that of zhengliz/natural-adversary (image/mnist_wgan_inv.py): critic with the penalty by PyTorch's double
backward (create_graph), inverter, generator against the new critic. The networks are the ones that the documentation
of LatentConfig describes. The searches follow image/search.py in NumPy, written anew; the iterative one ends at the
largest radius, and all candidates of a shell are asked. Everything in float64. Weights of linear layers are
stored as [in, out], their gradients as PyTorch has them.
"""
import os
import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from victim import HERE, images as stripes, load

F = torch.nn.functional
WIDTH, LATENT, BATCH, PENALTY, LAMBDA, SLOPE = 2, 5, 4, 10.0, 0.1, 0.2
out = {}


def halvings():
    return nn.ModuleList([nn.Conv2d(a, b, 4, 2, 1) for a, b in zip([3, WIDTH, 2 * WIDTH, 4 * WIDTH], [WIDTH, 2 * WIDTH, 4 * WIDTH, 8 * WIDTH])])


class Generator(nn.Module):
    def __init__(self, grid):
        super().__init__()
        self.grid, w = grid, WIDTH
        self.linear = nn.Linear(LATENT, 8 * w * grid[0] * grid[1])
        self.deconvs = nn.ModuleList([nn.ConvTranspose2d(a, b, 4, 2, 1) for a, b in zip([8 * w, 4 * w, 2 * w, w], [4 * w, 2 * w, w, 3])])

    def forward(self, z):
        x = self.linear(z).relu().view(len(z), -1, *self.grid)
        for deconv in self.deconvs[:-1]:
            x = deconv(x).relu()
        return self.deconvs[-1](x).sigmoid()


class Critic(nn.Module):
    def __init__(self, grid):
        super().__init__()
        self.convs, self.linear = halvings(), nn.Linear(8 * WIDTH * grid[0] * grid[1], 1)

    def forward(self, x):
        for conv in self.convs:
            x = F.leaky_relu(conv(x), SLOPE)
        return self.linear(x.flatten(1))[:, 0]


class Inverter(nn.Module):
    def __init__(self, grid):
        super().__init__()
        self.convs = halvings()
        self.hidden, self.linear = nn.Linear(8 * WIDTH * grid[0] * grid[1], 8 * WIDTH), nn.Linear(8 * WIDTH, LATENT)

    def forward(self, x):
        for conv in self.convs:
            x = F.leaky_relu(conv(x), SLOPE)
        return self.linear(F.leaky_relu(self.hidden(x.flatten(1)), SLOPE))


def drawn(net, seed, gain=1.0):
    """Weights that float32 holds exactly, in the size of He et al."""
    g = torch.Generator().manual_seed(seed)
    for name, p in net.named_parameters():
        inputs = p[0].numel() if "deconvs" not in name or p.dim() == 1 else p[:, 0].numel() / 4
        spread = 0.1 if p.dim() == 1 else gain * (2 / inputs) ** 0.5
        p.data = spread * torch.randn(p.shape, generator=g)
    return net.double()


def weights(prefix, net):
    for name, value in net.state_dict().items():
        out[f"{prefix}.{name}"] = (value.t() if value.dim() == 2 else value).clone()


def gradients(case, net):
    out.update({f"{case}.{name}": p.grad.clone() for name, p in net.named_parameters() if p.grad is not None})


def penalty_of(critic, x):
    x = x.detach().requires_grad_(True)
    slopes = torch.autograd.grad(critic(x).sum(), x, create_graph=True)[0]
    return ((slopes.flatten(1).norm(dim=1) - 1) ** 2).mean()


# One step, of images that are no squares.
GRID = (2, 1)
g = torch.Generator().manual_seed(3)
smooth = F.interpolate(torch.rand(BATCH, 3, 4, 2, generator=g), (32, 16), mode="bilinear")
levels = ((1.3 * smooth - 0.15 + 0.1 * torch.randn(smooth.shape, generator=g)).clamp(0, 1) * 255).round()
x, z = levels.double() / 255, torch.randn(BATCH, LATENT, generator=g).double()
shares = torch.rand(BATCH, generator=g).double()
generator, critic, inverter = drawn(Generator(GRID), 1), drawn(Critic(GRID), 2), drawn(Inverter(GRID), 3)
for name, net in [("generator", generator), ("critic", critic), ("inverter", inverter)]:
    weights(name, net)
out |= {"images": levels.to(torch.uint8), "codes": z, "shares": shares}

made = generator(z).detach()
between = x + shares.view(-1, 1, 1, 1) * (made - x)
penalty = penalty_of(critic, between)
penalty.backward()
gradients("step.penalty", critic)
critic.zero_grad()
apart, penalty = critic(made).mean() - critic(x).mean(), penalty_of(critic, between)
adam = torch.optim.Adam(critic.parameters(), 1e-3)
(apart + PENALTY * penalty).backward()
gradients("step.critic", critic)
adam.step()
weights("step.moved", critic)
reconstruction = ((x - generator(inverter(x))) ** 2).mean()
latent = ((z - inverter(made)) ** 2).mean()
(reconstruction + LAMBDA * latent).backward()
gradients("step.inverter", inverter)
generator.zero_grad(); critic.zero_grad()
loss = -critic(generator(z)).mean()
loss.backward()
gradients("step.generator", generator)
out["step.losses"] = torch.stack([apart, penalty, loss, reconstruction, latent]).detach()
print("losses", out["step.losses"].tolist())

# Both searches, each image with directions of its own.
COUNT, ROUNDS, SAMPLES, STEP, LARGEST, PATIENCE = 4, 32, 40, 0.1, 2.0, 3
victim, _, _ = load(4)
net, back = drawn(Generator((1, 1)), 4, 1.2), drawn(Inverter((1, 1)), 5)
weights("search.generator", net)
weights("search.inverter", back)
x = stripes(4, COUNT, 9)[0]
# In steps that a byte holds: less 127.5, and of 256. Some radii are the same: the first candidate counts.
directions = (40 * torch.randn(COUNT, ROUNDS, SAMPLES, LATENT, generator=g) + 127.5).round().clamp(0, 255).to(torch.uint8)
shares = torch.randint(256, (COUNT, ROUNDS, SAMPLES), generator=g).to(torch.uint8)
out |= {"search.images": (x * 255).round().to(torch.uint8), "search.directions": directions, "search.shares": shares}
codes = back(x.double()).detach()
again = net(codes).detach()
labels = victim(again).argmax(1)
out |= {"search.codes": codes, "search.labels": labels.to(torch.uint8)}
out["search.errors"] = (again - x.double()).square().flatten(1).mean(1).sqrt()
closest = np.inf


def answers(z):
    """Classes, and how far the nearest candidate is from being another one."""
    global closest
    logits = victim(net(torch.from_numpy(z))).detach().numpy()
    top = np.sort(logits, 1)
    closest = min(closest, (top[:, -1] - top[:, -2]).min())
    return logits.argmax(1)


class Search:
    def __init__(self, image, reached):
        self.image, self.reached, self.round, self.best = image, reached, 0, None

    def shell(self, low, high):
        """The nearest hit of one shell, if there is one."""
        delta = directions[self.image, self.round].double().numpy() - 127.5
        radii = shares[self.image, self.round].double().numpy() / 256 * (high - low) + low
        self.round += 1
        tried = codes[self.image].numpy() + delta * (radii / np.linalg.norm(delta, axis=1))[:, None]
        hits = np.flatnonzero(self.reached(answers(tried)))
        if len(hits) == 0:
            return None
        nearest = hits[np.argmin(radii[hits])]
        if self.best is None or radii[nearest] < self.best[0]:
            self.best = (radii[nearest], tried[nearest])
        return radii[nearest]

    def iterative(self):
        low = 0.0
        while low < LARGEST and self.shell(low, min(low + STEP, LARGEST)) is None:
            low += STEP

    def hybrid(self):
        low, high = 0.0, LARGEST
        while True:
            found = self.shell(low, high)
            if found is not None:
                low, high = found / 2, found
                if high - low < STEP:
                    break
            elif high - low < STEP:
                break
            else:
                low += (high - low) / 2
        low, tries = max(0.0, high - STEP), 0
        while tries < PATIENCE and high > 1e-4:
            if self.shell(low, high) is None:
                tries += 1
            else:
                low, high, tries = max(0.0, low - STEP), low, 0


for goal in ["away", "towards"]:
    for kind in ["iterative", "hybrid"]:
        rows = []
        for image in range(COUNT):
            own = labels[image].item()
            target = (own + 1 + image % 3) % 4
            search = Search(image, (lambda y: y != own) if goal == "away" else (lambda y: y == target))
            getattr(search, kind)()
            distance, code = search.best or (-1.0, np.zeros(LATENT))
            rows.append([distance, search.round, *code])
        out[f"search.{goal}.{kind}"] = torch.tensor(rows)
        print(goal, kind, [(round(row[0], 3), row[1]) for row in rows])
print("labels", labels.tolist(), "smallest lead of a candidate's class", closest)
assert closest > 2e-5

floats = {k: (v.detach().float() if v.is_floating_point() else v).contiguous() for k, v in out.items()}
save_file(floats, os.path.join(HERE, "natural.safetensors"))
