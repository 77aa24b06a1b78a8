#!/usr/bin/env python3
"""A battery in parts, as tasks of HyperQueue, and a task that puts them together once all are done.

    pip install hyperqueue
    cargo build --release --example battery
    examples/shards/with_hyperqueue.py COUNT [--local] -- BATTERY-ARGUMENTS...

It submits to the server whose folder is in HQ_SERVER_DIR (`hq server start --server-dir ...` and `hq worker start`, or
HyperQueue's allocation within Slurm or PBS); with --local it starts a server and workers here for as long as it takes. All
workers have to see the program, the data and --out under the same path. Where a worker is lost, HyperQueue starts its
task again, and the part goes on where it was. CPUS is the number of processors of each part (1), BATTERY the program.
"""

import argparse
import os
import sys
from contextlib import ExitStack
from pathlib import Path

from hyperqueue import Client, Job, LocalCluster
from hyperqueue.cluster import WorkerConfig
from hyperqueue.ffi.protocol import ResourceRequest

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("count", type=int, help="how many parts")
parser.add_argument("--local", action="store_true", help="start a server and workers here")
parser.add_argument("battery", nargs="+", help="the battery's arguments, after --")
options = parser.parse_args()
if options.count < 1:
    parser.error(f"count: expected at least 1, found {options.count}")
program = Path(os.environ.get("BATTERY", "target/release/examples/battery")).resolve()
if not os.access(program, os.X_OK):
    sys.exit(f"{program}: expected the battery, found no program: cargo build --release --example battery")
server = os.environ.get("HQ_SERVER_DIR")
if not options.local and server is None:
    sys.exit("HQ_SERVER_DIR: expected the folder of a running server (or --local), found none")

cpus = int(os.environ.get("CPUS", "1"))
settings = {
    "env": {"RAYON_NUM_THREADS": str(cpus)},
    "resources": ResourceRequest(cpus=cpus),
    "cwd": os.getcwd(),
    # A worker that is lost takes nothing with it that the next one would not take up again.
    "crash_limit": 100,
}
command = [str(program), *options.battery]
job = Job(max_fails=options.count)
parts = [
    job.program([*command, "--shard", f"auto/{options.count}"], name=f"shard {index}", **settings)
    for index in range(options.count)
]
job.program(command, name="whole", deps=parts, **settings)

with ExitStack() as stack:
    if options.local:
        cluster = stack.enter_context(LocalCluster())
        for _ in range(max(1, (os.cpu_count() or 1) // cpus)):
            cluster.start_worker(WorkerConfig(cores=cpus))
        client = cluster.client()
    else:
        client = Client(server)
    client.wait_for_jobs([client.submit(job)])
