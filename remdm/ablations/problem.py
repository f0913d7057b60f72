"""The fine-tuning problem of all arms: the network, the games, and the loss on a noised batch."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from remdm.config.ablations import AblationsConfig
from remdm.config.denoiser import DenoiserConfig
from remdm.diffusion.loss import Noised, Objective
from remdm.envs.batch import BatchEnv
from remdm.planners.control import Planner
from remdm.planners.denoising import make_denoiser, make_objective, make_sampler
from remdm.planners.window import at_start, plans_from, window_any, window_returns, window_validity
from remdm.play.rollout import PlayState, Transition, advance, play_plans
from remdm.training.algorithm import Metrics


class Batch(NamedTuple):
    """Windows of a gradient step."""

    obs: jax.Array  # [B, D]
    plan: jax.Array  # [B, H]
    valid: jax.Array  # [B]
    returns: jax.Array  # [B]


class Windows(NamedTuple):
    """All windows of a rollout, W for each of E environments."""

    obs: jax.Array  # [T, E, D]
    action: jax.Array  # [T, E]
    valid: jax.Array  # [W, E]
    returns: jax.Array  # [W, E]

    def draw(self, key: jax.Array, size: int) -> Batch:
        """Some of the windows, none twice."""
        indices = jax.random.permutation(key, self.valid.size)[:size]
        horizon = self.obs.shape[0] - self.valid.shape[0] + 1
        obs, valid, returns = at_start((self.obs, self.valid, self.returns), indices)
        return Batch(obs, plans_from(self.action, indices, horizon), valid, returns)


class Targets(NamedTuple):
    """Which windows of a batch count, and their weights."""

    counts: jax.Array  # [B], whether a window is valid and kept
    weights: jax.Array  # [B]


@dataclass(frozen=True)
class Problem:
    """The part of fine-tuning that all arms share.

    Dropout is always off, because a penalty on the drift from the pretrained policy would otherwise measure
    the noise of dropout, and gradients that are compared would differ by it.
    """

    config: AblationsConfig
    network: DenoiserConfig
    env: BatchEnv
    planner: Planner
    objective: Objective

    def play(self, key: jax.Array, params: Any, play: PlayState) -> tuple[PlayState, Transition]:
        """Play a rollout: plan, follow the whole plan, plan again; transitions are [T, E, ...].

        Their extras are whether the plan was made for an episode that had ended.
        """

        def plan(key: jax.Array, play: PlayState) -> jax.Array:
            return self.planner.plans(key, params, play.obs)

        def follow(
            key: jax.Array, play: PlayState, action: jax.Array, over: jax.Array
        ) -> tuple[PlayState, Transition]:
            new_play, step = advance(key, self.env, play, action, play.memory)
            return new_play, Transition(play.obs, action, step, over)

        return play_plans(key, plan, follow, play, self.config.num_steps, self.network.plan_horizon)

    def windows(self, data: Transition) -> Windows:
        """The windows of a rollout; those with actions planned for another episode are not valid."""
        horizon = self.network.plan_horizon
        valid = window_validity(data.step.done, horizon) & ~window_any(data.extras, horizon)
        return Windows(data.obs, data.action, valid, window_returns(data.step.reward, horizon))

    def logits(self, params: Any, batch: Batch, noised: Noised) -> jax.Array:
        """The network's predictions for a noised batch [B, H, V]."""
        return self.planner.denoiser.apply(params, batch.obs, noised.tokens, noised.t)

    def elbo(
        self, logits: jax.Array, batch: Batch, noised: Noised, targets: Targets
    ) -> tuple[jax.Array, Metrics]:
        """The weighted bound [] of logits [B, H, V] on a noised batch, and its metrics."""
        return self.objective.loss(noised, logits, batch.plan, targets.counts, targets.weights)

    def gradient(self, params: Any, batch: Batch, noised: Noised, targets: Targets) -> Any:
        """Gradient of the weighted bound on a noised batch."""
        return jax.grad(lambda p: self.elbo(self.logits(p, batch, noised), batch, noised, targets)[0])(params)

    def masked(self, batch: Batch, noised: Noised) -> jax.Array:
        """Masked positions of valid windows [B, H], on which penalties are computed."""
        return (noised.tokens == self.objective.num_tokens) & batch.valid[:, None]


def cloning(batch: Batch) -> Targets:
    """The targets of behaviour cloning: all valid windows have the same weight."""
    return Targets(batch.valid, jnp.ones_like(batch.returns))


def make_problem(config: AblationsConfig, network: DenoiserConfig, env: BatchEnv) -> Problem:
    """The problem a configuration describes, for the network of a checkpoint."""
    schedule, num_actions = network.diffusion_schedule, env.game.num_actions
    sampler = make_sampler(config.sampler, schedule, config.ablation_diffusion_steps)
    planner = Planner(make_denoiser(network, num_actions), sampler)
    return Problem(config, network, env, planner, make_objective(config, schedule, num_actions))
