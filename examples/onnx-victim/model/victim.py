#!/usr/bin/env python3
"""A small classifier of coloured stripes as an ONNX file, with images and what PyTorch makes of them.

Install:  python3 -m venv ENV && ENV/bin/pip install torch onnx onnxscript onnxruntime safetensors
Run:      ENV/bin/python examples/onnx-victim/model/victim.py      (writes beside itself)

victim.onnx              images [batch, 3, 16, 16] in [0,1] to the logits of horizontal and vertical stripes
victim.safetensors       images that it was not trained on, their labels and PyTorch's logits
"""
import pathlib
import numpy, onnx, onnxruntime, torch
from safetensors.torch import save_file
from torch import nn

here = pathlib.Path(__file__).parent
torch.manual_seed(0)


def stripes(count):
    """Pink stripes of random width and phase on a paler ground, with noise."""
    labels = torch.randint(2, (count,))
    place = torch.arange(16.0).expand(count, 1, 16, 16)
    place = torch.where(labels.bool()[:, None, None, None], place, place.transpose(2, 3))
    wave = torch.sin(place * (0.6 + torch.rand(count, 1, 1, 1)) + 6.3 * torch.rand(count, 1, 1, 1))
    colour = torch.tensor([0.75, 0.5, 0.65])[:, None, None] + 0.1 * torch.randn(count, 3, 1, 1)
    images = colour + 0.08 * wave + 0.06 * torch.randn(count, 3, 16, 16)
    return images.clamp(0, 1), labels


net = nn.Sequential(
    nn.Conv2d(3, 8, 5, padding=2), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
    nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 2),
)
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
for step in range(300):
    images, labels = stripes(64)
    loss = nn.functional.cross_entropy(net(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
net.eval()

images, labels = stripes(24)
with torch.no_grad():
    logits = net(images)
print("right on", (logits.argmax(1) == labels).float().mean().item())
torch.onnx.export(
    net, (images[:2],), here / "victim.onnx", input_names=["images"], output_names=["logits"],
    dynamic_shapes=({0: torch.export.Dim("batch")},), opset_version=18, external_data=False, dynamo=True,
)
# Without the exporter's stack traces, which name the folders of the machine.
model = onnx.load(here / "victim.onnx")
for part in [*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.value_info, model.graph, model]:
    del part.metadata_props[:]
    part.doc_string = ""
onnx.save(model, here / "victim.onnx")
[found] = onnxruntime.InferenceSession(here / "victim.onnx").run(None, {"images": images.numpy()})
assert numpy.abs(found - logits.numpy()).max() < 1e-4
save_file({"images": images.contiguous(), "labels": labels, "logits": logits}, here / "victim.safetensors")
