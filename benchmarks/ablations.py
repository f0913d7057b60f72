"""Iterations/s of the ablation suite's baseline: with and without diagnostics, with one and more seeds.

    uv run python benchmarks/ablations.py CHECKPOINT [--config ablations_fast] [--seeds 1 3] [--updates 10]

The planner in CHECKPOINT is fine-tuned. `off` has no diagnostics,
`due` measures them at the cadence of the preset, `always` at every update: what one measurement costs.
Variants take turns, so that the machine's moods meet all of them.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax

from remdm.ablations.arm import load_arm
from remdm.ablations.finetuning import make_finetuning
from remdm.ablations.problem import make_problem
from remdm.config.ablations import AblationsConfig
from remdm.config.layers import Layer, base_layers, build
from remdm.config.runtime import RuntimeConfig
from remdm.envs.batch import make_batch_env
from remdm.loading.planner import load_denoiser, read_network
from remdm.stages.session import prepare_jax
from remdm.training.algorithm import repeated

VARIANTS = {
    "off": {"ablation_diagnostics_every": None, "ablation_cka_every": None},
    "due": {},
    "always": {"ablation_diagnostics_every": 1, "ablation_cka_every": 1},
}


def compile_updates(preset: str, path: str, keys: dict[str, Any], seeds: int, updates: int) -> Callable:
    """A call that makes so many updates from the first state on."""
    config = build(
        AblationsConfig, [*base_layers(preset), Layer("benchmark", {"checkpoint_path": path, **keys})]
    )
    asked = read_network("checkpoint_path", config.checkpoint_path, config.env.env_name)
    env = make_batch_env(config.env, config.num_envs, asked)
    network, _, params = load_denoiser("checkpoint_path", config.checkpoint_path, asked, env.game)
    algorithm = make_finetuning(make_problem(config, network, env), env, load_arm("baseline_rl"), params)
    algorithm = repeated(algorithm, seeds)
    state = jax.jit(algorithm.init)(jax.random.PRNGKey(0))

    def run(state: Any) -> Any:
        # With their metrics: XLA would drop diagnostics that nobody asks for.
        return jax.lax.scan(lambda state, _: algorithm.update(state), state, length=updates)

    compiled = jax.jit(run).lower(state).compile()
    jax.block_until_ready(compiled(state))
    return lambda: jax.block_until_ready(compiled(state))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint")
    parser.add_argument("--config", default="ablations_fast")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 3])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--updates", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    prepare_jax(build(RuntimeConfig, base_layers(None)))

    cases = [(seeds, variant) for seeds in arguments.seeds for variant in arguments.variants]
    calls = {
        (seeds, variant): compile_updates(
            arguments.config, arguments.checkpoint, VARIANTS[variant], seeds, arguments.updates
        )
        for seeds, variant in cases
    }
    rates: dict[tuple[int, str], list[float]] = {case: [] for case in cases}
    for _ in range(arguments.repeats):
        for case, call in calls.items():
            began = time.perf_counter()
            call()
            rates[case].append(arguments.updates / (time.perf_counter() - began))
    print(f"{os.cpu_count()} cores; iterations/s of all seeds together: median of {arguments.repeats}, range")
    for (seeds, variant), values in rates.items():
        each = [seeds * value for value in values]
        spread = f"{min(each):.2f} to {max(each):.2f}"
        print(f"{seeds} seeds  {variant:7} {statistics.median(each):7.2f}  {spread}", flush=True)


if __name__ == "__main__":
    main()
