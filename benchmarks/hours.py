"""GPU hours of a scale of `workflow_config.yaml`, by arithmetic from the configuration of its jobs.

    uv run python -m benchmarks.hours [SCALE]

Three things take the time: kernels started one after the other by steps of the games and by small networks,
memory traffic of a planner's activations, and starting and compiling. What a device does of them is in
`H100`, assumed from data sheets and from counting; replace it by what `benchmarks/gpu.sh` measures. Errors
of 50 % are likely.
"""

import sys
from collections import defaultdict
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from remdm.config.ablations import AblationsConfig
from remdm.config.collect import CollectConfig
from remdm.config.denoiser import DenoiserConfig
from remdm.config.film import FilmConfig
from remdm.config.imitation import ImitationConfig
from remdm.config.inference import InferenceConfig
from remdm.config.online import OnlineConfig
from remdm.config.planner import GPU_TOKENS, PlannerTrainingConfig
from remdm.config.ppo import PPOConfig
from remdm.config.stage import StageConfig
from remdm.config.sweep import SweepConfig
from remdm.workflow.job import Job
from remdm.workflow.plan import Plan

ROOT = Path(__file__).parents[1]


class Device(NamedTuple):
    """What a device is assumed to do."""

    kernel: float  # seconds from one small kernel to the next
    bandwidth: float  # bytes a second
    start: float  # seconds of a job until it computes: JAX, compiling


H100 = Device(kernel=3e-6, bandwidth=3.35e12, start=90)
# Small kernels of a step of a game, a tenth of its 12,000 and 23,000 equations.
STEP = {"Craftax-Classic-Symbolic-v1": 1200, "Craftax-Symbolic-v1": 2300}
ACTING, LEARNING_STEP = 16, 20  # of an expert that acts; of a step of its recurrent cell, there and back
BLOCK, AROUND = 12, 25  # of a denoiser's block, and of what is around its blocks
BACKWARD = 3  # a gradient to the network's output alone
# How often a window's activations, in float32, cross the memory: in a gradient and forwards.
GRADIENT_PASSES, FORWARD_PASSES = 11, 3.5


