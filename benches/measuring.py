"""What the programs of PyTorch and of the ONNX runtimes share: how a run is timed, and how it is told."""

import json
import resource
import statistics
import time


def timed(run, runs, wait=lambda: None):
    """Seconds of the first run, which warms up, and the median of the others; `wait` ends what still runs."""

    def once():
        wait()
        start = time.perf_counter()
        run()
        wait()
        return time.perf_counter() - start

    first = once()
    return first, statistics.median(once() for _ in range(runs))


def tell(op, batch, first, seconds, **more):
    """Prints one measurement as throughput.rs does."""
    entry = {
        "op": op,
        "batch": batch,
        "seconds": round(seconds, 5),
        "images_per_second": round(batch / seconds, 3),
        "warm_up_seconds": round(first, 3),
    }
    print(json.dumps(entry | more), flush=True)


def tell_memory():
    print(json.dumps({"peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}))
