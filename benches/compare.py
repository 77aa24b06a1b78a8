"""Compares this crate with PyTorch, onnxruntime and OpenVINO, in turns: A B C ... A B C ..., so that a change of the
machine's mood meets all alike.

    pip install torch torchvision onnx onnxscript onnxruntime openvino    # in a virtual environment, whose python runs this
    python benches/compare.py                        # three rounds on the CPU, then the Markdown tables
    python benches/compare.py --rounds 1 --variants ours PyTorch --ops fgsm --append part.jsonl   # a part, to go on later
    python benches/compare.py --table part.jsonl     # the tables of what has been measured so far
    python benches/compare.py --level own            # without the comparison of AVX2 with AVX2
    python benches/compare.py --cuda                 # on an NVIDIA GPU, needs torch and torchvision; cuda.sh beside it is shorter

Last run with torch 2.15.0, torchvision 0.29.2, onnx 1.23.2, onnxscript 0.7.2, onnxruntime 1.32.0, openvino 2026.4.1.
torch.compile needs a C++ compiler.

A turn is one process: one operation at one batch size on one level, the median of its runs after one that warms up; on a
GPU, where starting takes longer than most measurements, all operations at one batch size. Each is printed as a line of JSON,
a failure too; the tables show the medians over the rounds. What the file of --append has is not measured again, --limit
ends what takes too long, and --budget the whole in time, to go on later with the same command. All use as many threads
as there are cores. On `avx2`, everything is held to AVX2, and what the peers say that they used is checked; of this crate
its kernels are held, burn's own operations (the optimizer, the last layer) are not. bf16 is measured where the processor
computes in it. Our program is built before anything is measured; `--ours NAME=PATH` takes one that was built elsewhere.
The limits, the compiled peers and the batches of 1 to 128 have not been run on a GPU yet.
"""

import argparse
import collections
import dataclasses
import datetime
import importlib.metadata
import json
import math
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
OPS = ["forward", "fgsm", "pgd10", "train"]
TITLES = {"forward": "forward", "fgsm": "FGSM", "pgd10": "PGD-10", "train": "training step"}
# What each peer reads; MKL's is PyTorch's too.
AVX2 = {
    "HISTOGUARD_SIMD": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}
LEVELS = {"own": {}, "avx2": AVX2}
TORCH, ONNX = "throughput_torch.py", "throughput_onnx.py"
# Kernels found by trying are faster and multiply in TF32: a build with them, and one without.
CUDA_FEATURES = {"ours": "cuda", "ours, autotune": "cuda,autotune"}


@dataclasses.dataclass(frozen=True)
class Peer:
    script: str
    words: list
    ops: tuple = tuple(OPS)
    levels: tuple = tuple(LEVELS)
    # Computes in less than float32.
    reduced: bool = False


CPU = {
    "PyTorch": Peer(TORCH, []),
    "channels-last": Peer(TORCH, ["--channels-last"]),
    "compiled": Peer(TORCH, ["--channels-last", "--compile"]),
    "onnxruntime": Peer(ONNX, ["--engine", "onnxruntime"], ("forward",), ("own",)),
    "OpenVINO": Peer(ONNX, ["--engine", "openvino"], ("forward",)),
    "PyTorch bf16": Peer(TORCH, ["--channels-last", "--precision", "bf16"], levels=("own",), reduced=True),
    "OpenVINO bf16": Peer(ONNX, ["--engine", "openvino", "--precision", "bf16"], ("forward",), ("own",), True),
}
FORMS = {"": [], ", channels-last": ["--channels-last"], ", compiled": ["--channels-last", "--compile"]}
CUDA = {
    precision + form: Peer(
        TORCH, ["--cuda", "--precision", precision, *words], levels=("own",), reduced=precision != "float32"
    )
    for precision in ["float32", "tf32", "bf16"]
    for form, words in FORMS.items()
}
# Our program with other words: evaluation in bf16.
HALF, HALF_OPS = "ours bf16", ("forward", "fgsm", "pgd10")
NOTES = {
    "own": "`channels-last`, `compiled` (torch.compile) and `PyTorch bf16` (autocast) are PyTorch with its channels last; "
    "onnxruntime and OpenVINO run forward only. `ours bf16` is ours in bf16.",
    "avx2": "onnxruntime has no setting that holds it to AVX2, and bf16 needs instructions past it: both are left out.",
    "cuda": "PyTorch in float32, with TF32 in its products, and under autocast to bf16; `compiled` is torch.compile, channels "
    "last.",
}


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, nargs="+")
    parser.add_argument("--ops", nargs="+", choices=OPS, help="all but pgd10 by default, on CUDA all")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--level", nargs="+", choices=LEVELS, help="instructions; `own avx2` by default, on CUDA `own`")
    parser.add_argument("--variants", nargs="+", help="ours, and the peers of the table; all by default")
    parser.add_argument("--ours", action="append", metavar="NAME=PATH", help="a built throughput program")
    parser.add_argument("--cuda", action="store_true")
    parser.add_argument("--limit", type=float, help="seconds of one measurement; on CUDA 90, else any number by default")
    parser.add_argument("--budget", type=float, default=math.inf, help="seconds of all measurements")
    parser.add_argument("--append", type=pathlib.Path, help="file of measurements to add to, and not to repeat")
    parser.add_argument("--table", type=pathlib.Path, help="only print the tables of this file")
    args = parser.parse_args()
    args.limit = args.limit if args.limit is not None else 90 if args.cuda else math.inf
    for name in ["limit", "budget"]:
        if not getattr(args, name) > 0:
            parser.error(f"--{name}: expected more than 0 seconds, found {getattr(args, name):g}")
    args.batch = args.batch or ([32, 1, 8, 128] if args.cuda else [1, 8, 32])
    args.ops = args.ops or [op for op in OPS if args.cuda or op != "pgd10"]
    args.level = args.level or (["own"] if args.cuda else list(LEVELS))
    return args


