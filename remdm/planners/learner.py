"""What offline BC and DAgger share: the gradient step, validation, and how a run is extended."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from remdm.config.planner import PlannerTrainingConfig
from remdm.diffusion.loss import Terms
from remdm.envs.batch import BatchEnv
from remdm.models.denoiser import Denoiser, hidden_matrices
from remdm.planners.control import Planner
from remdm.planners.denoising import make_objective, make_sampler
from remdm.play.policy import Policy
from remdm.play.rollout import Transition, episode_metrics, first_episodes, rollout, start
from remdm.training.algorithm import Algorithm, Metrics
from remdm.training.microbatch import microbatched_grad
from remdm.training.optimizer import adamw, at_step, cosine_schedule, muon_adamw


class Labels(NamedTuple):
    """Targets of a planner's predictions, and their weights."""

    plan: jax.Array  # [B, H]
    valid: jax.Array  # [B], False where a plan crosses an episode's end
    weights: jax.Array | None = None  # [B]
    known: jax.Array | None = None  # [B], first actions of the plan that were executed before the observation
    probabilities: jax.Array | None = None  # [B, H, V], distributions of the expert's actions in the plan


class Dataset(NamedTuple):
    """Windows to train on, gathered by their indices [B] when they are needed."""

    observe: Callable[[jax.Array], jax.Array]  # -> observations [B, D]
    label: Callable[[jax.Array], Labels]


class Learner(NamedTuple):
    """Parameters and optimiser state, which a gradient step changes."""

    params: Any
    opt_state: optax.OptState


def make_optimizer(config: PlannerTrainingConfig) -> optax.GradientTransformation:
    """The clipped optimiser with a cosine schedule over all gradient steps of the run."""
    keys = _schedule(config), config.max_grad_norm, config.weight_decay
    return adamw(*keys) if config.optimizer == "adamw" else muon_adamw(*keys, hidden_matrices)


def _schedule(config: PlannerTrainingConfig) -> optax.Schedule:
    total = config.num_updates * config.grad_steps_per_update
    return cosine_schedule(config.lr, total, config.warmup_grad_steps)


Step = Callable[[jax.Array, Learner, Dataset, jax.Array], tuple[Learner, Metrics]]


def make_step(
    config: PlannerTrainingConfig, denoiser: Denoiser, optimizer: optax.GradientTransformation
) -> Step:
    """One gradient step on the masked-diffusion bound of the windows with indices [B].

    Windows that are not valid add nothing to the loss; they are sorted last, so that microbatches skip them.
    """
    objective = make_objective(config, config.denoiser.diffusion_schedule, denoiser.num_tokens)

    def step(
        key: jax.Array, learner: Learner, dataset: Dataset, indices: jax.Array
    ) -> tuple[Learner, Metrics]:
        noise_key, dropout_key = jax.random.split(key)
        with jax.named_scope("gathering"):
            labels = dataset.label(indices)
            valid_first = jnp.argsort(~labels.valid)
            indices, labels = jax.tree.map(lambda x: x[valid_first], (indices, labels))
        noised = objective.noise(noise_key, labels.plan, known=labels.known)

        def loss(params: Any, samples: Any, counts: jax.Array, part: jax.Array) -> tuple[jax.Array, Terms]:
            subset, labels, noised = samples
            with jax.named_scope("gathering"):
                obs = dataset.observe(subset)
            rngs = {"dropout": jax.random.fold_in(dropout_key, part)}
            logits = denoiser.apply(params, obs, noised.tokens, noised.t, False, rngs=rngs)
            terms = objective.terms(noised, logits, labels.plan, counts, labels.weights, labels.probabilities)
            return jnp.sum(terms.loss) / len(indices), terms

        with jax.named_scope("gradient"):
            samples, counted = (indices, labels, noised), jnp.sum(labels.valid)
            grads, terms = microbatched_grad(loss, learner.params, samples, counted, config.microbatch_size)
        with jax.named_scope("optimiser"):
            updates, opt_state = optimizer.update(grads, learner.opt_state, learner.params)
        metrics = objective.metrics(terms, noised) | {"grad_norm": optax.tree.norm(grads)}
        metrics = {f"diffusion/{name}": value for name, value in metrics.items()}
        return Learner(optax.apply_updates(learner.params, updates), opt_state), metrics

    return step


def train_in_minibatches(
    key: jax.Array,
    learner: Learner,
    dataset: Dataset,
    indices: jax.Array,
    step: Step,
) -> tuple[Learner, Metrics]:
    """A gradient step per row of `indices` [N, B]; mean metrics."""

    def body(learner: Learner, inputs: tuple[jax.Array, jax.Array]) -> tuple[Learner, Metrics]:
        key, row = inputs
        return step(key, learner, dataset, row)

    learner, metrics = jax.lax.scan(body, learner, (jax.random.split(key, indices.shape[0]), indices))
    return learner, jax.tree.map(jnp.mean, metrics)


def imitation_algorithm(
    config: PlannerTrainingConfig,
    denoiser: Denoiser,
    val_env: BatchEnv,
    init: Callable[[jax.Array], Any],
    update: Callable[[Any], tuple[Any, Metrics]],
    count_from: Callable[[Any, int], Any] = lambda state, update: state,
) -> Algorithm:
    """Training of a planner by imitation, with a state whose field `learner` is a `Learner`.

    A validation plays `val_steps` steps with plans that start afresh.

    Args:
        count_from: (state, update) -> the state after so many updates, if it contains a count of them.
    """
    validation, schedule, grad_steps = config.validation, _schedule(config), config.grad_steps_per_update
    sampler = make_sampler(config.sampler, config.denoiser.diffusion_schedule, validation.val_diffusion_steps)

    def adopt(state: Any, params: Any, update: int) -> Any:
        learner = Learner(params, at_step(state.learner.opt_state, update * grad_steps))
        return count_from(replace(state, learner=learner), update)

    def validate(key: jax.Array, params: Any) -> Metrics:
        policy = Planner(denoiser, sampler).policy(params, validation.val_replan_every, inpaint_history=False)
        return validation_metrics(play_afresh(key, val_env, policy, validation.val_steps), val_env)

    return Algorithm(
        init=init,
        update=update,
        params=lambda state: state.learner.params,
        adopt=adopt,
        num_updates=config.num_updates,
        frames_per_update=config.frames_per_update,
        validate=validate,
        val_every=config.val_every,
        learning_rate=jax.jit(lambda update: schedule(update * grad_steps - 1)),
    )


def play_afresh(key: jax.Array, env: BatchEnv, policy: Policy, num_steps: int) -> Transition:
    """The transitions of a policy in fresh worlds, arrays [T, E, ...]."""
    start_key, play_key = jax.random.split(key)
    state = start(start_key, env, policy.init(env.num_envs))
    return rollout(play_key, env, policy, state, num_steps)[1]


def validation_metrics(transitions: Transition, env: BatchEnv) -> Metrics:
    """Score and episodes of transitions [T, E, ...].

    `val/score` is the mean reward of an environment in that time: unlike the mean over the episodes that end
    in it, it is always defined and not biased to short episodes. Neither is `val/first_return`, the mean
    return of first episodes; the share `val/unfinished` of them had not ended and counts as far as it went.
    """
    step = transitions.step
    episodes = episode_metrics(step, env.game.achievements)
    first, finished = first_episodes(step.reward, step.done)
    return {
        "val/score": jnp.sum(step.reward) / env.num_envs,
        "val/first_return": jnp.mean(first),
        "val/unfinished": jnp.mean(~finished),
        **{name.replace("env/", "val/"): value for name, value in episodes.items()},
    }
