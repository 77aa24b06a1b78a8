#!/usr/bin/env python3
"""Trains the small networks that the attack tests share, and writes victim.safetensors; imported by its neighbours.

pip install torch safetensors; python victim.py
Versions when last run: torch 2.15.

Images are 16x16 RGB: class k is a stripe pattern of direction k with random phase, colour and contrast in noise. Two
networks of one form, one for two classes and one for four. Activations are smooth (SiLU) and pooling is an average,
so that float32 and float64 agree on the signs of gradients.
"""
import os
import torch
from safetensors.torch import load_file, save_file

HERE = os.path.dirname(os.path.abspath(__file__))
FILE = os.path.join(HERE, "victim.safetensors")
TEST = 32


def images(classes, count, seed):
    """`count` images in [0,1] with 8-bit values, and their classes in turn."""
    g = torch.Generator().manual_seed(seed)
    rand = lambda *shape: torch.rand(*shape, generator=g)
    labels = torch.arange(count) % classes
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    angle = labels.view(-1, 1, 1) * torch.pi / classes + (rand(count, 1, 1) - 0.5) * 0.3
    wave = torch.sin((x * angle.cos() + y * angle.sin()) * (0.9 + 0.4 * rand(count, 1, 1)) + 6.3 * rand(count, 1, 1))
    colour = 0.04 + 0.14 * rand(count, 3, 1, 1)
    noise = 0.12 * torch.randn(count, 3, 16, 16, generator=g)
    pixels = 0.3 + 0.4 * rand(count, 3, 1, 1) + colour * wave.unsqueeze(1) + noise
    return (pixels.clamp(0, 1) * 255).round() / 255, labels


class Victim(torch.nn.Module):
    def __init__(self, classes):
        super().__init__()
        conv = torch.nn.Conv2d
        self.conv0, self.conv1, self.conv2 = conv(3, 8, 3, padding=1), conv(8, 12, 3, padding=1), conv(12, 16, 3, padding=1)
        self.linear = torch.nn.Linear(16, classes)

    def forward(self, x):
        # Casts up, because attack packages hand float32 to a network in float64.
        x = x.to(self.linear.weight.dtype)
        act, pool = torch.nn.functional.silu, torch.nn.functional.avg_pool2d
        x = pool(act(self.conv0((x - 0.5) / 0.25)), 2)
        x = pool(act(self.conv1(x)), 2)
        return self.linear(act(self.conv2(x)).mean((2, 3)))


def train(classes):
    torch.manual_seed(classes)
    net = Victim(classes)
    adam = torch.optim.Adam(net.parameters(), 3e-3, weight_decay=1e-4)
    for step in range(1500):
        x, y = images(classes, 64, 1000 + step)
        loss = torch.nn.functional.cross_entropy(net(x), y)
        adam.zero_grad(); loss.backward(); adam.step()
    return net


def load(classes, dtype=torch.float64):
    """The stored network for so many classes, its test images and their classes."""
    stored = load_file(FILE)
    net = Victim(classes)
    net.load_state_dict({k.split(".", 1)[1]: v for k, v in stored.items() if k.startswith(f"net{classes}.")})
    x, y = stored[f"images{classes}"].to(dtype) / 255, stored[f"labels{classes}"].long()
    return net.to(dtype).eval().requires_grad_(False), x, y


if __name__ == "__main__":
    out = {}
    for classes in (2, 4):
        net = train(classes).eval().requires_grad_(False)
        x, y = images(classes, 2000, 1)
        print(classes, "classes: accuracy", (net(x).argmax(1) == y).float().mean().item())
        g = torch.autograd.functional.jacobian(lambda z: torch.nn.functional.cross_entropy(net(z), y[:200], reduction="sum"), x[:200])
        for e in (1, 2, 4, 8, 16):
            print("  FGSM", e, (net((x[:200] + e / 255 * g.sign()).clamp(0, 1)).argmax(1) == y[:200]).float().mean().item())
        # Attacks start from images that are right.
        right = (net(x).argmax(1) == y).nonzero().flatten()[:TEST]
        out |= {f"net{classes}.{k}": v for k, v in net.state_dict().items()}
        out |= {f"images{classes}": (x[right] * 255).round().to(torch.uint8), f"labels{classes}": y[right].to(torch.uint8)}
        out[f"logits{classes}"] = net.double()(x[right].double()).float()
    save_file(out, FILE)
