"""The measurements of throughput.rs with PyTorch: torchvision's DenseNet-121, two classes, 224x224.

    pip install torch torchvision torchattacks
    python throughput_torch.py --batch 1 8 32 --runs 5 --channels-last

Prints one JSON object a measurement and, last, the process's peak memory. `torchattacks` is the FGSM of that package as
its users call it; `fgsm` the same attack without its overhead.
"""

import argparse
import sys

import torch
import torchvision
from torch.nn.functional import cross_entropy

from measuring import tell, tell_memory, timed

EPSILON = 8 / 255


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--ops", nargs="+", default=["forward", "fgsm", "pgd10", "train"], choices=OPS)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--cuda", action="store_true")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--compile", action="store_true", help="torch.compile; the CPU needs a C++ compiler for it")
    parser.add_argument("--threads", type=int, help="of the CPU; PyTorch's choice by default")
    parser.add_argument("--precision", choices=["float32", "tf32", "bf16"], default="float32")
    return parser.parse_args()


class Network(torch.nn.Module):
    """torchvision's, compiled and under autocast if wished; logits are float32."""

    def __init__(self, args, device, layout):
        super().__init__()
        net = torchvision.models.densenet121(weights=None, num_classes=2)
        net = net.to(device, memory_format=layout).eval().requires_grad_(False)
        self.net = torch.compile(net) if args.compile else net
        self.half = args.precision == "bf16"

    def forward(self, images):
        # Left after every pass: inside, casts of the weights are kept, and an optimizer's steps would not be seen.
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.half):
            return self.net(images).float()


def input_gradient(net, images, labels):
    images = images.clone().requires_grad_(True)
    return torch.autograd.grad(cross_entropy(net(images), labels, reduction="sum"), images)[0]


def forward(net, images, labels):
    def run():
        with torch.no_grad():
            net(images)

    return run


def fgsm(net, images, labels):
    return lambda: (images + EPSILON * input_gradient(net, images, labels).sign()).clamp(0, 1)


def torchattacks(net, images, labels):
    import torchattacks

    attack = torchattacks.FGSM(net, eps=EPSILON)
    return lambda: attack(images, labels)


def pgd10(net, images, labels):
    def run():
        moved = images
        for _ in range(10):
            change = moved + 2 / 255 * input_gradient(net, moved, labels).sign() - images
            moved = (images + change.clamp(-EPSILON, EPSILON)).clamp(0, 1)

    return run


def train(net, images, labels):
    net.train().requires_grad_(True)
    # In one pass, as ours: a few per cent faster than the default.
    adam = torch.optim.Adam(net.parameters(), 1e-3, fused=True)

    def run():
        adam.zero_grad()
        cross_entropy(net(images), labels).backward()
        adam.step()

    return run


OPS = dict(forward=forward, fgsm=fgsm, torchattacks=torchattacks, pgd10=pgd10, train=train)


def main():
    args = options()
    if args.cuda and not torch.cuda.is_available():
        sys.exit("--cuda: expected an NVIDIA GPU that PyTorch can use, found none")
    device = torch.device("cuda" if args.cuda else "cpu")
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = args.precision == "tf32"
    layout = torch.channels_last if args.channels_last else torch.contiguous_format
    about = {
        "device": torch.cuda.get_device_name() if args.cuda else "cpu",
        "precision": args.precision,
        "channels_last": args.channels_last,
        "compiled": args.compile,
        "threads": torch.get_num_threads(),
        "isa": torch.backends.cpu.get_cpu_capability(),
    }
    for batch in args.batch:
        for op in args.ops:
            torch.manual_seed(0)
            torch._dynamo.reset()
            net = Network(args, device, layout)
            images = torch.rand(batch, 3, args.size, args.size, device=device).contiguous(memory_format=layout)
            labels = torch.arange(batch, device=device) % 2
            run = OPS[op](net, images, labels)
            first, seconds = timed(run, args.runs, torch.cuda.synchronize if args.cuda else lambda: None)
            tell(op, batch, first, seconds, **about)
    tell_memory()


if __name__ == "__main__":
    main()
