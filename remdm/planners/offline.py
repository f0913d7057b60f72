"""Offline behaviour cloning: a planner learns the windows of live expert rollouts."""

from functools import partial
from typing import Annotated

import jax
import jax.numpy as jnp
from flax import struct

from remdm.base.fields import Role
from remdm.config.offline import OfflineConfig
from remdm.envs.batch import BatchEnv
from remdm.envs.craftax import Game
from remdm.envs.devices import split
from remdm.envs.packing import unpack
from remdm.planners.denoising import init_params, make_denoiser
from remdm.planners.learner import (
    Dataset,
    Labels,
    Learner,
    imitation_algorithm,
    make_optimizer,
    make_step,
    train_in_minibatches,
)
from remdm.planners.window import (
    WEIGHT_FLOOR,
    at_start,
    plans_from,
    prefix_lengths,
    return_weights,
    valid_mean,
    window_returns,
    window_validity,
)
from remdm.play.policy import Policy
from remdm.play.rollout import Act, PlayState, Transition, episode_metrics, rollout, start
from remdm.training.algorithm import Algorithm, Metrics


@struct.dataclass
class OfflineState:
    """Everything the next update depends on."""

    key: jax.Array
    learner: Learner
    expert: Annotated[Policy, Role.GIVEN]
    play: Annotated[PlayState, Role.SPLIT]


def expert_windows(
    data: Transition,
    game: Game,
    horizon: int,
    weight_cap: float,
    known: jax.Array | None = None,
    soft_labels: bool = False,
) -> tuple[Dataset, Metrics]:
    """The windows of transitions [T, E, ...] with packed observations, weighted by their returns.

    Args:
        known: how many actions of each window precede its observation [W, E]; None means none.
        soft_labels: whether the extras, the probabilities of the actions [T, E, V], are labels too.
    """
    returns = window_returns(data.step.reward, horizon)
    valid = window_validity(data.step.done, horizon)
    weights = return_weights(returns, valid, WEIGHT_FLOOR, weight_cap)

    def observe(indices: jax.Array) -> jax.Array:
        later = 0 if known is None else at_start(known, indices)
        return split(unpack(at_start(data.obs, indices, later), game))

    def label(indices: jax.Array) -> Labels:
        probabilities = plans_from(data.extras, indices, horizon) if soft_labels else None
        plan = plans_from(data.action, indices, horizon)
        labels = Labels(plan, *at_start((valid, weights, known), indices))
        return split(labels._replace(probabilities=probabilities))

    return Dataset(observe, label), {
        "train/valid_fraction": jnp.mean(valid),
        "train/window_return": valid_mean(returns, valid),
        "train/weight_mean": valid_mean(weights, valid),
    }


def make_offline(config: OfflineConfig, env: BatchEnv, val_env: BatchEnv, expert: Policy) -> Algorithm:
    """Behaviour cloning of `expert`, weighted by each window's return.

    An update rolls the expert out and trains on the rollout's windows in shuffled minibatches.
    """
    denoiser = make_denoiser(config.denoiser, env.game.num_actions)
    optimizer = make_optimizer(config)
    step = make_step(config, denoiser, optimizer)

    @jax.jit
    def init(key: jax.Array) -> OfflineState:
        key, params_key, env_key = jax.random.split(key, 3)
        params = init_params(denoiser, params_key, env.game.obs_dim)
        play = start(env_key, env, expert.init(env.num_envs))
        return OfflineState(key, Learner(params, optimizer.init(params)), expert, play)

    @jax.jit
    def update(state: OfflineState) -> tuple[OfflineState, Metrics]:
        key, rollout_key, shuffle_key, train_key = jax.random.split(state.key, 4)
        act: Act = state.expert
        if config.soft_labels:
            act = partial(state.expert.act_with_probabilities, num_actions=env.game.num_actions)
        play, data = rollout(
            rollout_key,
            env,
            act,
            state.play,
            config.num_steps,
            keep=lambda played: played.packed(env.game),
        )

        horizon = config.denoiser.plan_horizon
        shape = config.num_steps - horizon + 1, config.num_envs
        known = prefix_lengths(jax.random.fold_in(shuffle_key, 1), shape, horizon, config.prefix_share)
        windows, earned = expert_windows(
            data, env.game, horizon, config.return_weight_cap, known, config.soft_labels
        )
        shuffled = jax.vmap(lambda k: jax.random.permutation(k, config.windows_per_update))(
            jax.random.split(shuffle_key, config.update_epochs)
        )
        learner, metrics = train_in_minibatches(
            train_key,
            state.learner,
            windows,
            shuffled[:, : config.num_minibatches * config.minibatch_size].reshape(-1, config.minibatch_size),
            step,
        )
        metrics |= episode_metrics(data.step, env.game.achievements) | earned
        return OfflineState(key, learner, state.expert, play), metrics

    return imitation_algorithm(config, denoiser, val_env, init, update)
