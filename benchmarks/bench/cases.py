"""The cases: the project's own work, made ready to be timed call by call.

Networks are untrained, which costs the same.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from benchmarks.bench.catalogue import Request
from remdm.base.errors import UserError
from remdm.config.collect import CollectConfig
from remdm.config.denoiser import DenoiserConfig
from remdm.config.inference import InferenceConfig
from remdm.config.layers import Layer, build
from remdm.config.offline import OfflineConfig
from remdm.config.online import OnlineConfig
from remdm.config.planner import PlannerTrainingConfig
from remdm.config.ppo import ExpertConfig, PPOConfig
from remdm.envs.batch import BatchEnv, make_batch_env, make_paired_env
from remdm.envs.craftax import Game
from remdm.experts.acting import expert_policy
from remdm.experts.network import init_params as init_expert
from remdm.experts.network import make_network
from remdm.experts.ppo import make_ppo
from remdm.planners.control import Planner
from remdm.planners.denoising import init_params, make_denoiser, make_sampler
from remdm.planners.learner import Dataset, Labels, Learner, make_optimizer, make_step
from remdm.planners.offline import make_offline
from remdm.planners.online import make_online
from remdm.play.player import CHUNK_STEPS, compile_player, play_chunk
from remdm.play.policy import Policy, random_policy
from remdm.play.rollout import Transition
from remdm.training import checkpoint
from remdm.training.algorithm import Algorithm
from remdm.training.state import fresh_state, to_items

WARM_UP_STEPS = 320  # of each environment, after which random play ends episodes at its usual rate
KEY = jax.random.PRNGKey(0)


@dataclass
class Case:
    """Work that can be done again and again.

    Attributes:
        work: done by one call, in the case's unit.
        call: does it, waits until it is done, and returns what was computed, if arrays.
        compile_seconds: what tracing and compiling took; None where nothing is compiled.
        program: the compiled program, and `traced` the same before it was compiled.
        warm_up: calls before the first that is timed.
        dtype: of the products.
    """

    work: float
    call: Callable[[], Any]
    compile_seconds: float | None = None
    program: jax.stages.Compiled | None = None
    traced: Any = None
    warm_up: int = 1
    dtype: str = "float32"


Layers = list[Layer]
P = TypeVar("P", bound=PlannerTrainingConfig)


def make_case(request: Request) -> Case:
    """The case that a request names, compiled."""
    return MAKERS[request.case](request.layers())


def env_step(layers: Layers) -> Case:
    """Random play; what is kept makes XLA compute all of it."""
    config = build(OfflineConfig, layers)
    env = make_batch_env(config.env, config.num_envs)

    def keep(played: Transition) -> Any:
        return played.step, jnp.sum(played.obs, axis=-1)

    return _playing(env, random_policy(env.game.num_actions), keep)


def collect(layers: Layers) -> Case:
    """An expert's play, with its transitions brought to the host as `remdm collect` does."""
    config = build(CollectConfig, layers)
    env = make_batch_env(config.env, config.collect_num_envs)
    expert = _expert(layers, env.game, config.collect_temperature)
    return _playing(env, expert, lambda played: played.packed(env.game))


def inference(layers: Layers) -> Case:
    """A planner's play as `remdm inference` has it: only tokens that are executed are denoised."""
    config, network = build(InferenceConfig, layers), build(DenoiserConfig, layers)
    env = make_paired_env(config.env, config.eval_num_envs)
    denoiser = make_denoiser(network, env.game.num_actions)
    sampler = make_sampler(config.sampler, network.diffusion_schedule, config.diffusion_steps_eval)
    params = init_params(denoiser, KEY, env.game.obs_dim)
    planner = Planner(denoiser, sampler)
    policy = planner.policy(params, config.replan_every, config.inpaint_history, whole_plans=False)
    case = _playing(env, policy, lambda played: played.step)
    case.dtype = network.compute_dtype
    return case


def _playing(env: BatchEnv, policy: Policy, keep: Callable[[Transition], Any]) -> Case:
    began = time.perf_counter()
    player = compile_player(KEY, env, policy, keep)
    compile_seconds = time.perf_counter() - began

    traced = jax.jit(play_chunk(env, keep)).trace(KEY, policy, player.state)
    steps = 0

    def call() -> None:
        nonlocal player, steps
        player, _ = player.chunk(steps)
        steps += CHUNK_STEPS

    program = player.play if isinstance(player.play, jax.stages.Compiled) else None
    return Case(
        CHUNK_STEPS * env.num_envs, call, compile_seconds, program, traced, WARM_UP_STEPS // CHUNK_STEPS
    )


def ppo(layers: Layers) -> Case:
    """An update of the expert."""
    config = build(PPOConfig, layers)
    env = make_batch_env(config.env, config.ppo_num_envs)
    return _updating(make_ppo(config, env), config.ppo_num_steps)


def offline(layers: Layers) -> Case:
    """An update of behaviour cloning, its rollout included."""
    config = _planner_config(OfflineConfig, layers)
    case = _updating(_make_offline(config, layers), config.num_steps)
    case.dtype = config.denoiser.compute_dtype
    return case


def online(layers: Layers) -> Case:
    """An update of DAgger: planning, play, labels, the buffer and gradients."""
    config = _planner_config(OnlineConfig, layers)
    env = make_batch_env(config.env, config.num_envs)
    expert = _expert(layers, env.game, 0.0 if config.dagger_expert_deterministic else 1.0)
    val_env = make_batch_env(config.env, config.validation.val_num_envs)
    case = _updating(make_online(config, env, val_env, expert), config.num_steps)
    case.dtype = config.denoiser.compute_dtype
    return case


