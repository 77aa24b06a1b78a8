#!/usr/bin/env bash
# Parity and speed on an NVIDIA GPU, in under ten minutes once the programs are built; the same command goes on where it
# ended. It has not been run on a GPU yet.
#
#     benches/cuda.sh OUT        # writes OUT/parity_*.md and .json, OUT/compare.jsonl and OUT/compare.md
#
# PARITY and THROUGHPUT take programs that were built elsewhere with the features `flex,cuda` and `cuda`, since building
# with `cuda` needs a network; PYTHON is one that has torch and torchvision; SECONDS_IN_ALL (570) is the time for everything.
# The exit code is 3 if the GPU computes something else than the CPU.
set -euo pipefail
[ $# -eq 1 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
out=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}

"$python" - <<'PYTHON'
import sys
try:
    import torch, torchvision
except ImportError as error:
    sys.exit(f"error: expected a Python with torch and torchvision (PYTHON=path), found: {error}")
if not torch.cuda.is_available():
    sys.exit(f"error: expected an NVIDIA GPU that PyTorch can use, found none (torch {torch.__version__})")
PYTHON

if [ -z "${PARITY:-}" ]; then
    cargo build --release --no-default-features --features flex,cuda --example parity
    PARITY=${CARGO_TARGET_DIR:-target}/release/examples/parity
fi
begun=$SECONDS
left() { echo $((${SECONDS_IN_ALL:-570} - (SECONDS - begun))); }

code=0
parity() {
    local name=$1 found=0
    shift
    if [ ! -e "$out/parity_$name.json" ]; then
        timeout 150 "$PARITY" --device cuda --json "$out/parity_$name.json" "$@" >"$out/parity_$name.md" || found=$?
    elif grep -q '"passed": false' "$out/parity_$name.json"; then
        found=3
    fi
    [ "$found" -eq 0 ] || { echo "parity of $name: exit code $found" >&2; code=$found; }
    cat "$out/parity_$name.md"
}
parity small
parity densenet121 --network densenet121 --image-size 224 --cases "forward,gradient,sgd step,fgsm,pgd"

# What takes PyTorch a compilation for each operation comes last.
ours=(--ours "ours=${THROUGHPUT:-}")
[ -n "${THROUGHPUT:-}" ] || ours=()
compare() {
    local seconds
    seconds=$(left)
    [ "$seconds" -gt 30 ] || { echo "no time left for $*: the same command goes on" >&2; return; }
    "$python" benches/compare.py --cuda --rounds 1 --runs 3 --limit 60 --budget $((seconds - 30)) \
        --append "$out/compare.jsonl" "${ours[@]}" "$@" >/dev/null
}
compare --variants ours float32 "float32, channels-last" "tf32, channels-last" "bf16, channels-last"
compare --batch 32 --variants "float32, compiled" "tf32, compiled" "bf16, compiled"
compare --variants "float32, compiled" "tf32, compiled" "bf16, compiled"
[ -e "$out/compare.jsonl" ] && "$python" benches/compare.py --cuda --table "$out/compare.jsonl" | tee "$out/compare.md"
exit "$code"
