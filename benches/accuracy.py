"""How far input gradients of DenseNet-121 at 224x224 are from PyTorch's in float64: this crate's and PyTorch's float32.

    pip install torch torchvision safetensors
    python benches/accuracy.py --draws 5 --images 8
    python benches/accuracy.py --bf16    # beside them this crate's gradients in bfloat16, and PyTorch's under autocast

The distance of a gradient g from the float64 one r is |g - r| / |r|, an image. It is about 1e-6 unless a ReLU or a pool
decides a near-tie otherwise than float64 does: each such decision moves a gradient by about 1e-3, so single images say
little and the distributions are compared. Every draw has its own weights and images. Norms get random weights, and the
running statistics of the images.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile

import torch
import torchvision
from safetensors.torch import load_file, save_file

HERE = pathlib.Path(__file__).resolve().parent


def build():
    command = ["cargo", "bench", "--bench", "accuracy", "--no-run", "--message-format=json"]
    built = subprocess.run(command, cwd=HERE.parent, check=True, stdout=subprocess.PIPE, text=True).stdout
    messages = [json.loads(line) for line in built.splitlines()]
    return next(m["executable"] for m in messages if m.get("executable") and m["target"]["name"] == "accuracy")


def draw(seed, count, size):
    torch.manual_seed(seed)
    net = torchvision.models.densenet121(num_classes=2)
    # Smooth structure at several scales, as in photographs, and some noise.
    images = torch.rand(count, 3, size, size) * 0.2
    for side in [4, 16, 64]:
        images += torch.nn.functional.interpolate(torch.rand(count, 3, side, side), size, mode="bicubic").clamp(0, 1) * 0.27
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.3)
            module.momentum = None
    with torch.no_grad():
        net.train()(images)
    return net.eval().requires_grad_(False), images.clamp(0, 1), torch.arange(count) % 2


def gradient(net, images, labels):
    images = images.clone().requires_grad_(True)
    logits = net(images)
    loss = torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
    return torch.autograd.grad(loss, images)[0].double(), logits.detach().double()


def distance(values, reference):
    return ((values - reference).flatten(1).norm(dim=1) / reference.flatten(1).norm(dim=1)).tolist()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--ours", help="a built accuracy program")
    parser.add_argument("--bf16", action="store_true", help="gradients in bfloat16 too")
    args = parser.parse_args()
    program = args.ours or build()
    names = ["this crate", "PyTorch float32", "PyTorch float32, channels-last"]
    names += ["this crate, bf16", "PyTorch, bf16 autocast"] if args.bf16 else []
    gradients, logits = {name: [] for name in names}, {name: [] for name in names}
    for seed in range(args.draws):
        net, images, labels = draw(seed, args.images, args.size)
        with tempfile.TemporaryDirectory() as folder:
            files = [str(pathlib.Path(folder) / f"{name}.safetensors") for name in ["net", "images", "gradients"]]
            save_file(net.state_dict(), files[0])
            save_file({"images": images, "labels": labels}, files[1])
            subprocess.run([program, *files], check=True)
            ours = load_file(files[2])
            if args.bf16:
                subprocess.run([program, *files, "--bf16"], check=True)
                half = load_file(files[2])
        found = {
            names[0]: (ours["gradient"].double(), ours["logits"].double()),
            names[1]: gradient(net, images, labels),
            names[2]: gradient(net.to(memory_format=torch.channels_last), images.contiguous(memory_format=torch.channels_last), labels),
        }
        if args.bf16:
            found[names[3]] = half["gradient"].double(), half["logits"].double()
            with torch.autocast("cpu", torch.bfloat16):
                found[names[4]] = gradient(net, images, labels)
        reference = gradient(net.to(memory_format=torch.contiguous_format).double(), images.double(), labels)
        for name, values in found.items():
            gradients[name] += distance(values[0], reference[0])
            logits[name] += distance(values[1], reference[1])
    print(f"distance from float64, {args.draws} draws of {args.images} images\n")
    print("| | gradient: median | mean | root mean square | largest | logits: median |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in names:
        row = gradients[name]
        square = statistics.fmean(value**2 for value in row) ** 0.5
        cells = [statistics.median(row), statistics.fmean(row), square, max(row), statistics.median(logits[name])]
        print(f"| {name} | {' | '.join(f'{cell:.2e}' for cell in cells)} |")
    for name in names:
        print(f"{name}: {' '.join(f'{value:.1e}' for value in sorted(gradients[name]))}")


main()
