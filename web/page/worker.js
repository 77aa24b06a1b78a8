// Where the computation runs, so that the page stays alive.

// (module (func (result v128) i32.const 0 i8x16.splat i8x16.popcnt)): valid where a browser has vectors.
const VECTORS = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11];

let panic = null;
self.reportPanic = (message) => { panic = message; };

let bench = null;
let lastStep = 0;

async function start(kind) {
  const folder = kind !== "plain" && WebAssembly.validate(new Uint8Array(VECTORS)) ? "simd" : "plain";
  const module = await import(`./${folder}/histoguard_web.js`);
  await module.default();
  bench = new module.Bench();
  return { choices: JSON.parse(module.choices()), simd: module.has_simd() };
}

// At most every 30 ms: some attacks take thousands of steps.
function step(done, total) {
  const now = performance.now();
  if (now - lastStep < 30 && done < total) return;
  lastStep = now;
  self.postMessage({ step: [done, total] });
}

const CALLS = {
  start,
  load: (name, bytes, normalization) => JSON.parse(bench.load(name, new Uint8Array(bytes), normalization)),
  open: (name, bytes) => JSON.parse(bench.open(name, new Uint8Array(bytes))),
  draw: (malignant, number) => JSON.parse(bench.draw(malignant, number)),
  predict: (side) => ({ probabilities: JSON.parse(bench.predict(side)), pictures: { original: bench.original() } }),
  attack: (request, side, times) => {
    const answer = JSON.parse(bench.attack(JSON.stringify(request), side, step));
    const pictures = { original: bench.original(), adversarial: bench.adversarial(), difference: bench.difference(times) };
    return { answer, pictures, png: bench.png() };
  },
  difference: (times) => bench.difference(times),
  evaluate: (request, side, perClass) => JSON.parse(bench.evaluate(JSON.stringify(request), side, perClass, step)),
};

// One after the other: what is asked for before the module is there waits for it.
let queue = Promise.resolve();
self.onmessage = ({ data }) => { queue = queue.then(() => answer(data)); };

async function answer({ id, call, values }) {
  try {
    self.postMessage({ id, value: await CALLS[call](...values) });
  } catch (error) {
    // The crate's errors are texts; what is not leaves the module in no state to go on.
    if (typeof error === "string") {
      self.postMessage({ id, error });
    } else {
      const why = panic ?? (error instanceof RangeError || error instanceof WebAssembly.RuntimeError
        ? "the browser gave no more memory, or the computation failed" : String(error?.message ?? error));
      self.postMessage({ id, error: why, fatal: true });
    }
  }
}
