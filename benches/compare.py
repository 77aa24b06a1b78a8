"""Compares this crate with PyTorch, in turns: A B C A B C ..., so that a change of the machine's mood meets all alike.

    pip install torch torchvision                    # in a virtual environment, whose python runs this
    python benches/compare.py                        # three rounds on the CPU, then the Markdown table
    python benches/compare.py --rounds 1 --variants ours pytorch --ops fgsm --append part.jsonl   # a part, to go on later
    python benches/compare.py --table part.jsonl     # the table of what has been measured so far
    python benches/compare.py --cuda                 # on an NVIDIA GPU; batch 32 and 256, PyTorch's precisions apart

Every measurement is the median of its own runs after one that warms up; the table shows the median over the rounds.
Peak memory comes from a process of its own for each operation. Programs are built before anything is measured; on
CUDA `--ours NAME=PATH` takes binaries that were built elsewhere.
"""

import argparse
import datetime
import importlib.metadata
import json
import pathlib
import platform
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
OPS = ["forward", "fgsm", "pgd10", "train"]
TITLES = {"forward": "forward", "fgsm": "FGSM", "pgd10": "PGD-10", "train": "training step"}
CPU = {"pytorch": [], "channels-last": ["--channels-last"]}
CUDA = {
    f"{precision}{', channels-last' if layout else ''}": ["--cuda", "--precision", precision, *layout]
    for precision in ["float32", "tf32", "bf16"]
    for layout in [[], ["--channels-last"]]
}
# Fusion is a feature of burn: a build with it, and one without.
CUDA_FEATURES = {"ours": "cuda", "ours, no fusion": "burn/cuda,burn/autotune"}


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, nargs="+")
    parser.add_argument("--ops", nargs="+", default=OPS, choices=OPS)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--variants", nargs="+", help="ours, and PyTorch's of the table; all by default")
    parser.add_argument("--ours", action="append", metavar="NAME=PATH", help="a built throughput program")
    parser.add_argument("--cuda", action="store_true")
    parser.add_argument("--no-memory", action="store_true", help="leave the peak memory out")
    parser.add_argument("--append", type=pathlib.Path, help="file of measurements to add to")
    parser.add_argument("--table", type=pathlib.Path, help="only print the table of this file")
    args = parser.parse_args()
    args.batch = args.batch or ([32, 256] if args.cuda else [1, 8, 32])
    return args


def build(features):
    """The throughput program, built with these features instead of the default ones if any are named."""
    command = ["cargo", "bench", "--bench", "throughput", "--no-run", "--message-format=json"]
    command += ["--no-default-features", "--features", features] if features else []
    built = subprocess.run(command, cwd=HERE.parent, check=True, stdout=subprocess.PIPE, text=True).stdout
    messages = [json.loads(line) for line in built.splitlines()]
    return next(m["executable"] for m in messages if m.get("executable") and m["target"]["name"] == "throughput")


def programs(args):
    """The command of each variant, in the order of their turns."""
    if args.ours:
        ours = dict(pair.split("=", 1) for pair in args.ours)
    else:
        ours = CUDA_FEATURES if args.cuda else {"ours": None}
        ours = {name: build(features) for name, features in ours.items() if not args.variants or name in args.variants}
    torch = {name: [sys.executable, str(HERE / "throughput_torch.py"), *extra] for name, extra in (CUDA if args.cuda else CPU).items()}
    found = {name: [path] for name, path in ours.items()} | torch
    unknown = set(args.variants or []) - set(found)
    if unknown:
        sys.exit(f"unknown variants {sorted(unknown)}; there are {list(found)}")
    return {name: command for name, command in found.items() if not args.variants or name in args.variants}


