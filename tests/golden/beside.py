#!/usr/bin/env python3
"""The network of checkpoints/torchvision.pth in files that hold more than it, or hold it in other ways.

Install:  python3 -m venv ENV && ENV/bin/pip install torch numpy   (ENV: a scratch folder; last run with torch 2.15)
Run:      ENV/bin/python tests/golden/beside.py      into tests/golden/beside

Every file is read again by torch.load, with weights_only where torch allows it, and compared with torchvision.pth.
"""
import argparse, enum, functools, io, pathlib, warnings, zipfile
import numpy, torch

warnings.filterwarnings("ignore")
here = pathlib.Path(__file__).parent
folder = here / "beside"
folder.mkdir(exist_ok=True)
state = torch.load(here / "checkpoints/torchvision.pth", weights_only=True)


class Phase(enum.Enum):
    FIT = 1


def write(name, value, names=lambda value: value, weights_only=True, **options):
    torch.save(value, folder / name, **options)
    again = names(torch.load(folder / name, weights_only=weights_only))
    assert again.keys() == state.keys() and all(torch.equal(again[key], state[key]) for key in state), name


def without(prefix):
    return lambda value: {key.removeprefix(prefix): tensor for key, tensor in value.items() if key.startswith(prefix)}


def prefixed(prefix, state=state):
    return {prefix + key: tensor for key, tensor in state.items()}


LEGACY = dict(_use_new_zipfile_serialization=False)
write("protocol3.pth", state, pickle_protocol=3)
for protocol in [1, 5]:  # torch.load reads these only without weights_only, and refuses protocol 0.
    write(f"protocol{protocol}.pth", state, weights_only=False, pickle_protocol=protocol)
write("protocol1_legacy.pth", state, weights_only=False, pickle_protocol=1, **LEGACY)
stored = io.BytesIO()
torch.save(state, stored)
with zipfile.ZipFile(stored) as old, zipfile.ZipFile(folder / "deflated.pth", "w", zipfile.ZIP_DEFLATED) as new:
    for entry in old.infolist():
        new.writestr(entry.filename, old.read(entry.filename))
again = torch.load(folder / "deflated.pth", weights_only=True)
assert all(torch.equal(again[key], state[key]) for key in state)

head = {key.replace("classifier.", "classifier.1."): tensor for key, tensor in state.items()}
write("sequential_head.pth", head, lambda value: {key.replace("classifier.1.", "classifier."): tensor for key, tensor in value.items()})
write("sequential.pth", {"0.mean": torch.zeros(3)} | prefixed("1."), without("1."))
lightning = {
    "epoch": 3, "state_dict": prefixed("model.") | {"criterion.weight": torch.ones(3)},
    "loss": torch.tensor(0.5), "hyper_parameters": argparse.Namespace(lr=0.1), "phase": Phase.FIT,
    "metric": numpy.float64(0.25), "loader": functools.partial(print, "x"), "spectrum": torch.zeros(2, dtype=torch.complex64),
}
write("lightning.ckpt", lightning, lambda value: without("model.")(value["state_dict"]), weights_only=False)
write("tied.pth", prefixed("encoder.") | prefixed("backbone."), without("encoder."))
other = {key: torch.zeros_like(tensor) for key, tensor in state.items()}
average = {"state_dict": prefixed("module.", other), "state_dict_ema": prefixed("module.")}
write("average.pth", average, lambda value: without("module.")(value["state_dict_ema"]))
