"""The gradient step that offline BC and DAgger share."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from remdm.config.planner import PlannerTrainingConfig
from remdm.diffusion.loss import mdlm_loss
from remdm.diffusion.schedule import SCHEDULES
from remdm.envs.batch import BatchEnv
from remdm.envs.policy import Policy
from remdm.envs.rollout import Transition, episode_metrics, rollout, start
from remdm.models.denoiser import Denoiser
from remdm.planners.denoising import make_sampler
from remdm.planners.policy import planner_policy
from remdm.training.algorithm import Metrics
from remdm.training.optimizer import adamw, at_step, cosine_schedule


class Minibatch(NamedTuple):
    """Windows as the denoiser sees them."""

    obs: jax.Array  # [B, D]
    plan: jax.Array  # [B, H]
    valid: jax.Array  # [B]
    weights: jax.Array | None  # [B]


class Learner(NamedTuple):
    """Parameters and optimiser; the parts of a state that a gradient step changes."""

    params: Any
    opt_state: optax.OptState


def make_optimizer(config: PlannerTrainingConfig) -> optax.GradientTransformation:
    """Clipped AdamW on a cosine over all gradient steps of the run."""
    total = config.num_updates * config.grad_steps_per_update
    schedule = cosine_schedule(config.lr, total, config.warmup_grad_steps)
    return adamw(schedule, config.max_grad_norm, config.weight_decay)


def adopted(learner: Learner, params: Any, update: int, config: PlannerTrainingConfig) -> Learner:
    """The learner that goes on with other parameters after so many updates."""
    return Learner(params, at_step(learner.opt_state, update * config.grad_steps_per_update))


def train_on(
    key: jax.Array,
    learner: Learner,
    batch: Minibatch,
    denoiser: Denoiser,
    optimizer: optax.GradientTransformation,
    config: PlannerTrainingConfig,
) -> tuple[Learner, Metrics]:
    """One gradient step on the masked-diffusion bound."""
    loss_key, dropout_key = jax.random.split(key)

    def loss_fn(params: Any) -> tuple[jax.Array, Metrics]:
        def denoise(tokens: jax.Array, t: jax.Array) -> jax.Array:
            return denoiser.apply(params, batch.obs, tokens, t, False, rngs={"dropout": dropout_key})

        return mdlm_loss(
            loss_key,
            denoise,
            batch.plan,
            SCHEDULES[config.diffusion_schedule],
            valid=batch.valid,
            weights=batch.weights,
            train_sigma=config.train_sigma,
            label_smoothing=config.label_smoothing,
            num_tokens=denoiser.num_tokens,
        )

    with jax.named_scope("gradient"):
        grads, metrics = jax.grad(loss_fn, has_aux=True)(learner.params)
    with jax.named_scope("optimiser"):
        updates, opt_state = optimizer.update(grads, learner.opt_state, learner.params)
    metrics["grad_norm"] = optax.tree.norm(grads)
    metrics = {f"diffusion/{name}": value for name, value in metrics.items()}
    return Learner(optax.apply_updates(learner.params, updates), opt_state), metrics


def train_in_minibatches(
    key: jax.Array,
    learner: Learner,
    numbers: jax.Array,
    gather: Callable[[jax.Array], Minibatch],
    step: Callable[[jax.Array, Learner, Minibatch], tuple[Learner, Metrics]],
) -> tuple[Learner, Metrics]:
    """A gradient step per row of `numbers` [N, B], gathered just before it; mean metrics."""

    def body(learner: Learner, inputs: tuple[jax.Array, jax.Array]) -> tuple[Learner, Metrics]:
        key, row = inputs
        with jax.named_scope("gathering"):
            batch = gather(row)
        return step(key, learner, batch)

    learner, metrics = jax.lax.scan(body, learner, (jax.random.split(key, numbers.shape[0]), numbers))
    return learner, jax.tree.map(jnp.mean, metrics)


def validate(
    key: jax.Array, env: BatchEnv, denoiser: Denoiser, params: Any, config: PlannerTrainingConfig
) -> Metrics:
    """Play `val_steps` steps with plans that start afresh."""
    sampler = make_sampler(config, config.diffusion_schedule, config.val_diffusion_steps)
    policy = planner_policy(denoiser, params, sampler, config.val_replan_every, inpaint_history=False)
    return validation_metrics(play_afresh(key, env, policy, config.val_steps), env)


def play_afresh(key: jax.Array, env: BatchEnv, policy: Policy, num_steps: int) -> Transition:
    """What a policy does in fresh worlds, arrays [T, E, ...]."""
    start_key, play_key = jax.random.split(key)
    state = start(start_key, env, policy.init(env.num_envs))
    return rollout(play_key, env, policy, state, num_steps)[1]


def validation_metrics(transitions: Transition, env: BatchEnv) -> Metrics:
    """Score and episodes of transitions [T, E, ...].

    `val/score` is the reward each environment collects in that time: unlike the mean over the
    episodes that happen to end, it is always defined and favours no short episode.
    """
    step = transitions.step
    episodes = episode_metrics(step, env.game.achievements)
    return {
        "val/score": jnp.sum(step.reward) / env.num_envs,
        **{name.replace("env/", "val/"): value for name, value in episodes.items()},
    }