def measure(command, ops, batches, runs):
    words = ["--ops", *ops, "--batch", *map(str, batches), "--runs", str(runs)]
    lines = subprocess.run(command + words, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return [json.loads(line) for line in lines]


def machine():
    processor = platform.processor() or platform.machine()
    try:
        fields = dict(line.split(":", 1) for line in subprocess.check_output(["lscpu"], text=True).splitlines() if ":" in line)
        level = next((name for flag, name in [("avx512f", "AVX-512"), ("avx2", "AVX2")] if flag in fields.get("Flags", "")), "")
        processor = f"{fields['Model name'].strip()}, {fields['CPU(s)'].strip()} CPUs, {level}".rstrip(", ")
    except (OSError, subprocess.CalledProcessError, KeyError):
        pass
    versions = {name: importlib.metadata.version(name) for name in ["torch", "torchvision"]}
    rustc = subprocess.check_output(["rustc", "--version"], text=True).split()[1]
    return {"machine": processor, "rustc": rustc, **versions, "date": datetime.date.today().isoformat()}


def record(args):
    commands = programs(args)
    results = [{"about": machine()}]

    def note(entries):
        results.extend(entries)
        if args.append:
            with args.append.open("a") as file:
                file.writelines(json.dumps(entry) + "\n" for entry in entries)

    if args.append:
        args.append.open("a").write(json.dumps(results[0]) + "\n")
    for turn in range(args.rounds):
        for name, command in commands.items():
            print(f"round {turn + 1}: {name}", file=sys.stderr)
            found = measure(command, args.ops, args.batch, args.runs)
            note([{"variant": name, **entry} for entry in found if "op" in entry])
    if not args.no_memory and not args.cuda:
        for op in args.ops:
            for name, command in commands.items():
                peak = measure(command, [op], [max(args.batch)], 1)[-1]["peak_rss_mb"]
                note([{"variant": name, "memory_of": op, "batch": max(args.batch), "peak_rss_mb": peak}])
    return results


def table(results):
    about = [entry["about"] for entry in results if "about" in entry][-1]
    speeds, memory, devices = {}, {}, set()
    for entry in results:
        if "op" in entry:
            speeds.setdefault((entry["op"], entry["batch"]), {}).setdefault(entry["variant"], []).append(entry["images_per_second"])
            devices.update({entry["device"]} if "precision" in entry and entry["device"] != "cpu" else {})
        elif "memory_of" in entry:
            memory.setdefault((entry["memory_of"], entry["batch"]), {})[entry["variant"]] = entry["peak_rss_mb"]
    names = list(dict.fromkeys(name for row in speeds.values() for name in row))
    others = [name for name in names if name != "ours"]
    rounds = sorted({len(values) for row in speeds.values() for values in row.values()})
    place = "; ".join([about["machine"], *sorted(devices)])
    count = "-".join(map(str, sorted({rounds[0], rounds[-1]})))
    print(f"{place}; rustc {about['rustc']}, torch {about['torch']}, {about['date']};")
    print(f"images a second, median of rounds in turns: {count}\n")
    print(f"| | batch | {' | '.join(names)} | {' | '.join(f'ours / {name}' for name in others)} |")
    print(f"| --- | --- | {' | '.join(['---'] * (len(names) + len(others)))} |")
    order = lambda key: (OPS.index(key[0]), key[1])
    for key in sorted(speeds, key=order):
        median = {name: statistics.median(values) for name, values in speeds[key].items()}
        cells = [f"{median[name]:.3g}" if name in median else "" for name in names]
        cells += [f"{median['ours'] / median[name]:.2f}" if {"ours", name} <= median.keys() else "" for name in others]
        print(f"| {TITLES[key[0]]} | {key[1]} | {' | '.join(cells)} |")
    for key in sorted(memory, key=order):
        row = memory[key]
        cells = [f"{row[name]}" if name in row else "" for name in names]
        cells += [f"{row['ours'] / row[name]:.2f}" if {"ours", name} <= row.keys() else "" for name in others]
        print(f"| peak memory of {TITLES[key[0]]}, MB | {key[1]} | {' | '.join(cells)} |")


def main():
    args = options()
    if args.table:
        results = [json.loads(line) for line in args.table.read_text().splitlines()]
    else:
        results = record(args)
    table(results)


main()
