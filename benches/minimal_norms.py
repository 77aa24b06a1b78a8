"""All minimal-norm attacks of this crate on a real checkpoint, beside adv-lib's, foolbox's and torchattacks': the sizes of what
they find against the gradients that they spend.

    pip install torch torchvision safetensors adv-lib foolbox torchattacks    # in a virtual environment, whose python runs this
    python benches/minimal_norms.py work --checkpoint original.pth --data BreaKHis_v1     # everything, then the Markdown tables
    python benches/minimal_norms.py work --norms l2 --attacks fmn ddn --steps 30          # a part; what is in `work` is kept
    python benches/minimal_norms.py work --table

Last run with torch 2.15.0, torchvision 0.29.2, adv-lib 0.2.8, foolbox 3.3.4, torchattacks 3.5.1.

The crate's program (`minimal_norms.rs`) prepares the images, chooses those that the network is right about, evenly over
the data and half of each class, and writes them beside the weights: all attack the same pixels and numbers, as one batch.
Attacks have the same steps in all libraries, and otherwise their own defaults. Those that try several constants c try
`--searches` of `--search-steps` steps from c = 0.1 on, by default as many steps in all as the others have, and none ends
early (torchattacks' C&W tries c = 1 alone, and does end early); C&W in L-infinity has a learning rate of 0.01 and a factor of 0.8 for its bound, and goes on until it
is done. DDN is asked for images between the 256 levels, as foolbox's are, and on them, which foolbox's cannot be.
Left out are torchattacks' FAB in L1, which fails, and its JSMA, which holds several tables of all pairs of values, of 604 MB
each at 64x64.

What is found is judged by the network in double precision: `fallen` counts the images within [0,1] that it is wrong about;
all others have an infinite norm, which medians count and means leave out. `gradients` are backward passes an image, and
`queries` forward and backward passes, both as AttackBench counts them: at the network, for all libraries alike.
`optimality` is AttackBench's local optimality (Cinà et al., AttackBench: Evaluating Gradient-based Attacks for
Adversarial Examples, AAAI 2025): with rho the share of images that are right within epsilon, and rho* that under the best of all attacks
here for each image, 1 less the area between the two over that between rho* and no attack at all, up to the epsilon e at
which rho* is zero: 1 for an attack that is best on every image. The areas are exact, those of steps (AttackBench's code takes
trapezia), so that it is (e - mean(min(d, e))) / (e - mean(d*)).
"""

import argparse
import contextlib
import importlib.metadata
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import time
import types
import warnings

HERE = pathlib.Path(__file__).resolve().parent
OURS, LIBRARIES = "histoguard", ["adv-lib", "foolbox", "torchattacks"]
ORDERS = {"linf": math.inf, "l2": 2, "l1": 1, "l0": 0}
TITLES = {"linf": "L∞", "l2": "L2", "l1": "L1", "l0": "L0"}
NAMES = {
    "fmn": "FMN",
    "deepfool": "DeepFool",
    "fab": "FAB",
    "fgsm": "FGSM, smallest step",
    "ddn": "DDN",
    "ddn on 256 levels": "DDN, 256 levels",
    "cw": "C&W",
    "ead": "EAD, L1",
    "sigma-zero": "σ-zero",
    "lbfgs": "L-BFGS",
    "jsma": "JSMA",
}
# Of each norm, with the libraries that have them beside this crate.
ATTACKS = {
    "linf": {"fmn": ["adv-lib", "foolbox"], "deepfool": ["adv-lib", "foolbox"], "fab": ["adv-lib", "torchattacks"], "cw": ["adv-lib"], "fgsm": []},
    "l2": {
        "fmn": ["adv-lib", "foolbox"],
        "ddn": ["adv-lib", "foolbox"],
        "ddn on 256 levels": ["adv-lib"],
        "deepfool": ["adv-lib", "foolbox", "torchattacks"],
        "fab": ["adv-lib", "torchattacks"],
        "cw": ["adv-lib", "foolbox", "torchattacks"],
        "lbfgs": [],
        "fgsm": [],
    },
    "l1": {"fmn": ["adv-lib", "foolbox"], "fab": ["adv-lib"], "ead": ["foolbox", "torchattacks"], "fgsm": []},
    "l0": {"fmn": ["adv-lib", "foolbox"], "sigma-zero": ["adv-lib"], "jsma": []},
}
# Those whose number of steps is given.
STEPPED = ["fmn", "ddn", "ddn on 256 levels", "fab", "sigma-zero"]


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=pathlib.Path, help="folder of weights, images and results")
    parser.add_argument("--checkpoint", help="of a DenseNet-121 of two classes; needed the first time")
    parser.add_argument("--data", help="the BreakHis folder; needed the first time")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--steps", type=int, nargs="+", default=[100])
    parser.add_argument("--searches", type=int, default=4)
    parser.add_argument("--search-steps", type=int, default=25)
    parser.add_argument("--norms", nargs="+", choices=ATTACKS, default=list(ATTACKS))
    parser.add_argument("--attacks", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--libraries", nargs="+", choices=[OURS, *LIBRARIES], default=[OURS, *LIBRARIES])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--ours", help="a built minimal_norms program")
    parser.add_argument("--table", action="store_true", help="only print the tables of what has been run")
    return parser.parse_args()


