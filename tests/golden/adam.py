#!/usr/bin/env python3
"""Writes adam.safetensors and adam.json: a tiny DenseNet, images, and how PyTorch trains it in float64.

pip install torch torchvision safetensors; python adam.py
Versions when last run: torch 2.15, torchvision 0.29.

Every epoch is one step on all training images, so that their order does not matter. `last_block` and `head` are
the same with everything before the last block, and all but the classifier, frozen; `optimizers` are other settings of
Adam, and of SGD.
"""
import copy, json, os, sys
import torch, torchvision
from safetensors.torch import save_file

FULL = "--full" in sys.argv  # densenet121 at 64x64, for a look by hand
HERE = sys.argv[-1] if FULL else os.path.dirname(os.path.abspath(__file__))
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1).double()
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1).double()
EPOCHS, TRAIN, VALIDATION, SIDE = (8, 16, 8, 64) if FULL else (8, 12, 6, 32)

# With this seed float32 steps of PyTorch itself stay within 2e-6 of these; with some others a zero gradient, which Adam
# takes by its sign, leads them away.
torch.manual_seed(0)
net = torchvision.models.densenet121(num_classes=2) if FULL else torchvision.models.DenseNet(4, (2, 2), 8, bn_size=2, num_classes=2)
weights = {k: v.clone() for k, v in net.state_dict().items() if "num_batches" not in k}
# Class 1 is brighter by less than the noise.
labels = torch.arange(TRAIN + VALIDATION) % 2
images = (110 + 30 * labels.view(-1, 1, 1, 1) + 60 * torch.randn(TRAIN + VALIDATION, 3, SIDE, SIDE)).clamp(0, 255).round()
x = (images.double() / 255 - MEAN) / STD

loss_of = lambda z, y: torch.nn.functional.cross_entropy(z, y)
right = lambda z, y: (z.argmax(1) == y).double().mean().item()


def train(frozen, optimizer=lambda weights: torch.optim.Adam(weights, lr=1e-3)):
    """The losses while these parts keep their weights and use their running statistics."""
    trained = copy.deepcopy(net).double()
    frozen = [part for name, part in trained.named_modules() if name in frozen]
    for part in frozen:
        part.requires_grad_(False)
    optimizer = optimizer([p for p in trained.parameters() if p.requires_grad])
    history = []
    for _ in range(EPOCHS):
        trained.train()
        for part in frozen:
            part.eval()
        optimizer.zero_grad()
        logits = trained(x[:TRAIN])
        loss = loss_of(logits, labels[:TRAIN])
        loss.backward()
        optimizer.step()
        trained.eval()
        with torch.no_grad():
            validation = trained(x[TRAIN:])
        history.append(dict(train_loss=loss.item(), train_accuracy=right(logits, labels[:TRAIN]),
                            validation_loss=loss_of(validation, labels[TRAIN:]).item(), validation_accuracy=right(validation, labels[TRAIN:])))
        print(history[-1])
    return history


histories = dict(
    history=train([]),
    last_block=train(["features.conv0", "features.norm0", "features.denseblock1", "features.transition1"]),
    head=train(["features"]),
)


def sgd(rate, **settings):
    """One SGD beside how this crate writes its settings."""
    history = train([], lambda weights: torch.optim.SGD(weights, lr=rate, **settings))
    return dict(optimizer=dict(name="sgd", **settings), learning_rate=rate, history=history)


decayed = train([], lambda weights: torch.optim.Adam(weights, lr=1e-3, betas=(0.8, 0.99), weight_decay=0.1))
optimizers = [
    dict(optimizer=dict(name="adam", beta_1=0.8, beta_2=0.99, epsilon=1e-8, weight_decay=0.1), learning_rate=1e-3, history=decayed),
    sgd(0.02, momentum=0.0, nesterov=False, weight_decay=0.0),
    sgd(0.01, momentum=0.9, nesterov=False, weight_decay=0.05),
    sgd(0.01, momentum=0.9, nesterov=True, weight_decay=0.05),
]

tensors = {f"net.{k}": v.float().contiguous() for k, v in weights.items()}
tensors["images"] = images.to(torch.uint8).permute(0, 2, 3, 1).contiguous()
save_file(tensors, os.path.join(HERE, "adam.safetensors"))
with open(os.path.join(HERE, "adam.json"), "w") as file:
    json.dump(dict(train=TRAIN, side=SIDE, learning_rate=1e-3) | histories | dict(optimizers=optimizers), file, indent=1)
    file.write("\n")