def processor():
    """Name, threads to use (one a core that this process may use), and the names of its instructions."""
    try:
        text = subprocess.check_output(["lscpu"], text=True)
        fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        name, flags = fields["Model name"].strip(), set(fields.get("Flags", "").split())
        rows = subprocess.check_output(["lscpu", "-p=CPU,CORE,SOCKET"], text=True).splitlines()
        rows = [row.split(",") for row in rows if not row.startswith("#")]
        cores = len({tuple(row[1:]) for row in rows if int(row[0]) in os.sched_getaffinity(0)})
    except (OSError, subprocess.CalledProcessError, KeyError, AttributeError):
        name, flags, cores = platform.processor() or platform.machine(), set(), os.cpu_count() or 1
    return name, cores, flags


def build(features):
    """The throughput program, built with these features instead of the default ones if any are named."""
    command = ["cargo", "bench", "--bench", "throughput", "--no-run", "--message-format=json"]
    command += ["--no-default-features", "--features", features] if features else []
    built = subprocess.run(command, cwd=HERE.parent, check=True, stdout=subprocess.PIPE, text=True).stdout
    messages = [json.loads(line) for line in built.splitlines()]
    return next(m["executable"] for m in messages if m.get("executable") and m["target"]["name"] == "throughput")


def chosen(args, flags):
    """Names of our programs and the peers to measure, in the order of their turns."""
    peers = CUDA if args.cuda else CPU
    ours = [pair.split("=", 1)[0] for pair in args.ours or []] or (list(CUDA_FEATURES) if args.cuda else ["ours"])
    if ours == ["ours"]:
        ours.append(HALF)
    unknown = set(args.variants or []) - set(ours) - set(peers)
    if unknown:
        sys.exit(f"unknown variants {sorted(unknown)}; there are {[*ours, *peers]}")
    if "avx2" in args.level and flags and "avx2" not in flags:
        sys.exit("this processor has no AVX2: --level own")
    named = args.variants or [*ours, *peers]
    peers = {name: peer for name, peer in peers.items() if name in named}
    if not args.cuda and not flags & {"avx512_bf16", "amx_bf16"}:
        print("no bf16 instructions in this processor: bf16 is left out", file=sys.stderr)
        peers = {name: peer for name, peer in peers.items() if not peer.reduced}
        ours = [name for name in ours if name != HALF]
    return [name for name in ours if name in named], peers


def packages(peers):
    """Versions of what the peers need, or the end with what is missing."""
    needed = {"torch", "torchvision"}
    if any(peer.script == ONNX for peer in peers.values()):
        needed |= {"onnx", "onnxscript", "onnxruntime", "openvino"}
    versions, missing = {}, []
    for name in sorted(needed):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        sys.exit(f"{sys.executable} lacks {' '.join(missing)}: pip install them, or choose others by --variants")
    return versions


