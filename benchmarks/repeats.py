"""Whether a program gives the same bits in fresh processes, with and without `--xla_gpu_deterministic_ops`.

    python benchmarks/repeats.py [CASE ...] [--config PRESET] [--processes 3] [--calls 3] [--KEY VALUE ...]

Cases are those of `python -m benchmarks.bench` that return what they compute: `gradient`, `ppo`, `offline`,
`online`, `sampling`. The flag is on in all runs, because a resumed training must equal an uninterrupted
one. If all are equal without it too, it only costs time. Nothing is cached: each process chooses its
kernels anew.
"""

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.bench.catalogue import PRESET, Request, checked
from remdm.base.reader import parse_value
from remdm.config.layers import build
from remdm.config.runtime import RuntimeConfig

FLAG = "--xla_gpu_deterministic_ops"


def serve(request: Request) -> None:
    """Print a digest of what the last of some calls computed, and the median of their seconds."""
    from remdm.stages.session import prepare_jax

    prepare_jax(build(RuntimeConfig, request.layers()))
    import jax
    import numpy as np

    from benchmarks.bench.cases import make_case

    case = make_case(request)
    results: list[Any] = []
    seconds = []
    for _ in range(request.repeats):
        began = time.perf_counter()
        results = case.call()
        seconds.append(time.perf_counter() - began)
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(results):
        digest.update(np.asarray(leaf).tobytes())
    print(json.dumps([digest.hexdigest()[:16], statistics.median(seconds)]))


def main() -> None:
    """Compare processes, a line for each case and setting of the flag."""
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument("cases", nargs="*", default=["gradient"])
    flags.add_argument("--config", default=PRESET)
    flags.add_argument("--processes", type=int, default=3)
    flags.add_argument("--calls", type=int, default=3)
    flags.add_argument("--serve", help=argparse.SUPPRESS)
    given, rest = flags.parse_known_args()
    if given.serve:
        return serve(Request(**json.loads(given.serve)))
    keys = {
        name.removeprefix("--"): parse_value(text) for name, text in zip(rest[::2], rest[1::2], strict=True)
    }
    for case in checked(given.cases):
        request = Request(case, given.config, keys, given.calls)
        request.settings()
        for on in ("true", "false"):
            environment = os.environ | {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {FLAG}={on}".strip()}
            command = [sys.executable, __file__, "--serve", json.dumps(request._asdict())]
            digests, seconds = [], []
            for _ in range(given.processes):
                done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
                digest, median = json.loads(done.stdout.splitlines()[-1])
                digests.append(digest)
                seconds.append(median)
            verdict = "equal" if len(set(digests)) == 1 else f"DIFFERENT: {', '.join(digests)}"
            print(
                f"{case}, {FLAG}={on}, {given.processes} processes: {verdict}; "
                f"{statistics.median(seconds):.4g} s a call",
                flush=True,
            )


if __name__ == "__main__":
    main()
