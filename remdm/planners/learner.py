"""The gradient step that offline BC and DAgger share."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from remdm.config.planner import PlannerTrainingConfig
from remdm.diffusion.loss import Noised, Terms, draw_noised, loss_metrics, loss_terms
from remdm.diffusion.schedule import SCHEDULES
from remdm.envs.batch import BatchEnv
from remdm.models.denoiser import Denoiser
from remdm.planners.control import planner_policy
from remdm.planners.denoising import make_sampler
from remdm.play.policy import Policy
from remdm.play.rollout import Transition, episode_metrics, rollout, start
from remdm.training.algorithm import Metrics
from remdm.training.microbatch import microbatch_size, microbatched_grad
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
    numbers: jax.Array,
    gather: Callable[[jax.Array], Minibatch],
    denoiser: Denoiser,
    optimizer: optax.GradientTransformation,
    config: PlannerTrainingConfig,
) -> tuple[Learner, Metrics]:
    """One gradient step on the masked-diffusion bound of the windows of some numbers [B].

    Windows that are not valid add nothing to the loss; they come last, so no microbatch is spent on them.
    """
    noise_key, dropout_key = jax.random.split(key)
    schedule = SCHEDULES[config.diffusion_schedule]
    gather = jax.named_scope("gathering")(gather)
    count = len(numbers)
    size = microbatch_size(config.microbatch_size, count, config.plan_horizon)
    parts = -(-count // size)

    valid = gather(numbers).valid
    numbers = jnp.pad(numbers[jnp.argsort(~valid)], (0, parts * size - count))
    plan = gather(numbers).plan  # nobody asks for these windows' observations, so they are not gathered
    noised = draw_noised(noise_key, plan, schedule, denoiser.num_tokens)

    def loss(params: Any, places: jax.Array, part: jax.Array) -> tuple[jax.Array, Terms]:
        batch = gather(numbers[places])
        own = Noised(noised.tokens[places], noised.t[places])
        rngs = {"dropout": jax.random.fold_in(dropout_key, part)}
        terms = loss_terms(
            own,
            denoiser.apply(params, batch.obs, own.tokens, own.t, False, rngs=rngs),
            batch.plan,
            schedule,
            valid=places < jnp.sum(valid),
            weights=batch.weights,
            train_sigma=config.train_sigma,
            label_smoothing=config.label_smoothing,
        )
        return jnp.sum(terms.loss) / count, terms

    with jax.named_scope("gradient"):
        grads, terms = microbatched_grad(loss, learner.params, parts, size, jnp.sum(valid))
    with jax.named_scope("optimiser"):
        updates, opt_state = optimizer.update(grads, learner.opt_state, learner.params)
    terms, noised = jax.tree.map(lambda x: x[:count], (terms, noised))
    metrics = loss_metrics(terms, noised, denoiser.num_tokens)
    metrics["grad_norm"] = optax.tree.norm(grads)
    metrics = {f"diffusion/{name}": value for name, value in metrics.items()}
    return Learner(optax.apply_updates(learner.params, updates), opt_state), metrics


def train_in_minibatches(
    key: jax.Array,
    learner: Learner,
    numbers: jax.Array,
    step: Callable[[jax.Array, Learner, jax.Array], tuple[Learner, Metrics]],
) -> tuple[Learner, Metrics]:
    """A gradient step per row of `numbers` [N, B]; mean metrics."""

    def body(learner: Learner, inputs: tuple[jax.Array, jax.Array]) -> tuple[Learner, Metrics]:
        key, row = inputs
        return step(key, learner, row)

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