class Costs:
    """Seconds of a game's steps, and of the calls of a denoiser if there is one."""

    def __init__(self, device: Device, env: str, network: DenoiserConfig | None, dtype: str) -> None:
        self.device = device
        self.step = STEP[env] * device.kernel
        self.network = network
        self.width = 2 if dtype == "bfloat16" else 4

    def _window(self) -> float:
        """Bytes of a window's activations, as `stages/budget.py` counts them."""
        assert self.network is not None
        tokens = self.network.plan_horizon + 2
        per_token = 10 * self.network.d_model + 3 * self.network.d_ff + 2 * self.network.n_heads * tokens
        return self.width * self.network.n_layers * tokens * per_token

    def _kernels(self) -> int:
        assert self.network is not None
        return self.network.n_layers * BLOCK + AROUND

    def call(self, rows: int) -> float:
        """A call of the denoiser on so many plans."""
        traffic = FORWARD_PASSES * rows * self._window() / self.device.bandwidth
        return max(self._kernels() * self.device.kernel, traffic)

    def gradient(self, windows: int) -> float:
        """A gradient step of a planner."""
        assert self.network is not None
        parts = -(-windows * self.network.plan_horizon // GPU_TOKENS)
        traffic = GRADIENT_PASSES * windows * self._window() / self.device.bandwidth
        return max(parts * BACKWARD * self._kernels() * self.device.kernel, traffic)

    def playing(self, steps: int, envs: int, replan_every: int, denoising_steps: int) -> float:
        """Steps of as many environments in which a planner plans every so often."""
        return steps * (self.step + denoising_steps / replan_every * self.call(envs))

    def acting(self, steps: int) -> float:
        """Steps in which an expert acts."""
        return steps * (self.step + ACTING * self.device.kernel)


def seconds(config: StageConfig, costs: Costs) -> float:
    """GPU seconds of a job."""
    match config:
        case PPOConfig():
            # The recurrent cell's loops take most of the learning.
            turns = config.ppo_update_epochs * config.ppo_num_minibatches * config.ppo_num_steps
            learning = turns * LEARNING_STEP * costs.device.kernel
            return config.num_updates * (costs.acting(config.ppo_num_steps) + learning)
        case PlannerTrainingConfig():
            update = costs.acting(config.num_steps)
            update += config.grad_steps_per_update * costs.gradient(config.minibatch_size)
            if isinstance(config, OnlineConfig):
                plans = config.num_steps / config.replan_every
                update += plans * config.diffusion_steps * costs.call(config.num_envs)
            val = config.validation
            validation = costs.playing(
                val.val_steps, val.val_num_envs, val.val_replan_every, val.val_diffusion_steps
            )
            return config.num_updates * (update + validation / config.val_every)
        case AblationsConfig():
            assert costs.network is not None
            rollout = costs.playing(
                config.num_steps, config.num_envs, costs.network.plan_horizon, config.ablation_diffusion_steps
            )
            evaluation = costs.playing(
                config.eval_steps,
                config.eval_num_envs,
                config.ablation_eval_replan,
                config.val_diffusion_steps,
            )
            update = rollout + costs.gradient(config.ablation_batch_size)
            return config.num_updates * (update + evaluation / config.ablation_eval_every)
        case CollectConfig():
            return costs.acting(config.collect_num_steps // config.collect_num_envs)
        case SweepConfig():
            rows = config.sweep_windows * config.sweep_plans
            drawn = sum(setting.steps for setting in config.settings) * costs.call(rows)
            return drawn + sum(
                costs.playing(
                    config.sweep_play_steps, config.eval_num_envs, config.replan_every, setting.steps
                )
                for setting in config.settings
                if config.is_played(setting)
            )
        case InferenceConfig() | FilmConfig() | ImitationConfig():
            return _played(config, costs)
    raise TypeError(type(config))


def _played(config: InferenceConfig | FilmConfig | ImitationConfig, costs: Costs) -> float:
    """An evaluation, a film or a comparison with the expert, if no episode ends them sooner."""
    match config:
        case InferenceConfig():
            steps, envs = config.eval_steps, config.eval_num_envs
        case FilmConfig():
            steps, envs = config.film_steps, config.film_num_envs
        case _:
            steps, envs = config.imitation_steps, config.eval_num_envs
    if costs.network is None:
        return costs.acting(steps)
    return costs.playing(steps, envs, config.replan_every, config.diffusion_steps_eval)


def network_of(plan: Plan, job: Job) -> DenoiserConfig | None:
    """The denoiser that a job trains or plays."""
    config = plan.configs[job]
    if isinstance(config, PlannerTrainingConfig):
        return config.denoiser
    maker = plan.dependencies(job).get("checkpoint_path")
    return network_of(plan, maker) if isinstance(maker, Job) and maker.stage != "ppo" else None


def hours(plan: Plan, dtype: str, device: Device = H100) -> dict[tuple[str, str], list[float]]:
    """GPU hours of each job, by game and by stage; of trainings, by stage and preset."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for job, config in plan.configs.items():
        trains = isinstance(config, PPOConfig | PlannerTrainingConfig)
        row = f"`{job.stage}`, {job.name}" if trains else f"`{job.stage}`"
        costs = Costs(device, job.env, network_of(plan, job), dtype)
        found[job.env, row].append((device.start + seconds(config, costs)) / 3600)
    return found


def table(plan: Plan) -> str:
    """The hours as a table in Markdown."""
    lines = ["| game | stage | jobs | GPU hours, float32 | bfloat16 |", "|---|---|---|---|---|"]
    full, half = hours(plan, "float32"), hours(plan, "bfloat16")

    def line(game: str, row: str, single: list[float], double: list[float]) -> str:
        return f"| {game} | {row} | {len(double)} | {sum(double):.1f} | {sum(single):.1f} |"

    for (game, row), found in full.items():
        lines.append(line(game, row, half[game, row], found))
    everything = [list(chain.from_iterable(found.values())) for found in (half, full)]
    return "\n".join([*lines, line("", "all", *everything)])


def main() -> None:
    """Print the table."""
    scale = sys.argv[1] if len(sys.argv) > 1 else "paper"
    print(table(Plan.load(ROOT / "workflow_config.yaml", {"scale": scale})))


if __name__ == "__main__":
    main()