def build():
    command = ["cargo", "bench", "--bench", "minimal_norms", "--no-run", "--message-format=json"]
    built = subprocess.run(command, cwd=HERE.parent, check=True, stdout=subprocess.PIPE, text=True).stdout
    messages = [json.loads(line) for line in built.splitlines()]
    return next(m["executable"] for m in messages if m.get("executable") and m["target"]["name"] == "minimal_norms")


def network(path):
    """torchvision's, which takes images in [0,1], and the passes through it, in images."""
    import torch
    import torchvision
    from safetensors.torch import load_file

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = torchvision.models.densenet121(num_classes=2)
            self.net.load_state_dict(load_file(path), strict=True)
            self.register_buffer("centre", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
            self.register_buffer("spread", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))
            self.eval().requires_grad_(False).to(memory_format=torch.channels_last)
            self.forwards = self.gradients = 0

        def forward(self, images):
            self.forwards += len(images)
            logits = self.net(((images - self.centre) / self.spread).contiguous(memory_format=torch.channels_last))
            if logits.requires_grad:
                logits.register_hook(self.count)
            return logits

        def count(self, gradient):
            self.gradients += len(gradient)

    return Network()


def peer(library, norm, attack, steps, args):
    """A function of a network, images and labels."""
    p, fixed = ORDERS[norm], {"initial_const": 0.1, "abort_early": False}
    if library == "adv-lib":
        # For its plots, which none of these makes.
        sys.modules.setdefault("visdom", types.ModuleType("visdom"))
        from adv_lib import attacks

        return {
            "fmn": lambda net, x, y: attacks.fmn(net, x, y, norm=p, steps=steps),
            "ddn": lambda net, x, y: attacks.ddn(net, x, y, steps=steps, levels=None),
            "ddn on 256 levels": lambda net, x, y: attacks.ddn(net, x, y, steps=steps),
            "deepfool": lambda net, x, y: attacks.df(net, x, y, steps=50, norm=p),
            "fab": lambda net, x, y: attacks.fab(net, x, y, norm=p, n_iter=steps),
            "sigma-zero": lambda net, x, y: attacks.sigma_zero(net, x, y, num_steps=steps),
            "cw": lambda net, x, y: attacks.carlini_wagner_l2(
                net, x, y, binary_search_steps=args.searches, max_iterations=args.search_steps, **fixed
            )
            if p == 2
            else attacks.carlini_wagner_linf(net, x, y, max_iterations=args.search_steps, decrease_factor=0.8, initial_const=0.1),
        }[attack]
    if library == "foolbox":
        import foolbox
        from foolbox import attacks

        fmn = {"linf": "LInf", "l2": "L2", "l1": "L1", "l0": "L0"}[norm]
        searched = dict(binary_search_steps=args.searches, steps=args.search_steps, **fixed)
        made = {
            "fmn": lambda: getattr(attacks, f"{fmn}FMNAttack")(steps=steps),
            "ddn": lambda: attacks.DDNAttack(steps=steps),
            "deepfool": lambda: (attacks.L2DeepFoolAttack if p == 2 else attacks.LinfDeepFoolAttack)(steps=50),
            "cw": lambda: attacks.L2CarliniWagnerAttack(**searched),
            "ead": lambda: attacks.EADAttack(decision_rule="L1", regularization=1e-3, **searched),
        }[attack]()
        return lambda net, x, y: made.run(
            foolbox.PyTorchModel(net, bounds=(0, 1), device="cpu"), x, foolbox.criteria.Misclassification(y)
        )
    import torchattacks

    made = {
        "deepfool": lambda net: torchattacks.DeepFool(net, steps=50),
        # Its bound is what it returns at most.
        "fab": lambda net: torchattacks.FAB(net, norm=norm.capitalize(), steps=steps, eps=1e9, n_classes=2),
        "cw": lambda net: torchattacks.CW(net, c=1, steps=args.searches * args.search_steps),
        "ead": lambda net: torchattacks.EADL1(
            net, binary_search_steps=args.searches, max_iterations=args.search_steps, **fixed
        ),
    }[attack]
    return lambda net, x, y: made(net)(x, y)


