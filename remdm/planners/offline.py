"""Offline behaviour cloning: a planner learns the windows of live expert rollouts."""

import jax
import jax.numpy as jnp
from flax import struct

from remdm.config.offline import OfflineConfig
from remdm.envs.batch import BatchEnv
from remdm.envs.policy import Policy
from remdm.envs.rollout import PlayState, episode_metrics, rollout, start
from remdm.planners.denoising import init_params, make_denoiser
from remdm.planners.learner import (
    Learner,
    Minibatch,
    make_optimizer,
    train_in_minibatches,
    train_on,
    validate,
)
from remdm.planners.window import return_weights, window_places, window_returns, window_validity
from remdm.training.algorithm import Algorithm, Metrics


@struct.dataclass
class OfflineState:
    """Everything the next update depends on."""

    key: jax.Array
    learner: Learner
    expert: Policy
    play: PlayState


def make_offline(config: OfflineConfig, env: BatchEnv, val_env: BatchEnv, expert: Policy) -> Algorithm:
    """Behaviour cloning of `expert`, weighted by each window's return.

    An update rolls the expert out and goes over the rollout's windows in shuffled minibatches.
    """
    denoiser = make_denoiser(config, env.game.num_actions)
    optimizer = make_optimizer(config)
    horizon = config.plan_horizon

    def init(key: jax.Array) -> OfflineState:
        key, params_key, env_key = jax.random.split(key, 3)
        params = init_params(denoiser, params_key, env.game.obs_dim)
        play = start(env_key, env, expert.init(env.num_envs))
        return OfflineState(key, Learner(params, optimizer.init(params)), expert, play)

    def update(state: OfflineState) -> tuple[OfflineState, Metrics]:
        key, rollout_key, shuffle_key, train_key = jax.random.split(state.key, 4)
        play, data = rollout(rollout_key, env, state.expert, state.play, config.num_steps)

        valid = window_validity(data.step.done, horizon)
        returns = window_returns(data.step.reward, horizon)
        weights = return_weights(returns, config.return_weight_cap)

        def gather(numbers: jax.Array) -> Minibatch:
            first, envs, times = window_places(numbers, env.num_envs, horizon)
            return Minibatch(
                obs=data.obs[first, envs],
                plan=data.action[times, envs[:, None]],
                valid=valid[first, envs],
                weights=weights[first, envs],
            )

        shuffled = jax.vmap(lambda k: jax.random.permutation(k, config.windows_per_update))(
            jax.random.split(shuffle_key, config.update_epochs)
        )
        learner, metrics = train_in_minibatches(
            train_key,
            state.learner,
            shuffled.reshape(-1, config.minibatch_size),
            gather,
            lambda k, learner, batch: train_on(k, learner, batch, denoiser, optimizer, config),
        )
        metrics |= episode_metrics(data.step, env.game.achievements)
        metrics |= {
            "train/valid_fraction": jnp.mean(valid),
            "train/window_return": jnp.mean(returns),
            "train/weight_mean": jnp.mean(weights),
        }
        return OfflineState(key, learner, state.expert, play), metrics

    return Algorithm(
        init=init,
        update=update,
        params=lambda state: state.learner.params,
        num_updates=config.num_updates,
        frames_per_update=config.frames_per_update,
        validate=lambda key, state: validate(key, val_env, denoiser, state.learner.params, config),
        val_every=config.val_every,
    )
