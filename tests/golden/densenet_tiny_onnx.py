#!/usr/bin/env python3
"""Runs exported networks in onnxruntime, compares with torchvision in float64, and keeps the tiny one.

Install:  python3 -m venv ENV && ENV/bin/pip install torch torchvision safetensors onnx onnxruntime
Run:      ENV/bin/python tests/golden/densenet_tiny_onnx.py      (needs cargo; after densenet_tiny.py)

densenet_tiny.onnx              the network of densenet_tiny.py behind ImageNet's normalisation, as export_onnx writes it
densenet_tiny_onnx.safetensors  images in [0,1] and what torchvision computes from them in float64
A DenseNet-121 with random weights and statistics is exported, compared and thrown away. Stops at the first logits that
are off by more than 1e-4 of the largest, for batches of 1 and 3 and images of several sizes.
"""
import pathlib, subprocess, tempfile
import onnx, onnxruntime, torch, torchvision
from safetensors.torch import load_file, save_file

here = pathlib.Path(__file__).parent
mean = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64)[:, None, None]
std = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64)[:, None, None]


def export(checkpoint, file, *options):
    command = ["cargo", "run", "--features", "onnx", "--example", "export_onnx", "--", checkpoint, file, *options]
    subprocess.run(command, cwd=here, check=True)


def compare(file, net, sizes):
    model = onnx.load(file)
    onnx.checker.check_model(model, full_check=True)
    dims = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in [*model.graph.input, *model.graph.output]]
    print(file, "opset", model.opset_import[0].version, *dims, len(model.graph.node), "nodes")
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    net = net.double().eval()
    for height, width in sizes:
        for batch in [1, 3]:
            images = torch.rand(batch, 3, height, width)
            with torch.no_grad():
                expected = net((images.double() - mean) / std)
            [found] = session.run(["logits"], {"images": images.numpy()})
            off = (torch.from_numpy(found).double() - expected).abs().max() / expected.abs().max()
            print(f"  {batch} x {height} x {width}: off by {off:.1e} of the largest logit")
            assert off < 1e-4
    return images, expected


torch.manual_seed(0)
tiny = torchvision.models.DenseNet(growth_rate=4, block_config=(2, 1), num_init_features=6, bn_size=2, num_classes=3)
tiny.load_state_dict(load_file(here / "densenet_tiny.safetensors"))
form = ["--classes=3", "--growth-rate=4", "--block-config=2,1", "--num-init-features=6", "--bn-size=2"]
export(here / "densenet_tiny.safetensors", here / "densenet_tiny.onnx", *form)
images, logits = compare(here / "densenet_tiny.onnx", tiny, [(64, 32), (19, 23)])
save_file({"images": images, "logits": logits.float().contiguous()}, here / "densenet_tiny_onnx.safetensors")

with tempfile.TemporaryDirectory() as scratch:
    scratch = pathlib.Path(scratch)
    net = torchvision.models.densenet121(num_classes=2)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.3)
            torch.nn.init.normal_(module.running_mean, std=0.3)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
    save_file(net.state_dict(), scratch / "net.safetensors")
    export(scratch / "net.safetensors", scratch / "net.onnx")
    compare(scratch / "net.onnx", net, [(224, 224), (29, 50), (97, 65)])