def run_peer(library, norm, attack, steps, args):
    import torch
    from safetensors.torch import load_file

    torch.manual_seed(0)
    data, net = load_file(args.work / "images.safetensors"), network(args.work / "net.safetensors")
    start = time.perf_counter()
    found = peer(library, norm, attack, steps, args)(net, data["images"].clone(), data["labels"].clone())
    spent = {"forwards": net.forwards, "gradients": net.gradients, "seconds": time.perf_counter() - start}
    return found.detach(), spent | {"version": importlib.metadata.version(library)}


def run_ours(norm, attack, steps, args):
    from safetensors.torch import load_file

    out = args.work / "found.safetensors"
    words = ["--steps", steps, "--searches", args.searches, "--search-steps", args.search_steps, "--out", out]
    command = [args.ours, "attack", args.work, norm, attack, *words]
    threads = {"RAYON_NUM_THREADS": str(args.threads)}
    said = subprocess.check_output([str(word) for word in command], text=True, env=os.environ | threads)
    return load_file(out)["images"], json.loads(said)


def sizes(norm, found, args):
    """The norm of each image's change; infinite where the network, in double precision, is right."""
    from safetensors.torch import load_file

    data, net = load_file(args.work / "images.safetensors"), network(args.work / "net.safetensors").double()
    # What is no image does not count, but for a rounding.
    inside = ((found >= -1e-6) & (found <= 1 + 1e-6)).flatten(1).all(1)
    found = found.clamp(0, 1)
    fallen = (net(found.double()).argmax(1) != data["labels"]) & inside
    change = (found.double() - data["images"].double()).flatten(1)
    # Images that are rebuilt from their changes differ by roundings, which are no changed values.
    lengths = (change.abs() > 1e-6).sum(1) if norm == "l0" else change.norm(ORDERS[norm], dim=1)
    return [length.item() if down else None for length, down in zip(lengths.double(), fallen)]


def record(args):
    import torch

    torch.set_num_threads(args.threads)
    args.work.mkdir(parents=True, exist_ok=True)
    args.ours = args.ours or build()
    if not (args.work / "images.safetensors").exists():
        if not args.checkpoint or not args.data:
            sys.exit(f"{args.work} has no images yet: --checkpoint and --data say which network and images")
        words = ["--checkpoint", args.checkpoint, "--data", args.data, "--size", args.size, "--images", args.images]
        subprocess.run([str(word) for word in [args.ours, "prepare", args.work, *words]], check=True)
    results = args.work / "results.jsonl"
    done = {key(entry) for entry in read(results)}
    for norm in args.norms:
        for attack, peers in ATTACKS[norm].items():
            for steps in args.steps if attack in STEPPED else [None]:
                for library in [OURS, *peers]:
                    entry = {"norm": norm, "attack": attack, "steps": steps, "library": library}
                    if attack not in args.attacks or library not in args.libraries or key(entry) in done:
                        continue
                    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        if library == OURS:
                            found, spent = run_ours(norm, attack, steps or 1, args)
                        else:
                            found, spent = run_peer(library, norm, attack, steps, args)
                        entry |= spent | {"sizes": sizes(norm, found, args), "threads": args.threads}
                    with results.open("a") as file:
                        file.write(json.dumps(entry) + "\n")
                    print(json.dumps(entry), flush=True)


