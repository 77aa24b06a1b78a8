#!/usr/bin/env python3
"""One training step of AdvGAN and AdvGAN++, and of a distilled copy, from given weights; writes generative.safetensors.

pip install torch safetensors; python generative.py
Versions when last run: torch 2.15.

The networks are the ones of mathcbc/advGAN_pytorch (models.py), written here for any width; the step has the order of
its advGAN.py: discriminator, Adam, generator against the new discriminator. AdvGAN++'s generator is the one that the
documentation of FeatureGeneratorConfig describes. Everything in float64. Weights are larger than the N(0, 0.02) that
training starts from, so that every loss has gradients worth comparing.
"""
import os
import torch
from safetensors.torch import save_file
from torch import nn
from victim import HERE, load

F = torch.nn.functional
WIDTH, BLOCKS, SIDE, BATCH, CLASSES, NOISE = 2, 2, 24, 4, 4, 5
out = {}


class Residual(nn.Module):
    def __init__(self, c):
        super().__init__()
        half = lambda: [nn.ReflectionPad2d(1), nn.Conv2d(c, c, 3, bias=False), nn.BatchNorm2d(c)]
        self.conv_block = nn.Sequential(*half(), nn.ReLU(), *half())

    def forward(self, x):
        return x + self.conv_block(x)


class Generator(nn.Module):
    def __init__(self, w, norm=nn.InstanceNorm2d):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, w, 3), norm(w), nn.ReLU(),
            nn.Conv2d(w, 2 * w, 3, 2), norm(2 * w), nn.ReLU(),
            nn.Conv2d(2 * w, 4 * w, 3, 2), norm(4 * w), nn.ReLU())
        self.bottle_neck = nn.Sequential(*[Residual(4 * w) for _ in range(BLOCKS)])
        up = lambda *a: nn.ConvTranspose2d(*a, bias=False)
        self.decoder = nn.Sequential(
            up(4 * w, 2 * w, 3, 2), norm(2 * w), nn.ReLU(),
            up(2 * w, w, 3, 2), norm(w), nn.ReLU(),
            up(w, 3, 6), nn.Tanh())

    def forward(self, x):
        return self.decoder(self.bottle_neck(self.encoder(x)))


class FeatureGenerator(nn.Module):
    """24 = 6 * 2 * 2: two doublings."""

    def __init__(self, features, w):
        super().__init__()
        self.linear = nn.Linear(features + NOISE, 4 * w * 6 * 6)
        self.bottle_neck = nn.Sequential(*[Residual(4 * w) for _ in range(BLOCKS)])
        up = lambda *a: nn.ConvTranspose2d(*a, 4, 2, 1, bias=False)
        self.decoder = nn.ModuleList([up(4 * w, 2 * w), up(2 * w, w)])
        self.last = nn.Conv2d(w, 3, 3, padding=1)

    def forward(self, features, noise):
        x = self.linear(torch.cat([features, noise], 1)).relu()
        x = self.bottle_neck(x.view(len(x), -1, 6, 6))
        for up in self.decoder:
            x = F.instance_norm(up(x)).relu()
        return self.last(x).sigmoid()


class Discriminator(nn.Module):
    def __init__(self, w):
        super().__init__()
        leaky = lambda: nn.LeakyReLU(0.2)
        self.model = nn.Sequential(
            nn.Conv2d(3, w, 4, 2), leaky(),
            nn.Conv2d(w, 2 * w, 4, 2), nn.BatchNorm2d(2 * w), leaky(),
            nn.Conv2d(2 * w, 4 * w, 4, 2), nn.BatchNorm2d(4 * w), leaky(),
            nn.Conv2d(4 * w, 1, 1))

    def forward(self, x):
        return self.model(x)


def drawn(net, seed):
    """Weights that float32 holds exactly."""
    g = torch.Generator().manual_seed(seed)
    for name, p in net.named_parameters():
        spread = 0.15 * torch.randn(p.shape, generator=g)
        p.data = 1 + spread if p.dim() == 1 and name.endswith("weight") else spread
    return net.double()


def gan_loss(kind, logits, real):
    goal = torch.full_like(logits, float(real))
    return F.mse_loss(logits.sigmoid(), goal) if kind == "ls" else F.binary_cross_entropy_with_logits(logits, goal)


def margin_loss(logits, classes, targeted, kappa):
    own = F.one_hot(classes, CLASSES).bool()
    ahead = logits[own] - logits.masked_fill(own, -torch.inf).max(1).values
    return (-ahead if targeted else ahead).clamp(min=-kappa).mean()


