#!/usr/bin/env python3
"""Golden data for DenseNet: torchvision's network in float64, and its checkpoints in several layouts.

Install:  python3 -m venv ENV && ENV/bin/pip install torch torchvision safetensors   (ENV: a scratch folder)
Run:      ENV/bin/python tests/golden/densenet_tiny.py      (writes beside itself)

densenet_tiny.safetensors           weights and statistics under torchvision's names, as `save_file` writes them
densenet_tiny.pth                   the same as a state dict
densenet_tiny_old_names.pth         ... with the names of torchvision's published files, no num_batches_tracked
densenet_tiny_checkpoint.pth        ... as {"state_dict": {"module....": ...}, "optimizer": ..., "epoch": 3}
densenet_tiny_expected.safetensors  images, labels and what float64 computes from them:
  eval.logits, eval.input_gradient                         evaluation mode
  train.logits, train.input_gradient, train.gradient.NAME  one step in training mode
  train.buffer.NAME                                        the running statistics after it
densenet121_names.txt               names and shapes of torchvision's densenet121(num_classes=2)
The loss is the cross-entropy, summed over the images.
"""
import pathlib, re
import torch, torchvision
from safetensors.torch import save_file

here = pathlib.Path(__file__).parent
torch.manual_seed(0)
net = torchvision.models.DenseNet(growth_rate=4, block_config=(2, 1), num_init_features=6, bn_size=2, num_classes=3)
for module in net.modules():
    if isinstance(module, torch.nn.BatchNorm2d):
        torch.nn.init.uniform_(module.weight, -0.5, 1.5)
        torch.nn.init.normal_(module.bias, std=0.3)
        torch.nn.init.normal_(module.running_mean, std=0.3)
        torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
torch.nn.init.normal_(net.classifier.bias)

state = {name: tensor.clone().contiguous() for name, tensor in net.state_dict().items()}
save_file(state, here / "densenet_tiny.safetensors", metadata={"format": "pt"})
torch.save(state, here / "densenet_tiny.pth")
tracked = lambda name: name.endswith("num_batches_tracked")
old = lambda name: re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", name)
torch.save({old(name): t for name, t in state.items() if not tracked(name)}, here / "densenet_tiny_old_names.pth")
checkpoint = {"state_dict": {"module." + name: t for name, t in state.items()}, "optimizer": {"exp_avg": torch.ones(3)}, "epoch": 3}
torch.save(checkpoint, here / "densenet_tiny_checkpoint.pth")

images, labels = torch.rand(3, 3, 19, 23), torch.tensor([2, 0, 1])
expected = {"images": images, "labels": labels}
net = net.double()
for mode in ["eval", "train"]:
    net.train(mode == "train")
    net.zero_grad()
    x = images.double().requires_grad_(True)
    logits = net(x)
    torch.nn.functional.cross_entropy(logits, labels, reduction="sum").backward()
    expected |= {f"{mode}.logits": logits.detach(), f"{mode}.input_gradient": x.grad}
expected |= {f"train.gradient.{name}": p.grad for name, p in net.named_parameters()}
expected |= {f"train.buffer.{name}": b for name, b in net.named_buffers() if not tracked(name)}
save_file({name: t.contiguous() for name, t in expected.items()}, here / "densenet_tiny_expected.safetensors")

full = torchvision.models.densenet121(num_classes=2).state_dict()
lines = [f"{name} {list(t.shape)}" for name, t in sorted(full.items())]
(here / "densenet121_names.txt").write_text("\n".join(lines) + "\n")
