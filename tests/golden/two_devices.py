#!/usr/bin/env python3
"""Writes two_devices.json: how PyTorch trains the network of adam.safetensors on two devices, in float64.

pip install torch torchvision safetensors; python two_devices.py
Versions when last run: torch 2.15, torchvision 0.29.

Every epoch is one step on all training images. Each half of them goes through the network by itself, as in
DistributedDataParallel without SyncBatchNorm, and the gradients' mean is followed; the running statistics are the mean
of both halves'. `ORDER` is the order in which the loader with seed 0 gives the images, on which the halves depend.
"""
import json, os
import torch, torchvision
from safetensors.torch import load_file

HERE = os.path.dirname(os.path.abspath(__file__))
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1).double()
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1).double()
EPOCHS, TRAIN = 8, 12
ORDER = [
    [9, 5, 6, 11, 2, 1, 4, 0, 10, 8, 3, 7],
    [3, 8, 5, 10, 9, 1, 7, 6, 11, 2, 0, 4],
    [10, 4, 11, 7, 2, 6, 3, 1, 0, 5, 8, 9],
    [0, 9, 7, 1, 11, 2, 6, 8, 3, 10, 4, 5],
    [7, 1, 5, 6, 9, 8, 4, 10, 0, 3, 2, 11],
    [2, 11, 5, 1, 7, 4, 0, 6, 9, 10, 3, 8],
    [8, 9, 0, 4, 2, 5, 6, 7, 3, 1, 11, 10],
    [9, 6, 8, 0, 1, 7, 3, 11, 5, 4, 10, 2],
]

file = load_file(os.path.join(HERE, "adam.safetensors"))
images = file["images"].permute(0, 3, 1, 2).double() / 255
labels = torch.arange(len(images)) % 2
x = (images - MEAN) / STD
net = torchvision.models.DenseNet(4, (2, 2), 8, bn_size=2, num_classes=2)
net.load_state_dict({name[4:]: value for name, value in file.items() if name.startswith("net.")}, strict=False)
net = net.double()
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
loss_of = torch.nn.functional.cross_entropy
right = lambda z, y: (z.argmax(1) == y).double().mean().item()
statistics = lambda: {name: value.clone() for name, value in net.named_buffers() if "num_batches" not in name}

history = []
for order in ORDER:
    net.train()
    optimizer.zero_grad()
    start, halves = statistics(), []
    logits = []
    for half in (order[: TRAIN // 2], order[TRAIN // 2 :]):
        net.load_state_dict(start, strict=False)
        z = net(x[half])
        (loss_of(z, labels[half]) / 2).backward()
        halves.append(statistics())
        logits.append(z.detach())
    net.load_state_dict({name: (halves[0][name] + halves[1][name]) / 2 for name in start}, strict=False)
    optimizer.step()
    net.eval()
    logits = torch.cat(logits)
    with torch.no_grad():
        validation = net(x[TRAIN:])
    history.append(dict(train_loss=loss_of(logits, labels[order]).item(), train_accuracy=right(logits, labels[order]),
                        validation_loss=loss_of(validation, labels[TRAIN:]).item(), validation_accuracy=right(validation, labels[TRAIN:])))
    print(history[-1])
assert len(history) == EPOCHS

with open(os.path.join(HERE, "two_devices.json"), "w") as file:
    json.dump(history, file, indent=1)
    file.write("\n")
