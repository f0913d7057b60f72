"""How the programs of tests are compiled."""

import os
from importlib.metadata import version

# Tests compile thousands of small programs and run them for no time, so XLA hardly optimises them. Those with
# the marker `optimised` are compiled as users' programs are.
QUICK = {"xla_backend_optimization_level": 0}
if version("jaxlib").startswith("0.10."):  # later ones may not know it, and end a process that is given it
    QUICK["xla_cpu_use_fusion_emitters"] = False


def quick_environment(**variables: str) -> dict[str, str]:
    """The environment of a process whose programs are compiled so."""
    flags = " ".join(f"--{name}={str(value).lower()}" for name, value in QUICK.items())
    return {**os.environ, "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip(), **variables}
