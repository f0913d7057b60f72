"""Online DAgger: a planner learns what the expert would do in the states that both of them visit."""

from dataclasses import replace
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from remdm.base.fields import Role
from remdm.config.online import DaggerConfig
from remdm.envs.batch import BatchEnv
from remdm.envs.devices import num_shards, split
from remdm.envs.packing import Packed, pack, unpack
from remdm.planners.control import Planner
from remdm.planners.denoising import init_params, make_denoiser, make_sampler
from remdm.planners.learner import (
    Dataset,
    Labels,
    Learner,
    imitation_algorithm,
    make_optimizer,
    make_step,
    train_in_minibatches,
)
from remdm.planners.window import at_start, plans_from, prefix_lengths, window_validity
from remdm.play.buffer import CircularBuffer, draw_places, empty, insert
from remdm.play.policy import Policy
from remdm.play.rollout import PlayState, Transition, advance, episode_metrics, play_plans, start
from remdm.training.algorithm import Algorithm, Metrics


class LabelledWindows(NamedTuple):
    """Windows in the replay buffer, arrays [N, ...]."""

    obs: Packed  # of [N, D]
    plan: jax.Array  # [N, H], the known actions, then the expert's
    valid: jax.Array  # [N]
    known: jax.Array | None = None  # [N], first actions that were executed before the observation
    probabilities: jax.Array | None = None  # [N, H, V], distributions of the expert's actions


@struct.dataclass
class OnlineState:
    """Everything the next update depends on."""

    key: jax.Array
    learner: Learner
    expert: Annotated[Policy, Role.GIVEN]
    play: Annotated[PlayState, Role.SPLIT]  # its memory is the expert's
    buffer: Annotated[CircularBuffer, Role.REFILLABLE, Role.SPLIT]  # of LabelledWindows
    update: jax.Array  # [], updates made


