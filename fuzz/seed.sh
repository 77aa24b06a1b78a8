#!/usr/bin/env bash
# Fills the corpus with the golden checkpoints and the fuzzer's dictionary with a pickle's instructions.
#
#   cargo install cargo-fuzz && fuzz/seed.sh
#   RUSTC_BOOTSTRAP=1 cargo fuzz run load -- -dict=fuzz/pickle.dict -max_len=131072 -rss_limit_mb=2048 -timeout=2
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p corpus/load
for file in ../tests/golden/checkpoints/*.{pth,pt,tar,safetensors} ../tests/golden/densenet_tiny*.{pth,safetensors}; do
    cp "$file" "corpus/load/$(basename "$file")"
done
