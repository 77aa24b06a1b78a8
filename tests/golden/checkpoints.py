#!/usr/bin/env python3
"""Checkpoints as people have them, and the logits that PyTorch computes from each.

Install:  python3 -m venv ENV && ENV/bin/pip install torch torchvision torchxrayvision timm   (ENV: a scratch folder)
Run:      ENV/bin/python tests/golden/checkpoints.py               tiny networks, into tests/golden/checkpoints
          ENV/bin/python tests/golden/checkpoints.py --full FOLDER  DenseNet-121 (and 169, 201, 161), elsewhere

Random weights and random statistics. `expected.json` has the images' shape, for every file the network it is for
and its logits in float64, and the images are in `images.safetensors`: [0,1], RGB. TorchXRayVision's networks get
the mean of the channels in its own range, (2x - 1) * 1024.
"""
import argparse, collections, json, pathlib, re
import timm, torch, torchvision, torchxrayvision
from safetensors.torch import save_file

parser = argparse.ArgumentParser()
parser.add_argument("--full", type=pathlib.Path)
full = parser.parse_args().full
folder = full or pathlib.Path(__file__).parent / "checkpoints"
folder.mkdir(parents=True, exist_ok=True)
TINY = dict(growth_rate=4, block_config=(2, 1), num_init_features=6, bn_size=2)
SIZES = {
    "densenet121": dict(growth_rate=32, block_config=(6, 12, 24, 16), num_init_features=64, bn_size=4),
    "densenet169": dict(growth_rate=32, block_config=(6, 12, 32, 32), num_init_features=64, bn_size=4),
    "densenet201": dict(growth_rate=32, block_config=(6, 12, 48, 32), num_init_features=64, bn_size=4),
    "densenet161": dict(growth_rate=48, block_config=(6, 12, 36, 24), num_init_features=96, bn_size=4),
}
shape = SIZES["densenet121"] if full else TINY
torch.manual_seed(0)
images = torch.rand(2, 3, 64, 64) if full else torch.rand(2, 3, 19, 23)
save_file({"images": images}, folder / "images.safetensors")
expected = {}


def randomize(net):
    """Statistics of a network that has seen data: its own, moved a little at random."""
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(std=0.3)
                module.running_mean.normal_(std=0.3)
                module.running_var.uniform_(0.5, 2.0)
                module.num_batches_tracked.fill_(7)
            if isinstance(module, torch.nn.Linear):
                module.bias.normal_()
    return net.eval()


def record(name, net, config, channels=3, images=images, **more):
    classes = list(net.state_dict().values())[-1].shape[0] if "classes" not in more else more.pop("classes")
    with torch.no_grad():
        logits = net.double()(images.double()).tolist()
    net.float()
    config = {key: list(value) if isinstance(value, tuple) else value for key, value in config.items()}
    expected[name] = {"config": config | {"num_classes": classes, "in_channels": channels}, "logits": logits} | more


def old_names(state):
    """As in torchvision's published files."""
    name = lambda name: re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", name)
    return {name(key): value for key, value in state.items() if not key.endswith("num_batches_tracked")}


LEGACY = dict(_use_new_zipfile_serialization=False)
net = randomize(torchvision.models.DenseNet(**shape, num_classes=3))
state = net.state_dict()
record("torchvision.pth", net, shape)
torch.save(state, folder / "torchvision.pth")
for name, value, options in [
    ("torchvision_legacy.pth", state, LEGACY),
    ("torchvision_old_names.pth", old_names(state), {}),
    ("torchvision_old_names_legacy.pth", old_names(state), LEGACY),
    ("torchvision_protocol4.pth", state, dict(pickle_protocol=4)),
]:
    torch.save(value, folder / name, **options)
    expected[name] = expected["torchvision.pth"]
save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / "torchvision.safetensors")
expected["torchvision.safetensors"] = expected["torchvision.pth"]

# timm's DenseNet takes neither the first convolution's width nor the bottleneck's: two and four growth rates.
config = shape | dict(num_init_features=2 * shape["growth_rate"], bn_size=4)
net = randomize(timm.models.densenet.DenseNet(growth_rate=config["growth_rate"], block_config=config["block_config"], num_classes=3))
record("timm.safetensors", net, config)
save_file({name: tensor.contiguous() for name, tensor in net.state_dict().items()}, folder / "timm.safetensors")