def gpu():
    """Ends with what is missing where PyTorch has no GPU."""
    import torch

    if not torch.cuda.is_available():
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        sys.exit(f"--cuda: expected an NVIDIA GPU that PyTorch can use, found none (torch {torch.__version__}, {built})")


def told(command, environment, limit, end):
    """The lines of JSON that a program prints, and why it ended early: it is ended if it prints none for `limit` seconds,
    and at the time `end`."""
    entries, over = [], threading.Event()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)

        def stop():
            over.set()
            process.kill()

        line = "start"
        while line:
            timer = threading.Timer(min(limit, end - time.monotonic(), threading.TIMEOUT_MAX), stop)
            timer.start()
            line = process.stdout.readline()
            timer.cancel()
            if line.startswith("{"):
                entries.append(json.loads(line))
        code = process.wait()
        errors.seek(0)
        said = errors.read().strip().splitlines()
    if over.is_set():
        return entries, f"over {limit:g} s"
    return entries, (said or [f"exit code {code}"])[-1] if code else None


def measure(command, ops, batch, runs, level, threads, limit, end):
    """An entry for each operation. Those behind one that failed are measured by another process, until the time `end`."""
    threads = {name: str(threads) for name in ["RAYON_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"]}
    environment = {name: value for name, value in os.environ.items() if name not in AVX2} | LEVELS[level] | threads
    measured, left = [], list(ops)
    while left:
        words = ["--ops", *left, "--batch", str(batch), "--runs", str(runs)]
        entries, failed = told(command + words, environment, limit, end)
        about = {name: value for entry in entries if "op" not in entry for name, value in entry.items()}
        found = [entry | about for entry in entries if "op" in entry]
        if level == "avx2" and any("avx512" in entry.get("isa", "").lower() for entry in found):
            sys.exit(f"{command} was to keep to AVX2 and used {found[0]['isa']}")
        measured += found
        left = [op for op in left if op not in {entry["op"] for entry in found}]
        if time.monotonic() >= end:
            break
        if left:
            measured.append({"op": left.pop(0), "batch": batch, "failed": failed or "it said nothing"})
    return measured


def record(args):
    name, cores, flags = processor()
    ours, peers = chosen(args, flags)
    versions = packages(peers)
    if args.cuda:
        gpu()
    end = time.monotonic() + args.budget
    built = dict(pair.split("=", 1) for pair in args.ours or [])
    if HALF in ours:
        built["ours"] = built.get("ours") or build(None)
        built[HALF] = built["ours"]
    commands = {each: [built.get(each) or build(CUDA_FEATURES[each] if args.cuda else None)] for each in ours}
    if HALF in ours:
        commands[HALF].append("--bf16")
    widest = next((name for flag, name in [("avx512f", "AVX-512"), ("avx2", "AVX2")] if flag in flags), "no AVX2")
    rustc = subprocess.check_output(["rustc", "--version"], text=True).split()[1]
    about = {"machine": f"{name}, {cores} cores", "instructions": widest, "rustc": rustc, **versions}
    results = read(args.append) if args.append and args.append.exists() else []
    earlier = collections.Counter(
        (entry["variant"], entry["level"], entry["op"], entry["batch"]) for entry in results if "variant" in entry
    )

    def note(entry):
        line = json.dumps(entry)
        print(line, flush=True)
        results.append(entry)
        if args.append:
            with args.append.open("a") as file:
                file.write(line + "\n")

    note({"about": about | {"date": datetime.date.today().isoformat()}})
    with tempfile.TemporaryDirectory() as folder:
        model = str(pathlib.Path(folder) / "densenet121.onnx")
        if any(peer.script == ONNX for peer in peers.values()):
            command = [sys.executable, str(HERE / ONNX), "--export", model]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        for each, peer in peers.items():
            words = ["--threads", str(cores), *(["--model", model] if peer.script == ONNX else [])]
            commands[each] = [sys.executable, str(HERE / peer.script), *peer.words, *words]
        turns = [
            (ops, batch, level, each)
            for _ in range(args.rounds)
            for ops in ([args.ops] if args.cuda else [[op] for op in args.ops])
            for batch in args.batch
            for level in args.level
            for each in commands
            if runs(each, peers, ops, level)
        ]
        for number, (ops, batch, level, each) in enumerate(turns, 1):
            ops = [op for op in ops if not taken(earlier, (each, level, op, batch))]
            if not ops:
                continue
            if time.monotonic() >= end:
                print(f"{args.budget:g} s are over: {len(turns) - number + 1} turns are left", file=sys.stderr)
                break
            print(f"{number} of {len(turns)}: {', '.join(ops)}, batch {batch}, {level}, {each}", file=sys.stderr)
            for measured in measure(commands[each], ops, batch, args.runs, level, cores, args.limit, end):
                note({"variant": each, "level": level, **measured})
                if each not in peers and not args.cuda and "failed" in measured:
                    sys.exit(f"{each}: {measured['failed']}")
    return results