def make_online(config: DaggerConfig, env: BatchEnv, val_env: BatchEnv, expert: Policy) -> Algorithm:
    """DAgger (arXiv 1011.0686, algorithm 3.1) with a diffusion planner as the learner.

    In each rollout the learner plans once per `replan_every` steps. Every step executes the expert's action
    with probability beta, or if the last plan was made for an earlier episode; else the learner's. The expert
    labels every visited state. A window's label is the expert's action at each *visited* state, which is the
    plan that the expert itself would follow only while beta is high.
    """
    denoiser = make_denoiser(config.denoiser, env.game.num_actions)
    optimizer = make_optimizer(config)
    step = make_step(config, denoiser, optimizer)
    planner = Planner(
        denoiser, make_sampler(config.sampler, config.denoiser.diffusion_schedule, config.diffusion_steps)
    )
    horizon, num_envs, num_actions = config.denoiser.plan_horizon, env.num_envs, env.game.num_actions
    one_window = LabelledWindows(
        obs=pack(jnp.zeros(env.game.obs_dim), env.game),
        plan=jnp.zeros(horizon, jnp.int32),
        valid=jnp.zeros((), bool),
        known=jnp.zeros((), jnp.int32) if config.prefix_share > 0 else None,
        probabilities=jnp.zeros((horizon, num_actions)) if config.soft_labels else None,
    )

    @jax.jit
    def init(key: jax.Array) -> OnlineState:
        key, params_key, env_key = jax.random.split(key, 3)
        params = init_params(denoiser, params_key, env.game.obs_dim)
        return OnlineState(
            key=key,
            learner=Learner(params, optimizer.init(params)),
            expert=expert,
            play=start(env_key, env, expert.init(num_envs)),
            buffer=empty(config.buffer_size, one_window),
            update=jnp.zeros((), jnp.int32),
        )

    def beta_of(state: OnlineState) -> jax.Array:
        """Probability of executing the expert's action."""
        return config.dagger_beta_init * config.beta_decay**state.update

    def play_mixture(key: jax.Array, state: OnlineState) -> tuple[PlayState, Transition]:
        """Play a rollout.

        The extras are the expert's actions [T, E], their probabilities [T, E, V] with `soft_labels`, else
        None, and whether the expert's action was executed [T, E].
        """
        beta = beta_of(state)

        def plan(key: jax.Array, play: PlayState) -> jax.Array:
            return planner.plans(key, state.learner.params, play.obs)

        def follow(
            key: jax.Array, play: PlayState, planned: jax.Array, over: jax.Array
        ) -> tuple[PlayState, Any]:
            expert_key, mix_key, env_key = jax.random.split(key, 3)
            if config.soft_labels:
                act = state.expert.act_with_probabilities
                label, memory, probabilities = act(expert_key, play, num_actions)
            else:
                (label, memory, _), probabilities = state.expert(expert_key, play), None
            # A plan ends with its episode: until the next one, the expert acts in the new world.
            by_expert = over | (jax.random.uniform(mix_key, (num_envs,)) < beta)
            action = jnp.where(by_expert, label, planned)
            new_play, step = advance(env_key, env, play, action, memory)
            obs = pack(play.obs, env.game)
            return new_play, Transition(obs, action, step, (label, probabilities, by_expert))

        return play_plans(key, plan, follow, state.play, config.num_steps, config.replan_every)

    @jax.jit
    def update(state: OnlineState) -> tuple[OnlineState, Metrics]:
        key, rollout_key, draw_key, train_key = jax.random.split(state.key, 4)
        play, data = play_mixture(rollout_key, state)
        label, probabilities, by_expert = data.extras
        valid = window_validity(data.step.done, horizon)

        known = prefix_lengths(jax.random.fold_in(draw_key, 1), valid.shape, horizon, config.prefix_share)

        def remember(buffer: CircularBuffer, indices: jax.Array) -> tuple[CircularBuffer, None]:
            plan, prefix, later = plans_from(label, indices, horizon), None, 0
            if known is not None:
                prefix = later = at_start(known, indices)
                executed = plans_from(data.action, indices, horizon)
                plan = jnp.where(jnp.arange(horizon) < prefix[:, None], executed, plan)
            obs = at_start(data.obs, indices, later)
            soft = None if probabilities is None else plans_from(probabilities, indices, horizon)
            return insert(buffer, LabelledWindows(obs, plan, at_start(valid, indices), prefix, soft)), None

        # One part per device, because each device gets a whole copy of what is inserted at once.
        parts = jnp.arange(config.windows_per_update).reshape(num_shards(), -1)
        buffer, _ = jax.lax.scan(remember, state.buffer, parts)

        def drawn(held: Any, indices: jax.Array) -> Any:
            return split(jax.tree.map(lambda x: x[indices], held))

        held = buffer.items
        windows = Dataset(
            observe=lambda indices: unpack(drawn(held.obs, indices), env.game),
            label=lambda indices: Labels(
                *drawn((held.plan, held.valid, None, held.known, held.probabilities), indices)
            ),
        )
        learner, metrics = train_in_minibatches(
            train_key,
            state.learner,
            windows,
            draw_places(draw_key, buffer, (config.grad_steps_per_update, config.minibatch_size)),
            step,
        )
        metrics |= episode_metrics(data.step, env.game.achievements)
        metrics |= {
            "dagger/beta": beta_of(state),
            "dagger/buffer_fill": buffer.size / buffer.capacity,
            "dagger/reward_mean": jnp.mean(data.step.reward),
            "dagger/valid_fraction": jnp.mean(valid),
            "dagger/agreement": jnp.mean(data.action == label, where=~by_expert),
        }
        return OnlineState(key, learner, state.expert, play, buffer, state.update + 1), metrics

    def count_from(state: OnlineState, update: int) -> OnlineState:
        return replace(state, update=jnp.asarray(update, jnp.int32))

    return imitation_algorithm(config, denoiser, val_env, init, update, count_from)
