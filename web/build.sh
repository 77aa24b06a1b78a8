#!/usr/bin/env bash
# Builds the page into a folder of static files: `web/build.sh [--threads] [FOLDER]`, web/dist without one.
# Needs the target (rustup target add wasm32-unknown-unknown) and wasm-bindgen (cargo install wasm-bindgen-cli
# --version 0.2.130). binaryen's wasm-opt makes nothing smaller once it is compressed.
# --threads adds a module with threads, for which the standard library is compiled anew: that needs nightly Rust with
# its sources (rustup toolchain install nightly --component rust-src), or RUSTC_BOOTSTRAP=1 and a toolchain with them.
set -euo pipefail
cd "$(dirname "$0")"
# The page takes the first that the browser can run; `plain` is without vectors, for old ones.
kinds=(simd plain)
if [ "${1:-}" = --threads ]; then
  kinds=(threads "${kinds[@]}")
  shift
fi
out=$(realpath -m "${1:-dist}")
version=$(sed -n 's/^wasm-bindgen = "=\(.*\)"$/\1/p' Cargo.toml)
target=${CARGO_TARGET_DIR:-target}
nightly=+nightly
if [ -n "${RUSTC_BOOTSTRAP:-}" ]; then nightly=; fi

found=$(wasm-bindgen --version 2>/dev/null) || found=none
if [ "$found" != "wasm-bindgen $version" ]; then
  echo "wasm-bindgen: expected version $version, found $found; cargo install wasm-bindgen-cli --version $version" >&2
  exit 1
fi
if [ "${kinds[0]}" = threads ]; then
  found=$(rustc $nightly --print sysroot 2>/dev/null) || found=none
  if [ ! -e "$found/lib/rustlib/src/rust/library/Cargo.lock" ]; then
    echo "--threads: expected nightly Rust with the standard library's sources, found none (sysroot: $found);" \
      "rustup toolchain install nightly --component rust-src" >&2
    exit 1
  fi
fi

if [ -e "$out" ] && [ ! -e "$out/offline.js" ]; then
  echo "$out: expected a new folder or an earlier page, found something else" >&2
  exit 1
fi
rm -rf "$out.new"
mkdir -p "$out.new"
trap 'rm -rf "$out.new"' EXIT
cp page/* "$out.new"
for kind in "${kinds[@]}"; do
  toolchain=
  options=()
  flags='--cfg getrandom_backend="wasm_js"'
  if [ $kind != plain ]; then flags="$flags -C target-feature=+simd128"; fi
  if [ $kind = threads ]; then
    toolchain=$nightly
    options=(-Z "build-std=std,panic_abort")
    flags="$flags,+atomics,+bulk-memory,+mutable-globals"
    for argument in --shared-memory --import-memory --max-memory=4294967296 --export=__wasm_init_tls \
      --export=__tls_size --export=__tls_align --export=__tls_base; do
      flags="$flags -C link-arg=$argument"
    done
  fi
  RUSTFLAGS=$flags cargo $toolchain build "${options[@]}" --profile wasm --target wasm32-unknown-unknown --lib
  wasm-bindgen --target web --no-typescript --remove-name-section --remove-producers-section \
    --out-dir "$out.new/$kind" "$target/wasm32-unknown-unknown/wasm/histoguard_web.wasm"
done

cd "$out.new"
if [ "${kinds[0]}" != threads ]; then rm thread.js; fi
sed -i "s|__KINDS__|[$(printf '"%s", ' "${kinds[@]}" | sed 's/, $//')]|" laboratory.js offline.js
# What works offline is kept under the digest of all of it, so that a changed page replaces the old one.
files=$(find . -type f ! -name offline.js -printf '"%P", ' | LC_ALL=C sort)
digest=$(find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -c1-16)
sed -i "s|__FILES__|[\"./\", ${files%, }]|; s|__DIGEST__|$digest|" offline.js
cd ..
rm -rf "$out"
mv "$out.new" "$out"
for kind in "${kinds[@]}"; do
  bytes=$(cat "$out/$kind"/*.wasm "$out/$kind"/*.js | wc -c)
  packed=$(cat "$out/$kind"/*.wasm "$out/$kind"/*.js "$out"/*.{html,css,js} | gzip -9 | wc -c)
  echo "$kind: $bytes bytes, $packed with the page and compressed by gzip"
done
echo "$out: serve it with any static server, such as python3 -m http.server --directory $out"
