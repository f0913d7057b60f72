"""Each case in a process of its own, one after the other; nothing here needs JAX."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.bench import table
from benchmarks.bench.catalogue import CASES, Request
from remdm.base.errors import ConfigError, UserError

ROOT = Path(__file__).parents[2]


def measure_all(requests: Iterable[Request], output: Path | None) -> Path:
    """Measure, print a line and add a row for each request; one that fails does not stop the rest.

    Args:
        output: a file of results; if None, that of this machine in `benchmarks/results/`.

    Returns:
        The file.

    Raises:
        UserError: a request cannot be run or its result not added, which is found before the first is, or
            some have failed.
    """
    requests = list(requests)
    for request in requests:
        request.settings()
    if output is not None and output.exists():
        table.read(output)
    run = uuid.uuid4().hex
    print(table.HEAD, flush=True)
    failed, path = [], output
    for request in requests:
        row = _ask(request)
        if row is None:
            failed.append(request.case)
            continue
        path = output or Path("benchmarks/results") / f"{row['machine']}.parquet"
        table.append(path, row | {"run": run})
        print(table.line(row), flush=True)
    if failed or path is None:
        raise UserError(f"no result of {', '.join(dict.fromkeys(failed))}: see above")
    print(f"{table.LEGEND}\nresults in {path}")
    return path


def trace_all(requests: Iterable[Request]) -> None:
    """Profile each request, and print where its time goes.

    Raises:
        UserError: a request cannot be run, or some have failed.
    """
    requests = list(requests)
    for request in requests:
        if not CASES[request.case].compiles:
            raise ConfigError(f"--trace: {request.case} runs no compiled program")
        request.settings()
    failed = []
    for request in requests:
        result = _ask(request)
        if result is None:
            failed.append(request.case)
        else:
            print(table.where_time_goes(result), flush=True)
    if failed:
        raise UserError(f"no trace of {', '.join(failed)}: see above")


def _ask(request: Request) -> dict[str, Any] | None:
    """What a worker makes of a request; None if it failed, of which it has told on stderr."""
    command = [sys.executable, "-P", "-m", "benchmarks.bench.worker", json.dumps(request._asdict())]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = os.environ | {"PYTHONPATH": path}
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout) if done.returncode == 0 else None