# Whole modules of the real class, with what TorchXRayVision sets on them after training.
net = randomize(torchxrayvision.models.DenseNet(**shape, num_classes=18))
grey = (2 * images.mean(1, keepdim=True) - 1) * 1024
record("xrv.pt", net, shape, channels=1, images=grey, classes=18)
net.op_threshs, net.apply_sigmoid = torch.rand(18), True
net.targets = net.pathologies = torchxrayvision.datasets.default_pathologies
torch.save(net, folder / "xrv.pt")
torch.save(net, folder / "xrv_legacy.pt", **LEGACY)
expected["xrv_legacy.pt"] = expected["xrv.pt"]

# CheXNet's wrapper, as in arnoweng/CheXNet (model.py).
class DenseNet121(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.densenet121 = torchvision.models.DenseNet(**shape, num_classes=14)
        features = self.densenet121.classifier.in_features
        self.densenet121.classifier = torch.nn.Sequential(torch.nn.Linear(features, 14), torch.nn.Sigmoid())


wrapper = randomize(DenseNet121())
net = torchvision.models.DenseNet(**shape, num_classes=14).eval()
plain = {re.sub(r"^densenet121\.(classifier\.0\.)?", lambda m: "classifier." if m[1] else "", name): tensor
         for name, tensor in wrapper.state_dict().items()}
net.load_state_dict(plain)
record("chexnet.pth.tar", net, shape, classes=14)
optimizer = torch.optim.Adam(wrapper.parameters(), lr=1e-3)
checkpoint = dict(epoch=7, best_loss=0.25, state_dict=old_names(torch.nn.DataParallel(wrapper).state_dict()))
torch.save(checkpoint | dict(optimizer=optimizer.state_dict()), folder / "chexnet.pth.tar", **LEGACY)

if full:
    for name, config in SIZES.items():
        net = randomize(torchvision.models.DenseNet(**config, num_classes=1000))
        record(f"{name}.pth", net, config)
        torch.save(old_names(net.state_dict()), folder / f"{name}.pth", **LEGACY)
else:
    net = randomize(torchvision.models.DenseNet(**shape, num_classes=3))
    record("training_model.pth", net, shape)
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.0)
    optimizer.step()
    beside = dict(epoch=3, losses=[0.5, 0.25], optimizer=optimizer.state_dict(), args=argparse.Namespace(lr=0.1),
                  history=collections.defaultdict(list), seen={1, 2}, when=pathlib.PurePosixPath("runs/1"), device=torch.device("cpu"))
    prefixed = lambda prefix: {prefix + name: tensor for name, tensor in net.state_dict().items()}
    torch.save(beside | dict(model=prefixed("backbone.")), folder / "training_model.pth")
    torch.save(beside | dict(model_state_dict=prefixed("module.model.")), folder / "training_model_state_dict.pth")
    torch.save(beside | dict(net=net), folder / "training_net.pth", **LEGACY)
    # Tensors that share one storage, lie in it with gaps, or the other way round.
    flat = torch.cat([tensor.flatten() for tensor in net.state_dict().values() if tensor.is_floating_point()])
    tied, start = {}, 0
    for name, tensor in net.state_dict().items():
        if tensor.is_floating_point():
            tied[name], start = flat[start : start + tensor.numel()].view(tensor.shape), start + tensor.numel()
    tied["classifier.weight"] = tied["classifier.weight"].T.contiguous().T
    tied["features.conv0.weight"] = tied["features.conv0.weight"].repeat_interleave(2, 3)[..., ::2]
    torch.save(tied, folder / "views.pth")
    for name in ["training_model_state_dict.pth", "training_net.pth", "views.pth"]:
        expected[name] = expected["training_model.pth"]
    for dtype in ["float64", "float16", "bfloat16"]:
        cast = {name: tensor.to(getattr(torch, dtype)) if tensor.is_floating_point() else tensor for name, tensor in net.state_dict().items()}
        torch.save(cast, folder / f"{dtype}.pth")
        rounded = torchvision.models.DenseNet(**shape, num_classes=3).eval()
        rounded.load_state_dict(cast)
        record(f"{dtype}.pth", rounded, shape)
    save_file({name: tensor.contiguous() for name, tensor in cast.items()}, folder / "bfloat16.safetensors")
    expected["bfloat16.safetensors"] = expected["bfloat16.pth"]

(folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
