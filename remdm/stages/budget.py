"""Print the plan of a training and check its memory before it begins."""

import logging
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from remdm.base.errors import UserError
from remdm.base.fields import Role, fields_with
from remdm.base.machine import memory
from remdm.config.online import DaggerConfig
from remdm.config.planner import PlannerTrainingConfig
from remdm.config.ppo import PPOConfig
from remdm.config.runtime import RuntimeConfig, TrainingRuntimeConfig
from remdm.config.training import TrainingConfig
from remdm.envs.craftax import Game
from remdm.envs.packing import num_bytes, packed_size
from remdm.training.algorithm import Algorithm
from remdm.training.devices import data_mesh, size
from remdm.training.microbatch import even_size

logger = logging.getLogger("remdm")

FLOAT = 4  # bytes
BUFFER = "replay buffer"
LEARNER = "parameters and optimiser"


class Term(NamedTuple):
    """A part of a run's memory, and the key that reduces it."""

    name: str
    size: int  # bytes
    key: str


def announce(config: TrainingConfig, algorithm: Algorithm, game: Game, runtime: RuntimeConfig) -> None:
    """Print the resolved plan of a training.

    Raises:
        UserError: the environments cannot be shared evenly by the devices, or the memory exceeds a device;
            the message names the key, or the largest terms.
    """
    state = jax.eval_shape(algorithm.init, jax.random.PRNGKey(0))
    terms = memory_terms(config, state, game)
    saves_buffer = isinstance(runtime, TrainingRuntimeConfig) and runtime.checkpoint_buffer
    if jax.default_backend() == "cpu" and saves_buffer:
        # On other devices, the copy from which a snapshot is written is in the host's memory.
        buffers = [term for term in terms if term.name == BUFFER]
        terms += [term._replace(name=f"copy of the {BUFFER}", key="checkpoint_buffer") for term in buffers]
    devices = size(data_mesh(algorithm))
    check_devices(config, devices)
    if jax.default_backend() != "cpu":  # CPU devices share the machine's memory
        terms = [term if term.name == LEARNER else term._replace(size=term.size // devices) for term in terms]
    if devices > 1:
        logger.info("  %-14s %d, in %d processes", "devices", devices, jax.process_count())
    for name, text in resolved_plan(config, algorithm, state, terms).items():
        logger.info("  %-14s %s", name, text)
    check_memory(terms, device_memory())


def resolved_plan(
    config: TrainingConfig, algorithm: Algorithm, state: Any, terms: list[Term]
) -> dict[str, str]:
    """All budgets, ratios and sizes in words, by name, given the shapes of the algorithm's state."""
    params = jax.eval_shape(algorithm.params, state)
    buffer = _bytes_with(state, Role.REFILLABLE)
    training = num_bytes(state) - _bytes_with(state, Role.GIVEN)
    repeats = f", {config.num_repeats} times" if config.num_repeats > 1 else ""
    return {
        "updates": f"{config.num_updates:,} of {config.frames_per_update:,} frames: "
        f"{config.num_updates * config.frames_per_update:,} frames{repeats}",
        **dict(_planner_lines(config, buffer)),
        "parameters": f"{sum(np.prod(x.shape, dtype=int) for x in jax.tree.leaves(params)):,}",
        "checkpoint": f"{_bytes(num_bytes(params))} of weights, {_bytes(training)} to resume from",
        "memory": f"about {_bytes(sum(term.size for term in terms))} of arrays at the peak",
    }


def _planner_lines(config: TrainingConfig, buffer: int) -> Iterator[tuple[str, str]]:
    """The additional lines of a planner's training."""
    if isinstance(config, PlannerTrainingConfig):
        total = config.num_updates * config.grad_steps_per_update
        yield (
            "windows",
            f"{config.windows_per_update:,} an update, in minibatches of {config.minibatch_size:,}",
        )
        steps = f"{config.grad_steps_per_update:,} an update, {total:,} in all"
        yield "gradient steps", f"{steps}, warm-up {config.warmup_grad_steps:,}"
        yield "validation", f"every {config.val_every:,} updates"
    if isinstance(config, DaggerConfig):
        last = config.dagger_beta_init * config.beta_decay ** (config.num_updates - 1)
        yield "beta", f"{config.dagger_beta_init:.4g} at the first update, {last:.4g} at the last"
        yield "buffer", f"{config.buffer_size:,} windows, {_bytes(buffer)}"


def memory_terms(config: TrainingConfig, state: Any, game: Game) -> list[Term]:
    """The largest parts of a run's peak memory, estimated from its configuration.

    The sizes of the state are exact; of the rest, only parts that scale with a key are included.
    """
    envs = "ppo_num_envs" if isinstance(config, PPOConfig) else "num_envs"
    buffer = _bytes_with(state, Role.REFILLABLE)
    games = num_bytes(state.play)
    frame = FLOAT * game.obs_dim
    if isinstance(config, PlannerTrainingConfig):
        frame = packed_size(game)
    terms = [
        Term(BUFFER, buffer, "dagger_buffer_cycles or dagger_buffer_max"),
        Term("games", games, envs),
        # Parameters, the two moments of Adam, gradients, and the best parameters.
        Term(LEARNER, 2 * (num_bytes(state) - buffer - games), "the network's width"),
        Term("observations of a rollout", config.frames_per_update * frame, envs),
    ]
    if isinstance(config, PlannerTrainingConfig):
        largest = config.on_device(jax.default_backend()).microbatch_size
        windows = even_size(config.minibatch_size, largest)
        window = bytes_per_window(config, FLOAT * game.obs_dim)
        terms.append(Term("a microbatch", windows * window, "microbatch_size"))
    if isinstance(config, DaggerConfig):
        labels = FLOAT * game.num_actions * config.denoiser.plan_horizon if config.soft_labels else 0
        window = frame + labels
        terms.append(Term("windows on their way into the buffer", config.windows_per_update * window, envs))
    if isinstance(config, PPOConfig):
        if config.explores:
            terms.append(Term("observations for exploration", config.frames_per_update * frame, envs))
        frames = config.frames_per_update // config.ppo_num_minibatches
        # Forward and backward pass through a dozen layers.
        activations = 3 * 12 * FLOAT * config.network.layer_size
        terms.append(Term("a minibatch", frames * (frame + activations), envs))
    return [term._replace(size=term.size * config.num_repeats) for term in terms if term.size]


def _bytes_with(state: Any, role: Role) -> int:
    return sum(num_bytes(getattr(state, name)) for name in fields_with(state, role))


def bytes_per_window(config: PlannerTrainingConfig, frame: int) -> int:
    """Observation and activations of one window in a gradient step."""
    tokens = config.denoiser.plan_horizon + 2
    # Norms, queries, keys, values, outputs and residuals; the inner layer before and after its gelu;
    # scores and weights of attention.
    per_token = 10 * config.denoiser.d_model + 3 * config.denoiser.d_ff + 2 * config.denoiser.n_heads * tokens
    encoder = 4 * config.denoiser.obs_encoder_layers * config.denoiser.obs_encoder_width
    return frame + FLOAT * (config.denoiser.n_layers * tokens * per_token + encoder)


def check_devices(config: TrainingConfig, devices: int) -> None:
    """Refuse environments that several devices cannot share evenly.

    Raises:
        UserError: their number is not a multiple of the devices; the message names the nearest multiple.
    """
    for key in ("ppo_num_envs", "num_envs", "val_num_envs"):
        number = config.flat().get(key)
        if number is not None and number % devices:
            nearest = max(1, round(number / devices)) * devices
            raise UserError(
                f"{key} = {number}: must be a multiple of the {devices} devices that share the work, "
                f"as {nearest} is; or let JAX see fewer of them (CUDA_VISIBLE_DEVICES)"
            )


def check_memory(terms: list[Term], available: int | None) -> None:
    """Refuse a training that does not fit the device's memory.

    Raises:
        UserError: the terms exceed the memory; the message names the largest.
    """
    needed = sum(term.size for term in terms)
    if available is None or needed <= available:
        return
    largest = sorted(terms, key=lambda term: -term.size)[:2]
    named = ", ".join(f"{term.name} {_bytes(term.size)}" for term in largest)
    raise UserError(
        f"about {_bytes(needed)} of memory are needed ({named}), but the device has {_bytes(available)}: "
        f"lower {largest[0].key}"
    )


def device_memory() -> int | None:
    """Bytes of the first device, or of this process's share of the machine's memory; None if unknown."""
    device = jax.local_devices()[0]
    if device.platform != "cpu":
        return (device.memory_stats() or {}).get("bytes_limit")
    return memory()


def _bytes(size: float) -> str:
    for unit in ("B", "KB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"
