// The worker as functions that give promises. After a stop or a crash a new worker takes over, with the same
// network and image.

// What build.sh made, the fastest first.
export const KINDS = __KINDS__;

export class Stopped extends Error {}

export class Laboratory {
  #worker = null;
  #threads = [];
  #waiting = new Map();
  #next = 0;
  #network = null;
  #image = null;
  #started = null;

  // `kind` is "simd" for the module without threads and "plain" for the one without vectors, for comparison; otherwise
  // the browser decides.
  constructor(onStep, kind) {
    this.onStep = onStep;
    this.kind = kind;
    this.#begin();
  }

  // What the page offers.
  get started() { return this.#started; }

  async load(name, bytes, normalization) {
    const summary = await this.#call("load", name, bytes, normalization);
    this.#network = [name, bytes, normalization];
    return summary;
  }

  async open(name, bytes) {
    const summary = await this.#call("open", name, bytes);
    this.#image = ["open", name, bytes];
    return summary;
  }

  async draw(malignant, number) {
    const summary = await this.#call("draw", malignant, number);
    this.#image = ["draw", malignant, number];
    return summary;
  }

  predict(side) { return this.#call("predict", side); }
  attack(request, side, times) { return this.#call("attack", request, side, times); }
  difference(times) { return this.#call("difference", times); }
  evaluate(request, side, perClass) { return this.#call("evaluate", request, side, perClass); }

  // Ends what runs, at once.
  stop() { this.#restart(new Stopped("stopped")); }

  #begin() {
    const worker = new Worker("worker.js", { type: "module" });
    this.#worker = worker;
    // Of a worker that was ended there may be messages yet.
    worker.onmessage = ({ data }) => { if (this.#worker === worker) this.#hear(data); };
    worker.onerror = (event) => {
      const why = new Error(event.message || "the page's worker did not start");
      for (const { reject } of this.#waiting.values()) reject(why);
      this.#waiting.clear();
    };
    const threads = self.crossOriginIsolated && navigator.hardwareConcurrency > 1;
    const kinds = KINDS.filter((kind) => threads || kind !== "threads");
    this.#started = this.#call("start", kinds.slice(Math.max(kinds.indexOf(this.kind), 0)));
  }

  // Starts threads for the worker, which waits for all of them.
  #gather({ count, code, memory }) {
    const worker = this.#worker;
    let missing = count;
    const failed = (error) => {
      if (this.#worker !== worker) return;
      if (missing === 0) return this.#crash(error);
      this.#disband();
      worker.postMessage({ gathered: true, error });
    };
    this.#threads = Array.from({ length: count }, () => {
      const thread = new Worker("thread.js", { type: "module" });
      thread.onerror = (event) => failed(event.message || "a thread did not start");
      thread.onmessage = ({ data: { error } }) => {
        if (error !== undefined) failed(error);
        else if (--missing === 0) worker.postMessage({ gathered: true });
      };
      thread.postMessage({ code, memory });
      return thread;
    });
  }

  #disband() {
    for (const thread of this.#threads) thread.terminate();
    this.#threads = [];
  }

  // A thread is lost, and the worker waits for it in vain.
  #crash(error) {
    const [id] = this.#waiting.keys();
    if (id === undefined) this.#restart(new Error(error));
    else this.#hear({ id, error, fatal: true });
  }

  #restart(why) {
    this.#worker.terminate();
    this.#disband();
    for (const { reject } of this.#waiting.values()) reject(why);
    this.#waiting.clear();
    this.#begin();
    // In the order of calls, so that what is asked for next finds both. What now fails is not tried again.
    if (this.#network) this.#call("load", ...this.#network).catch(() => { this.#network = null; });
    if (this.#image) this.#call(...this.#image).catch(() => { this.#image = null; });
  }

  #call(call, ...values) {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { call, resolve, reject });
      this.#worker.postMessage({ id, call, values });
    });
  }

  #hear({ id, value, error, fatal, step, gather }) {
    if (step) return this.onStep(...step);
    if (gather) return this.#gather(gather);
    const waiting = this.#waiting.get(id);
    if (!waiting) return;
    this.#waiting.delete(id);
    if (error === undefined) return waiting.resolve(value);
    waiting.reject(new Error(error));
    // A module that does not start would not start again; what must not be tried again is forgotten first.
    if (fatal && waiting.call !== "start") Promise.resolve().then(() => this.#restart(new Error(error)));
  }
}
