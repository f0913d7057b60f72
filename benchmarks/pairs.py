"""Time two variants in processes that take turns, so that both see the same load variations."""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from remdm.config.layers import Layer, base_layers, build
from remdm.config.runtime import RuntimeConfig
from remdm.stages.session import prepare_jax

PLAIN, OURS = "plain", "ours"


class Way(NamedTuple):
    """What is compared: functions that a stage compiles."""

    init: Callable[[jax.Array], Any]
    update: Callable[[Any], Any]
    validate: Callable[[Any], Any] | None = None


def serve(make: Callable[[str], Way], name: str, warm_up: int) -> None:
    """Compile and update a few times, print compiling's seconds; then an update's for every line that comes.

    Args:
        make: a way by its name.
        warm_up: updates after which episodes end at their usual rate.
    """
    if name == OURS:  # with our compiler flags, but without the cache, so that compiling can be compared
        layers = [*base_layers(None), Layer("benchmark", {"compilation_cache_dir": None})]
        prepare_jax(build(RuntimeConfig, layers))
    way = make(name)
    key = jax.random.PRNGKey(0)
    began = time.perf_counter()
    init = jax.jit(way.init).lower(key).compile()
    state = jax.eval_shape(way.init, key)
    compiled = jax.jit(way.update, donate_argnums=0).lower(state).compile()
    if way.validate is not None:
        jax.jit(way.validate).lower(state).compile()
    compile_seconds = time.perf_counter() - began
    state = init(key)
    for _ in range(warm_up):
        state = jax.block_until_ready(compiled(state))
    print(compile_seconds, flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        state = jax.block_until_ready(compiled(state))
        print(time.perf_counter() - began, flush=True)


def compare(command: list[str], frames: int, repeats: int) -> None:
    """Print both rates and their ratio.

    Args:
        command: what serves, to which the name of the way is added.
        frames: of one update.
    """
    workers, seconds, compiling = {}, {}, {}
    for name in (PLAIN, OURS):  # one after the other: compiling would disturb
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        workers[name] = subprocess.Popen([*command, name], **pipes)
        compiling[name] = float(workers[name].stdout.readline())
        print(f"{name}: compiled in {compiling[name]:.1f} s", flush=True)
        seconds[name] = []
    for _ in range(repeats):
        for name, worker in workers.items():
            worker.stdin.write("\n")
            worker.stdin.flush()
            seconds[name].append(float(worker.stdout.readline()))
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()
    for name, times in seconds.items():
        rates = sorted(frames / s for s in times)
        print(f"{name}: {statistics.median(rates):,.0f} frames/s ({rates[0]:,.0f} to {rates[-1]:,.0f})")
    ratios = sorted(plain / ours for plain, ours in zip(seconds[PLAIN], seconds[OURS], strict=True))
    print(
        f"{OURS} over {PLAIN}, paired: {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}),"
        f" compiling {compiling[OURS] / compiling[PLAIN]:.2f}"
    )


def parser(description: str, repeats: int) -> argparse.ArgumentParser:
    """The flags that all such benchmarks have."""
    flags = argparse.ArgumentParser(description=description)
    flags.add_argument("--repeats", type=int, default=repeats, help="updates of each")
    flags.add_argument("--serve", choices=[PLAIN, OURS], help=argparse.SUPPRESS)
    return flags
