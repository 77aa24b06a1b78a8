#!/usr/bin/env python3
"""The network of checkpoints/torchvision.pth in forms that training scripts leave behind, and files that are none.

Install:  python3 -m venv ENV && ENV/bin/pip install torch torchvision safetensors   (ENV: a scratch folder; last run
          with torch 2.15.0, torchvision 0.29.2, safetensors 0.8.0)
Run:      ENV/bin/python tests/golden/checkpoint_forms.py   (after checkpoints.py; writes tests/golden/checkpoint_forms)

Every file from which a state dict is to come is read back by torch.load, and its logits are compared with those in
checkpoints/expected.json. `ema.pth` has the network as the average, and halved weights beside it.
"""
import enum, functools, io, json, pathlib, sys, zipfile
import torch, torchvision
from safetensors.torch import load_file, save_file

here = pathlib.Path(__file__).parent
folder = here / "checkpoint_forms"
folder.mkdir(exist_ok=True)
expected = json.loads((here / "checkpoints" / "expected.json").read_text())["torchvision.pth"]
images = load_file(here / "checkpoints" / "images.safetensors")["images"]
state = torch.load(here / "checkpoints" / "torchvision.pth")
LEGACY = dict(_use_new_zipfile_serialization=False)


def check(state):
    names = ["growth_rate", "num_init_features", "bn_size", "num_classes"]
    config = expected["config"]
    net = torchvision.models.DenseNet(block_config=tuple(config["block_config"]), **{name: config[name] for name in names})
    net.load_state_dict(state)
    with torch.no_grad():
        found = net.double().eval()(images.double())
    assert torch.allclose(found, torch.tensor(expected["logits"], dtype=torch.double), atol=1e-9)


def write(name, value, inner=lambda value: value, trusted=True, **options):
    torch.save(value, folder / name, **options)
    check(inner(torch.load(folder / name, weights_only=trusted)))


class Mode(enum.Enum):
    FAST = 1


below = lambda prefix, state=state: {prefix + name: tensor for name, tensor in state.items()}
without = lambda prefix, state: {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}

# weights_only knows no protocol before 2.
write("protocol1.pth", state, trusted=False, pickle_protocol=1)
write("protocol1_legacy.pth", state, trusted=False, pickle_protocol=1, **LEGACY)
write("called.pth", dict(mode=Mode.FAST, activation=functools.partial(torch.relu), state_dict=state),
      lambda value: value["state_dict"], trusted=False)
write("lightning.ckpt", {"epoch": 3, "best": torch.tensor(0.5), "state_dict": below("model.") | {"criterion.weight": torch.ones(3)},
                         "hyper_parameters": {"lr": 0.1}},
      lambda value: without("model.", value["state_dict"]))
head = {name.replace("classifier.", "classifier.1."): tensor for name, tensor in state.items()}
write("dropout_head.pth", head, lambda value: {name.replace("classifier.1.", "classifier."): t for name, t in value.items()})
write("sequential.pth", {"0.mean": torch.zeros(3), "0.std": torch.ones(3)} | below("1."), lambda value: without("1.", value))
write("same_twice.pth", dict(model=state, net=state), lambda value: value["net"])

# Stored files are deflated one by one, as repacking with another zip program does it.
with zipfile.ZipFile(here / "checkpoints" / "torchvision.pth") as stored:
    with zipfile.ZipFile(folder / "deflated.pth", "w", zipfile.ZIP_DEFLATED) as deflated:
        for entry in stored.infolist():
            deflated.writestr(zipfile.ZipInfo(entry.filename), stored.read(entry), zipfile.ZIP_DEFLATED)
check(torch.load(folder / "deflated.pth"))

zeros = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
torch.save(below("encoder.") | below("backbone.", zeros), folder / "two.pth")
halved = {name: tensor / 2 if tensor.is_floating_point() else tensor for name, tensor in state.items()}
torch.save(dict(state_dict=halved, state_dict_ema=state), folder / "ema.pth")
for value in [float("nan"), float("-inf")]:
    bad = {name: tensor.clone() for name, tensor in state.items()}
    bad["features.norm0.running_var"][2] = value
    bad["features.norm0.running_var"][4] = value
    torch.save(bad, folder / f"{value}.pth")
torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), folder / "torchscript.pt")

shards = folder / "sharded"
shards.mkdir(exist_ok=True)
names, index = sorted(state), {}
for part, chosen in enumerate([names[::2], names[1::2]], 1):
    file = f"model-0000{part}-of-00002.safetensors"
    save_file({name: state[name].contiguous() for name in chosen}, shards / file)
    index |= {name: file for name in chosen}
total = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
text = json.dumps({"metadata": {"total_size": total}, "weight_map": index}, indent=1)
(shards / "model.safetensors.index.json").write_text(text + "\n")
check({name: load_file(shards / file)[name] for name, file in index.items()})
