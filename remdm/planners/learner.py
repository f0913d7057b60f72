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
from remdm.envs.policy import Policy
from remdm.envs.rollout import Transition, episode_metrics, rollout, start
from remdm.models.denoiser import Denoiser
from remdm.planners.denoising import make_sampler
from remdm.planners.policy import planner_policy
from remdm.training.algorithm import Metrics
from remdm.training.optimizer import adamw, at_step, cosine_schedule

CACHED_TOKENS = 4096  # whose activations a CPU's caches hold


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

    Windows pass the network in microbatches, whose gradients are added up, so that the activations of
    one exist at a time. Windows that are not valid add nothing to the loss: they come last, and
    microbatches of nothing else are left out (but for `num_repeats`: under `vmap` they are computed).
    """
    noise_key, dropout_key = jax.random.split(key)
    schedule = SCHEDULES[config.diffusion_schedule]
    gather = jax.named_scope("gathering")(gather)
    count, size = len(numbers), microbatch_size(config, len(numbers))
    parts = -(-count // size)

    valid = gather(numbers).valid
    numbers = jnp.pad(numbers[jnp.argsort(~valid)], (0, parts * size - count))
    plan = gather(numbers).plan  # nobody asks for these windows' observations, so they are not gathered
    noised = draw_noised(noise_key, plan, schedule, denoiser.num_tokens)

    def gradient(part: jax.Array) -> tuple[Any, Terms]:
        """Of a microbatch by its number."""
        places = part * size + jnp.arange(size)
        batch = gather(numbers[places])
        own = Noised(noised.tokens[places], noised.t[places])
        rngs = {"dropout": jax.random.fold_in(dropout_key, part)}

        def loss_fn(params: Any) -> tuple[jax.Array, Terms]:
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

        return jax.grad(loss_fn, has_aux=True)(learner.params)

    with jax.named_scope("gradient"):
        grads, terms = _added_up(gradient, parts, -(-jnp.sum(valid) // size))
    with jax.named_scope("optimiser"):
        updates, opt_state = optimizer.update(grads, learner.opt_state, learner.params)
    terms, noised = jax.tree.map(lambda x: x[:count], (terms, noised))
    metrics = loss_metrics(terms, noised, denoiser.num_tokens)
    metrics["grad_norm"] = optax.tree.norm(grads)
    metrics = {f"diffusion/{name}": value for name, value in metrics.items()}
    return Learner(optax.apply_updates(learner.params, updates), opt_state), metrics


def _added_up(
    gradient: Callable[[jax.Array], tuple[Any, Terms]], parts: int, needed: jax.Array
) -> tuple[Any, Terms]:
    """The sum of the gradients of all parts, and their terms in a row; parts after `needed` are zero."""
    if parts == 1:
        return gradient(jnp.zeros((), jnp.int32))
    nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(gradient, needed))

    def add(grads: Any, part: jax.Array) -> tuple[Any, Terms]:
        own, terms = jax.lax.cond(part < needed, gradient, lambda _: nothing, part)
        return jax.tree.map(jnp.add, grads, own), terms

    grads, terms = jax.lax.scan(add, nothing[0], jnp.arange(parts))
    return grads, jax.tree.map(jnp.ravel, terms)


def microbatch_size(config: PlannerTrainingConfig, count: int) -> int:
    """Windows of `count` that pass the network at once, in equal parts of it."""
    most = config.microbatch_size
    if most is None:
        # On CPUs, activations that stay in the caches are worth a third of the time.
        most = max(1, CACHED_TOKENS // config.plan_horizon) if jax.default_backend() == "cpu" else count
    return -(-count // -(-count // most))


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
