// Where the computation runs, so that the page stays alive.

import { reason } from "./lost.js";

// (module (func (result v128) i32.const 0 i8x16.splat i8x16.popcnt)): valid where a browser has vectors.
const VECTORS = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11];

let bench = null;
let lastStep = 0;

// The first of these kinds of the module that runs here.
async function start(kinds) {
  const vectors = WebAssembly.validate(new Uint8Array(VECTORS));
  for (const kind of kinds.filter((kind) => vectors || kind === "plain")) {
    try {
      const module = await import(`./${kind}/histoguard_web.js`);
      await module.default();
      const threads = kind === "threads" ? await gather(module) : 1;
      bench = new module.Bench();
      return { choices: JSON.parse(module.choices()), simd: module.has_simd(), threads };
    } catch (error) {
      // Not every browser that shares memory promises as much of it as the module asks for.
      if (kind !== "threads") throw error;
    }
  }
}

let gathered = null;

// The pool's other threads are workers of the page, which ends them with this one.
async function gather(module) {
  const threads = navigator.hardwareConcurrency;
  const [code, memory] = module.shared();
  await new Promise((resolve, reject) => {
    gathered = (error) => error === undefined ? resolve() : reject(new Error(error));
    self.postMessage({ gather: { count: threads - 1, code, memory } });
  });
  module.start_pool(threads);
  return threads;
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
self.onmessage = ({ data }) => {
  if (data.gathered) return gathered(data.error);
  queue = queue.then(() => answer(data));
};

async function answer({ id, call, values }) {
  try {
    self.postMessage({ id, value: await CALLS[call](...values) });
  } catch (error) {
    // The crate's errors are texts; what is not leaves the module in no state to go on.
    if (typeof error === "string") {
      self.postMessage({ id, error });
    } else {
      self.postMessage({ id, error: reason(error), fatal: true });
    }
  }
}