def key(entry):
    return entry["norm"], entry["attack"], entry["steps"], entry["library"]


def read(results):
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def number(value):
    return "∞" if math.isinf(value) else f"{value:.4g}"


def judged(entries):
    """The same with infinite sizes for the images that did not fall, their optimality, and adv-lib's sizes beside ours."""
    rows = []
    for norm in ATTACKS:
        found = [entry for entry in entries if entry["norm"] == norm]
        found = [row | {"sizes": [math.inf if size is None else size for size in row["sizes"]]} for row in found]
        if not found:
            continue
        best = [min(sizes) for sizes in zip(*(row["sizes"] for row in found))]
        end = max(size for size in best if math.isfinite(size))
        room = end - statistics.fmean(min(size, end) for size in best)
        sizes = {key(row): row["sizes"] for row in found}
        rank = list(ATTACKS[norm]).index
        place = lambda row: (rank(row["attack"]), row["steps"] or 0, [OURS, *LIBRARIES].index(row["library"]))
        for row in sorted(found, key=place):
            area = statistics.fmean(min(size, end) for size in row["sizes"])
            reference = sizes.get((norm, row["attack"], row["steps"], "adv-lib")) if row["library"] == OURS else None
            rows.append(row | {"optimality": (end - area) / room, "reference": reference})
    return rows


def write(heads, rows):
    print(f"| {' | '.join(heads)} |\n|{' --- |' * len(heads)}")
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |")


def short(rows):
    """One row an attack, one column a library."""
    print("\nmedian norm (gradients an image, optimality; images that did not fall)\n")
    order = [OURS, *(name for name in LIBRARIES if any(row["library"] == name for row in rows))]
    attacks = {}
    for row in rows:
        failed = sum(math.isinf(size) for size in row["sizes"])
        cost = f"{row['gradients'] / len(row['sizes']):.3g}, {row['optimality']:.3f}"
        text = f"{number(statistics.median(row['sizes']))} ({cost}{f'; {failed}' if failed else ''})"
        attacks.setdefault((row["norm"], row["attack"], row["steps"]), {})[row["library"]] = text
    heads = ["norm", "attack", *order]
    cells = lambda found: [found.get(name, "") for name in order]
    name = lambda attack, steps: f"{NAMES[attack]}, {steps} steps" if steps else NAMES[attack]
    write(heads, ([TITLES[norm], name(attack, steps), *cells(found)] for (norm, attack, steps), found in attacks.items()))


def against(row):
    """Our median over adv-lib's, and how many of the images are within 1 %."""
    if not row["reference"]:
        return ""
    near = sum(math.isclose(a, b, rel_tol=0.01) for a, b in zip(row["sizes"], row["reference"]))
    medians = [statistics.median(sizes) for sizes in (row["sizes"], row["reference"])]
    ratio = "" if any(map(math.isinf, medians)) else f"{medians[0] / medians[1] - 1:+.2%}, "
    return f"{ratio}{near} of {len(row['sizes'])} within 1 %"


def full(rows):
    heads = "norm, attack, steps, library, fallen, median, mean, against adv-lib, gradients, queries, optimality"
    lines = []
    for row in rows:
        count, fallen = len(row["sizes"]), [size for size in row["sizes"] if math.isfinite(size)]
        lines.append([
            TITLES[row["norm"]],
            NAMES[row["attack"]],
            row["steps"] or "",
            row["library"],
            f"{len(fallen)} of {count}",
            number(statistics.median(row["sizes"])),
            number(statistics.fmean(fallen)) if fallen else "",
            against(row),
            f"{row['gradients'] / count:.4g}",
            f"{(row['forwards'] + row['gradients']) / count:.4g}",
            f"{row['optimality']:.3f}",
        ])
    write(heads.split(", "), lines)


def main():
    args = options()
    if not args.table:
        record(args)
    rows = judged(read(args.work / "results.jsonl"))
    full(rows)
    short(rows)


main()
