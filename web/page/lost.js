// Why a module is lost, for the workers that run it.

let panic = null;
self.reportPanic = (message) => { panic = message; };

export const reason = (error) => panic ?? (error instanceof RangeError || error instanceof WebAssembly.RuntimeError
  ? "the browser gave no more memory, or the computation failed" : String(error?.message ?? error));
