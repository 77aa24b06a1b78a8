//! Threads: other workers that run the same module in the same memory. page/laboratory.js starts them.

use std::sync::{Condvar, Mutex};

use js_sys::Array;
use rayon::{ThreadBuilder, ThreadPoolBuilder};
use wasm_bindgen::prelude::*;

/// Threads that the pool asks for, and how workers hear of them.
static ASKED: (Mutex<Vec<ThreadBuilder>>, Condvar) = (Mutex::new(Vec::new()), Condvar::new());

const WHOLE: &str = "a panic ends the module";

/// What another worker needs to become a thread: the module and its memory.
#[wasm_bindgen]
pub fn shared() -> Array {
    Array::of2(&wasm_bindgen::module(), &wasm_bindgen::memory())
}

/// Makes the pool: this worker, and others that call [`run_thread`]. Waits for them.
#[wasm_bindgen]
pub fn start_pool(threads: usize) -> Result<(), String> {
    let (asked, more) = &ASKED;
    let pool = ThreadPoolBuilder::new().num_threads(threads).use_current_thread().spawn_handler(|thread| {
        asked.lock().expect(WHOLE).push(thread);
        more.notify_one();
        Ok(())
    });
    pool.build_global().map_err(|error| error.to_string())
}

/// Works as one of the pool's threads; does not return.
#[wasm_bindgen]
pub fn run_thread() {
    let (asked, more) = &ASKED;
    let mut asked = more.wait_while(asked.lock().expect(WHOLE), |asked| asked.is_empty()).expect(WHOLE);
    let thread = asked.pop().expect("waited for");
    drop(asked);
    thread.run();
}
