#!/usr/bin/env bash
# Builds the page into a folder of static files: `web/build.sh [FOLDER]`, web/dist without one.
# Needs the target (rustup target add wasm32-unknown-unknown) and wasm-bindgen
# (cargo install wasm-bindgen-cli --version 0.2.130). binaryen's wasm-opt makes nothing smaller once it is compressed.
set -euo pipefail
cd "$(dirname "$0")"
out=$(realpath -m "${1:-dist}")
version=$(sed -n 's/^wasm-bindgen = "=\(.*\)"$/\1/p' Cargo.toml)
target=${CARGO_TARGET_DIR:-target}

found=$(wasm-bindgen --version 2>/dev/null) || found=none
if [ "$found" != "wasm-bindgen $version" ]; then
  echo "wasm-bindgen: expected version $version, found $found; cargo install wasm-bindgen-cli --version $version" >&2
  exit 1
fi

if [ -e "$out" ] && [ ! -e "$out/offline.js" ]; then
  echo "$out: expected a new folder or an earlier page, found something else" >&2
  exit 1
fi
rm -rf "$out.new"
mkdir -p "$out.new"
trap 'rm -rf "$out.new"' EXIT
cp page/* "$out.new"
# Without vectors for old browsers: the page takes what the browser can run.
for kind in simd plain; do
  flags='--cfg getrandom_backend="wasm_js"'
  if [ $kind = simd ]; then flags="$flags -C target-feature=+simd128"; fi
  RUSTFLAGS=$flags cargo build --profile wasm --target wasm32-unknown-unknown --lib
  wasm-bindgen --target web --no-typescript --remove-name-section --remove-producers-section \
    --out-dir "$out.new/$kind" "$target/wasm32-unknown-unknown/wasm/histoguard_web.wasm"
done

cd "$out.new"
# What works offline is kept under the digest of all of it, so that a changed page replaces the old one.
files=$(find . -type f ! -name offline.js -printf '"%P", ' | LC_ALL=C sort)
digest=$(find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -c1-16)
sed -i "s|__FILES__|[\"./\", ${files%, }]|; s|__DIGEST__|$digest|" offline.js
cd ..
rm -rf "$out"
mv "$out.new" "$out"
for kind in simd plain; do
  bytes=$(cat "$out/$kind"/*.wasm "$out/$kind"/*.js | wc -c)
  packed=$(cat "$out/$kind"/*.wasm "$out/$kind"/*.js "$out"/*.{html,css,js} | gzip -9 | wc -c)
  echo "$kind: $bytes bytes, $packed with the page and compressed by gzip"
done
echo "$out: serve it with any static server, such as python3 -m http.server --directory $out"
