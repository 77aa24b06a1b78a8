// A thread of worker.js: the same module in the same memory. Started by laboratory.js.

import { reason } from "./lost.js";

self.onmessage = async ({ data: { code, memory } }) => {
  try {
    const threads = await import("./threads/histoguard_web.js");
    await threads.default({ module_or_path: code, memory });
    self.postMessage({});
    threads.run_thread();
  } catch (error) {
    self.postMessage({ error: reason(error) });
  }
};
