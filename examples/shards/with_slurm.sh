#!/usr/bin/env bash
# A battery in parts, as a Slurm array, and a job that puts them together once all are done.
#
#   cargo build --release --example battery
#   examples/shards/with_slurm.sh COUNT BATTERY-ARGUMENTS...
#   examples/shards/with_slurm.sh 8 model.safetensors --data BreaKHis_v1 --attacks all --queries 500 --out out
#
# CPUS is the number of processors of each part (1), BATTERY the program (target/release/examples/battery); partition,
# account and time limit are sbatch's own variables, such as SBATCH_PARTITION. All nodes have to see the program, the data
# and --out under the same path. A part that was stopped, requeued or submitted again goes on where it was.
set -euo pipefail
usage="usage: with_slurm.sh COUNT BATTERY-ARGUMENTS..., with a COUNT of at least 1"
[[ ${1:-} =~ ^[1-9][0-9]*$ && $# -ge 2 ]] || { echo "$usage" >&2; exit 2; }
count=$1; shift
battery=$(realpath "${BATTERY:-target/release/examples/battery}")
[[ -x $battery ]] || { echo "$battery: expected the battery, found no program: cargo build --release --example battery" >&2; exit 2; }
cpus=${CPUS:-1}
command=$(printf '%q ' env "RAYON_NUM_THREADS=$cpus" "$battery" "$@")
common=(--parsable --requeue --open-mode=append --cpus-per-task="$cpus")
parts=$(sbatch "${common[@]}" --job-name=shards --array="0-$((count - 1))" --output=slurm-%A_%a.out \
  --wrap="exec $command --shard auto/$count")
whole=$(sbatch "${common[@]}" --job-name=whole --dependency="afterok:$parts" --output=slurm-%j.out --wrap="exec $command")
echo "parts in job $parts, put together in job $whole"