def _planner_config(model: type[P], layers: Layers) -> P:
    return build(model, layers).on_device(jax.default_backend())


def _make_offline(config: OfflineConfig, layers: Layers) -> Algorithm:
    env = make_batch_env(config.env, config.num_envs)
    val_env = make_batch_env(config.env, config.validation.val_num_envs)
    return make_offline(config, env, val_env, _expert(layers, env.game, config.collect_temperature))


def _updating(algorithm: Algorithm, steps: int) -> Case:
    """One update a call; the loop of a chunk around it is left out, so that XLA can tell its cost."""
    state = jax.jit(algorithm.init)(KEY)
    case = _compiled(algorithm.update, state, donate=True)

    def call() -> Any:
        nonlocal state
        assert case.program is not None
        state, metrics = jax.block_until_ready(case.program(state))
        return state, metrics

    case.work, case.call, case.warm_up = algorithm.frames_per_update, call, -(-WARM_UP_STEPS // steps)
    return case


def gradient(layers: Layers) -> Case:
    """A gradient step of a planner on one minibatch of windows."""
    config = _planner_config(OfflineConfig, layers)
    game = make_batch_env(config.env, 1).game
    denoiser, optimizer = make_denoiser(config.denoiser, game.num_actions), make_optimizer(config)
    params = init_params(denoiser, KEY, game.obs_dim)
    size, horizon = config.minibatch_size, config.denoiser.plan_horizon
    obs = jax.random.uniform(KEY, (size, game.obs_dim))
    plan = jax.random.randint(KEY, (size, horizon), 0, game.num_actions)
    labels = Labels(plan, jnp.ones(size, bool), jnp.ones(size))
    step = make_step(config, denoiser, optimizer)

    def step_on(key: jax.Array, learner: Learner, obs: jax.Array, labels: Labels) -> Any:
        windows = Dataset(
            lambda indices: obs[indices], lambda indices: jax.tree.map(lambda x: x[indices], labels)
        )
        return step(key, learner, windows, jnp.arange(size))

    case = _compiled(step_on, KEY, Learner(params, optimizer.init(params)), obs, labels)
    case.work, case.dtype = size, config.denoiser.compute_dtype
    return case


def sampling(layers: Layers) -> Case:
    """Whole plans for all environments of a rollout, as DAgger draws them."""
    config = build(OnlineConfig, layers)
    game = make_batch_env(config.env, 1).game
    denoiser = make_denoiser(config.denoiser, game.num_actions)
    sampler = make_sampler(config.sampler, config.denoiser.diffusion_schedule, config.diffusion_steps)
    params = init_params(denoiser, KEY, game.obs_dim)
    obs = jax.random.uniform(KEY, (config.num_envs, game.obs_dim))
    case = _compiled(Planner(denoiser, sampler).plans, KEY, params, obs)
    case.work, case.dtype = config.num_envs, config.denoiser.compute_dtype
    return case


def _compiled(function: Callable[..., Any], *arguments: Any, donate: bool = False) -> Case:
    """A function of arrays; called with the same ones every time, for which none may be donated."""
    began = time.perf_counter()
    traced = jax.jit(function, donate_argnums=0 if donate else ()).trace(*arguments)
    program = traced.lower().compile()
    seconds = time.perf_counter() - began
    return Case(0.0, lambda: jax.block_until_ready(program(*arguments)), seconds, program, traced)


def write_checkpoint(layers: Layers) -> Case:
    """The whole training state of behaviour cloning, from the host's memory to the disk."""
    algorithm = _make_offline(_planner_config(OfflineConfig, layers), layers)
    state = jax.jit(lambda key: fresh_state(algorithm, key))(KEY)
    items = jax.device_get(to_items(state, with_buffer=True))
    folder = Path(tempfile.mkdtemp(prefix="remdm-bench-", dir="."))
    case = Case(
        work=sum(x.nbytes for x in jax.tree.leaves(items)) / 1e6,
        call=lambda: checkpoint.save(folder / "checkpoint", items, {}),
    )
    weakref.finalize(case, shutil.rmtree, folder, ignore_errors=True)
    return case


def dag(layers: Layers) -> Case:
    """Planning the paper's pipeline from nothing, as a user's dry run does.

    Raises:
        UserError: the package lies in no clone of the repository, or the plan fails.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / "Snakefile").is_file():
        raise UserError(f"dag: {root / 'Snakefile'}: no such file; run it in a clone of the repository")
    command = [sys.executable, "-P", "-m", "snakemake", "-n", "--snakefile", str(root / "Snakefile")]
    command += ["--workflow-profile", str(root / "profiles" / "default"), "--config", "scale=paper"]

    def call() -> int:
        with tempfile.TemporaryDirectory(prefix="remdm-bench-") as empty:
            done = subprocess.run([*command, "--directory", empty], capture_output=True, text=True)
        jobs = re.search(r"^total +(\d+)", done.stdout + done.stderr, re.M)
        if done.returncode or jobs is None:
            raise UserError(f"dag: snakemake -n failed: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
        return int(jobs[1])

    return Case(work=call(), call=call, warm_up=0)


def _expert(layers: Layers, game: Game, temperature: float) -> Policy:
    network = make_network(build(ExpertConfig, layers), game.num_actions)
    return expert_policy(network, init_expert(network, KEY, game.obs_dim), temperature)


MAKERS: dict[str, Callable[[Layers], Case]] = {
    "env_step": env_step,
    "collect": collect,
    "ppo": ppo,
    "offline": offline,
    "online": online,
    "gradient": gradient,
    "sampling": sampling,
    "inference": inference,
    "checkpoint": write_checkpoint,
    "dag": dag,
}