def runs(each, peers, ops, level):
    """Whether a program or peer has these operations on a level."""
    if each == HALF:
        return set(ops) <= set(HALF_OPS) and level == "own"
    return each not in peers or set(ops) <= set(peers[each].ops) and level in peers[each].levels


def taken(earlier, key):
    """Whether this was measured before, each time once."""
    earlier[key] -= 1
    return earlier[key] >= 0


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def best(row, names, ours="ours"):
    """Our rate over the highest of these, and whose that is."""
    found = {name: row[name] for name in names if name in row}
    if not found or ours not in row:
        return ""
    name = max(found, key=found.get)
    return f"{row[ours] / found[name]:.2f} ({name})"


def rows(entries, value):
    found = {}
    for entry in entries:
        row = found.setdefault((entry["op"], entry["batch"]), {})
        if value in entry:
            row.setdefault(entry["variant"], []).append(entry[value])
    order = sorted(found, key=lambda key: (OPS.index(key[0]), key[1]))
    return {key: {name: statistics.median(values) for name, values in found[key].items()} for key in order}


def table(results, level):
    about = [entry["about"] for entry in results if "about" in entry][-1]
    entries = [entry for entry in results if entry.get("level") == level]
    cuda = sorted({entry["device"] for entry in entries if "precision" in entry} - {"cpu"})
    peers = CUDA if cuda else CPU
    speeds, memory = rows(entries, "images_per_second"), {} if cuda else rows(entries, "peak_rss_mb")
    present = {entry["variant"] for entry in entries}
    names = sorted(present - set(peers)) + [name for name in peers if name in present]
    full = [name for name in names if name in peers and not peers[name].reduced]
    reduced = [name for name in names if name in peers and peers[name].reduced]
    failures = {entry["variant"]: entry["failed"] for entry in entries if "failed" in entry}
    failed = {((entry["op"], entry["batch"]), entry["variant"]) for entry in entries if "failed" in entry}
    counts = {}
    for entry in entries:
        key = entry["op"], entry["batch"], entry["variant"]
        counts[key] = counts.get(key, 0) + 1
    rounds = "-".join(map(str, sorted({min(counts.values()), max(counts.values())})))
    instructions = "everything held to AVX2" if level == "avx2" else f"{about['instructions']}, all as they come"
    versions = ", ".join(f"{name} {about[name]}" for name in ["torch", "onnxruntime", "openvino"] if name in about)
    print(f"\n{'; '.join([about['machine'], *cuda])}; {instructions}; rustc {about['rustc']}, {versions}, {about['date']};")
    print(f"images a second, median of rounds in turns: {rounds}\n")
    # Beside the peers' table, each of ours against those that compute in as little.
    lower = [name for name in ["ours", HALF] if reduced and name in present]
    heads = ["", "batch", *names, "against the best peer", *(f"{name} against the best below float32" for name in lower)]
    print(f"| {' | '.join(heads)} |\n| {' | '.join(['---'] * len(heads))} |")
    for key, row in speeds.items():
        missing = {name: "failed" for entry_key, name in failed if entry_key == key}
        cells = [f"{row[name]:.3g}" if name in row else missing.get(name, "") for name in names] + [best(row, full)]
        cells += [best(row, reduced, name) for name in lower]
        print(f"| {TITLES[key[0]]} | {key[1]} | {' | '.join(cells)} |")
    for key, row in memory.items():
        if key[1] == max(batch for _, batch in memory):
            cells = [f"{row[name]:.0f}" if name in row else "" for name in names] + [""] * (len(heads) - 2 - len(names))
            print(f"| peak memory of {TITLES[key[0]]}, MB | {key[1]} | {' | '.join(cells)} |")
    print(f"\n{NOTES['cuda' if cuda else level]}")
    for name, reason in failures.items():
        print(f"\n{name} failed: {reason}")


def main():
    args = options()
    if args.table:
        results = read(args.table)
    else:
        results = record(args)
    for level in LEVELS:
        if any(entry.get("level") == level for entry in results):
            table(results, level)


if __name__ == "__main__":
    main()
