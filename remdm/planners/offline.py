"""Offline behaviour cloning: a planner learns the windows of live expert rollouts."""

from dataclasses import replace
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from remdm.base.fields import Role
from remdm.config.offline import OfflineConfig
from remdm.envs.batch import BatchEnv
from remdm.envs.craftax import Game
from remdm.envs.devices import split
from remdm.envs.packing import Packed, unpack
from remdm.planners.denoising import init_params, make_denoiser
from remdm.planners.learner import (
    Learner,
    Minibatch,
    adopted,
    make_optimizer,
    train_in_minibatches,
    train_on,
    validate,
)
from remdm.planners.window import return_weights, window_places, window_returns, window_validity
from remdm.play.policy import Policy
from remdm.play.rollout import PlayState, Transition, episode_metrics, rollout, start
from remdm.training.algorithm import Algorithm, Metrics


@struct.dataclass
class OfflineState:
    """Everything the next update depends on."""

    key: jax.Array
    learner: Learner
    expert: Annotated[Policy, Role.GIVEN]
    play: Annotated[PlayState, Role.SPLIT]


class ExpertWindows(NamedTuple):
    """All windows of a rollout, W for each of E environments, gathered when they are needed."""

    game: Game
    obs: Packed  # of [T, E, D]
    action: jax.Array  # [T, E]
    valid: jax.Array  # [W, E]
    returns: jax.Array  # [W, E]
    weights: jax.Array  # [W, E]

    @classmethod
    def of(cls, data: Transition, game: Game, horizon: int, weight_cap: float) -> "ExpertWindows":
        """The windows of transitions [T, E, ...] with packed observations, weighted by what each earns."""
        returns = window_returns(data.step.reward, horizon)
        valid = window_validity(data.step.done, horizon)
        return cls(game, data.obs, data.action, valid, returns, return_weights(returns, weight_cap))

    def gather(self, numbers: jax.Array) -> Minibatch:
        """The windows of some numbers [B]."""
        num_steps, num_envs = self.action.shape
        first, env, times = window_places(numbers, num_envs, num_steps - self.valid.shape[0] + 1)
        return split(
            Minibatch(
                obs=unpack(jax.tree.map(lambda x: x[first, env], self.obs), self.game),
                plan=self.action[times, env[:, None]],
                valid=self.valid[first, env],
                weights=self.weights[first, env],
            )
        )


def make_offline(config: OfflineConfig, env: BatchEnv, val_env: BatchEnv, expert: Policy) -> Algorithm:
    """Behaviour cloning of `expert`, weighted by each window's return.

    An update rolls the expert out and goes over the rollout's windows in shuffled minibatches.
    """
    denoiser = make_denoiser(config, env.game.num_actions)
    optimizer = make_optimizer(config)
    horizon = config.plan_horizon

    @jax.jit
    def init(key: jax.Array) -> OfflineState:
        key, params_key, env_key = jax.random.split(key, 3)
        params = init_params(denoiser, params_key, env.game.obs_dim)
        play = start(env_key, env, expert.init(env.num_envs))
        return OfflineState(key, Learner(params, optimizer.init(params)), expert, play)

    @jax.jit
    def update(state: OfflineState) -> tuple[OfflineState, Metrics]:
        key, rollout_key, shuffle_key, train_key = jax.random.split(state.key, 4)
        play, data = rollout(
            rollout_key,
            env,
            state.expert,
            state.play,
            config.num_steps,
            keep=lambda played: played.packed(env.game),
        )

        windows = ExpertWindows.of(data, env.game, horizon, config.return_weight_cap)
        shuffled = jax.vmap(lambda k: jax.random.permutation(k, config.windows_per_update))(
            jax.random.split(shuffle_key, config.update_epochs)
        )
        learner, metrics = train_in_minibatches(
            train_key,
            state.learner,
            shuffled[:, : config.num_minibatches * config.minibatch_size].reshape(-1, config.minibatch_size),
            lambda k, learner, row: train_on(k, learner, row, windows.gather, denoiser, optimizer, config),
        )
        metrics |= episode_metrics(data.step, env.game.achievements)
        metrics |= {
            "train/valid_fraction": jnp.mean(windows.valid),
            "train/window_return": jnp.mean(windows.returns),
            "train/weight_mean": jnp.mean(windows.weights),
        }
        return OfflineState(key, learner, state.expert, play), metrics

    def adopt(state: OfflineState, params: Any, update: int) -> OfflineState:
        return replace(state, learner=adopted(state.learner, params, update, config))

    return Algorithm(
        init=init,
        update=update,
        params=lambda state: state.learner.params,
        adopt=adopt,
        num_updates=config.num_updates,
        frames_per_update=config.frames_per_update,
        validate=lambda key, params: validate(key, val_env, denoiser, params, config),
        val_every=config.val_every,
    )
