"""A process of its own for one measurement, so that compiling and peak memory are its own."""

import json
import os
import sys

from benchmarks.bench.catalogue import Request
from remdm.base.errors import reported
from remdm.config.layers import build
from remdm.config.runtime import RuntimeConfig


def main() -> None:
    """Take a request as JSON, print the result as JSON."""
    request = Request(**json.loads(sys.argv[1]))
    # Whatever a library prints goes elsewhere: the result alone goes to the pipe.
    pipe = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with reported(f"bench {request.case}"):
        # Imported here: what it says must be set before JAX starts.
        from remdm.stages.session import prepare_jax

        prepare_jax(build(RuntimeConfig, request.layers()))
        from benchmarks.bench.cases import make_case

        case = make_case(request)
        if request.trace:
            from benchmarks.bench.trace import trace

            result: object = trace(request, case)
        else:
            from benchmarks.bench.measure import measure

            result = measure(request, case)
        json.dump(result, pipe)
    pipe.close()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