def step(case, generator, discriminator, x, judged, adversarial, change, victim, classes, o):
    adam = torch.optim.Adam(discriminator.parameters(), 1e-3)
    d_loss = gan_loss(o["kind"], discriminator(x), 1) + gan_loss(o["kind"], discriminator(judged.detach()), 0)
    adam.zero_grad(); d_loss.backward()
    for name, p in discriminator.named_parameters():
        out[f"{case}.discriminator.{name}"] = p.grad.clone()
    adam.step()
    gan = gan_loss(o["kind"], discriminator(judged), 1)
    adv = margin_loss(victim(adversarial), classes, o["targeted"], o["kappa"])
    hinge = torch.zeros(()).double() if o["c"] is None else (change.flatten(1).norm(dim=1) - o["c"]).clamp(min=0).mean()
    generator.zero_grad()
    (o["gan"] * gan + o["alpha"] * adv + o["beta"] * hinge).backward()
    for name, p in generator.named_parameters():
        out[f"{case}.generator.{name}"] = p.grad.clone()
    for name, b in generator.named_buffers():
        if "running" in name:
            out[f"{case}.buffer.{name}"] = b.clone()
    out[f"{case}.losses"] = torch.stack([d_loss, gan, adv, hinge]).detach()
    print(case, out[f"{case}.losses"].tolist())


victim, _, _ = load(CLASSES)
g = torch.Generator().manual_seed(7)
smooth = F.interpolate(torch.rand(BATCH, 3, 6, 6, generator=g), SIDE, mode="bilinear")
# Some pixels are black or white, so that the cut to [0,1] is met.
levels = ((1.3 * smooth - 0.15 + 0.1 * torch.randn(BATCH, 3, SIDE, SIDE, generator=g)).clamp(0, 1) * 255).round()
x = levels.double() / 255
classes = victim(x).argmax(1)
out |= {"images": levels.to(torch.uint8), "classes": classes.to(torch.uint8)}
print("classes", classes.tolist())

make = lambda: (drawn(Generator(WIDTH), 1), drawn(Discriminator(WIDTH), 2))
for net, name in zip(make(), ["generator", "discriminator"]):
    out |= {f"{name}.{k}": v for k, v in net.state_dict().items() if "num_batches" not in k}
cases = {
    "clip": dict(kind="ls", targeted=False, c=0.5, kappa=0.0, alpha=10.0, beta=1.0, gan=1.0, budget=0.3),
    "scale": dict(kind="ce", targeted=True, c=None, kappa=2.0, alpha=3.0, beta=1.0, gan=0.5, budget=0.03),
}
for case, o in cases.items():
    generator, discriminator = make()
    outputs = generator(x)
    change = outputs.clamp(-o["budget"], o["budget"]) if case == "clip" else outputs * o["budget"]
    print(case, "outputs past the budget", (outputs.abs() > o["budget"]).double().mean().item())
    adversarial = (x + change).clamp(0, 1)
    towards = (classes + 1) % CLASSES if o["targeted"] else classes
    step(case, generator, discriminator, x, adversarial, adversarial, change, victim, towards, o)
# Batch norm in place of instance norm.
generator = drawn(Generator(WIDTH, nn.BatchNorm2d), 4)
out |= {f"batch_norm_generator.{k}": v.clone() for k, v in generator.state_dict().items() if "num_batches" not in k}
change = generator(x) * cases["scale"]["budget"]
step("batch_norm", generator, make()[1], x, (x + change).clamp(0, 1), (x + change).clamp(0, 1), change, victim, classes,
     dict(kind="ls", targeted=False, c=None, kappa=10.0, alpha=10.0, beta=1.0, gan=1.0))

generator, _ = make()
out["evaluated"] = generator.eval()(x[:1]).detach()

# AdvGAN++: the features of the victim, which its last layer sees.
inputs = []
hook = victim.linear.register_forward_hook(lambda module, ins, output: inputs.append(ins[0]))
victim(x)
hook.remove()
seen = inputs[0].detach()
noise = torch.randn(BATCH, NOISE, generator=g)
out |= {"noise": noise}
make_pp = lambda: drawn(FeatureGenerator(seen.shape[1], WIDTH), 3)
out |= {f"feature_generator.{k}": v for k, v in make_pp().state_dict().items() if "num_batches" not in k}
o = dict(kind="ls", targeted=False, c=0.0, kappa=1.0, alpha=2.0, beta=0.5, gan=1.0, budget=0.05)
generator, discriminator = make_pp(), make()[1]
made = generator(seen, noise.double())
change = made - x
adversarial = x + change + (change.clamp(-o["budget"], o["budget"]) - change).detach()
step("plus_plus", generator, discriminator, x, made, adversarial, change, victim, classes, o)

# A copy of the victim that is 0.7 times it, on the images and on those that are a little darker.
copy, _, _ = load(CLASSES)
for p in copy.parameters():
    p.data *= 0.7
copy.requires_grad_(True)
soft = lambda z: victim(z).softmax(1)
loss = sum(-(copy(z).log_softmax(1) * soft(z)).sum(1).mean() for z in [x, 0.9 * x])
loss.backward()
out |= {f"copy.{k}": p.grad for k, p in copy.named_parameters()} | {"copy_loss": loss.detach().view(1)}

floats = {k: (v.detach().float() if v.is_floating_point() else v).contiguous() for k, v in out.items()}
save_file(floats, os.path.join(HERE, "generative.safetensors"))
