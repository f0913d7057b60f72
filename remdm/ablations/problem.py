"""What every arm fine-tunes: the network, the games, and the loss at a noised batch."""

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
    """What counts of a batch, and how much."""

    counts: jax.Array  # [B], whether a window is valid and kept
    weights: jax.Array  # [B]


@dataclass(frozen=True)
class Problem:
    """The fine-tuning that arms have in common.

    Dropout is off throughout: a penalty on the drift from the pretrained policy would else measure
    the noise of dropout, and gradients that are compared would differ by it.
    """

    config: AblationsConfig
    network: DenoiserConfig
    env: BatchEnv
    planner: Planner
    objective: Objective

    def play(self, key: jax.Array, params: Any, play: PlayState) -> tuple[PlayState, Transition]:
        """Roll out: plan, follow all of the plan, plan again; transitions are [T, E, ...].

        Their extras say whether the plan was made for an episode that had ended.
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
        """The windows of a rollout; what was planned for another episode is no decision."""
        horizon = self.network.plan_horizon
        valid = window_validity(data.step.done, horizon) & ~window_any(data.extras, horizon)
        return Windows(data.obs, data.action, valid, window_returns(data.step.reward, horizon))

    def logits(self, params: Any, batch: Batch, noised: Noised) -> jax.Array:
        """What the network predicts at a draw [B, H, V]."""
        return self.planner.denoiser.apply(params, batch.obs, noised.tokens, noised.t)

    def elbo(
        self, logits: jax.Array, batch: Batch, noised: Noised, targets: Targets
    ) -> tuple[jax.Array, Metrics]:
        """The weighted bound [] of logits [B, H, V] at a draw, and its metrics."""
        return self.objective.loss(noised, logits, batch.plan, targets.counts, targets.weights)

    def gradient(self, params: Any, batch: Batch, noised: Noised, targets: Targets) -> Any:
        """Gradient of the weighted bound at a draw."""
        return jax.grad(lambda p: self.elbo(self.logits(p, batch, noised), batch, noised, targets)[0])(params)

    def masked(self, batch: Batch, noised: Noised) -> jax.Array:
        """Masked positions of valid windows [B, H]: where penalties are taken."""
        return (noised.tokens == self.objective.num_tokens) & batch.valid[:, None]


def cloning(batch: Batch) -> Targets:
    """The targets of behaviour cloning: every valid window counts the same."""
    return Targets(batch.valid, jnp.ones_like(batch.returns))


def make_problem(config: AblationsConfig, network: DenoiserConfig, env: BatchEnv) -> Problem:
    """What a configuration describes, for the network of a checkpoint."""
    schedule, num_actions = network.diffusion_schedule, env.game.num_actions
    sampler = make_sampler(config.sampler, schedule, config.ablation_diffusion_steps)
    planner = Planner(make_denoiser(network, num_actions), sampler)
    return Problem(config, network, env, planner, make_objective(config, schedule, num_actions))
