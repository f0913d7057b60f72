"""Fine-tuning a pretrained planner by reward: the algorithm of all arms."""

from dataclasses import replace
from functools import partial
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.scipy.special import entr

from remdm.ablations.arm import Arm, Numbers, Sample, numbers_of, time_range
from remdm.ablations.diagnostics import Measured, diagnose
from remdm.ablations.evaluation import evaluate
from remdm.ablations.problem import Batch, Problem, Targets, Windows, cloning
from remdm.ablations.trainable import rates
from remdm.base.fields import Role
from remdm.envs.batch import BatchEnv
from remdm.planners.window import valid_mean
from remdm.play.rollout import PlayState, episode_metrics, start
from remdm.training.algorithm import Algorithm, Metrics
from remdm.training.optimizer import adamw


@struct.dataclass
class FinetuningState:
    """Everything the next update depends on."""

    key: jax.Array
    trained: Any
    opt_state: optax.OptState
    average: Any  # exponential average of the network's parameters, which plays
    play: PlayState
    extra: Any  # the arm's own state
    update: Annotated[jax.Array, Role.SHARED]  # [], updates made
    pretrained: Annotated[Any, Role.GIVEN]
    numbers: Annotated[Numbers, Role.GIVEN]
    rates: Annotated[Any, Role.GIVEN]  # factors of the learning rate of each trained array, 0 where frozen


def make_finetuning(problem: Problem, val_env: BatchEnv, arm: Arm, pretrained: Any) -> Algorithm:
    """Return-weighted fine-tuning of `pretrained`, with the functions that `arm` replaces.

    An update plays a rollout with the average weights and makes one gradient step on its windows.
    """
    config, env = problem.config, problem.env
    optimizer = adamw(config.lr, config.max_grad_norm, config.weight_decay)
    decay = config.ablation_ema_decay

    @jax.jit
    def init(key: jax.Array) -> FinetuningState:
        key, env_key, trained_key, extra_key = jax.random.split(key, 4)
        # Copies, because two leaves of one buffer could not both be donated.
        trained = jax.tree.map(jnp.copy, arm.trained(trained_key, pretrained))
        factors = rates(arm.rate, trained, problem.network.n_layers)
        return FinetuningState(
            key=key,
            trained=trained,
            opt_state=optimizer.init(trained),
            average=jax.tree.map(jnp.copy, arm.merged(pretrained, trained)),
            play=start(env_key, env, ()),
            extra=arm.init_extra(problem, extra_key, pretrained),
            update=jnp.zeros((), jnp.int32),
            pretrained=jax.tree.map(jnp.copy, pretrained),
            numbers=numbers_of(arm, config),
            rates=jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), factors),
        )

    def descend(
        key: jax.Array, state: FinetuningState, batch: Batch, targets: Targets
    ) -> tuple[FinetuningState, Metrics]:
        """One gradient step of the trained arrays."""
        noised = problem.objective.noise(key, batch.plan, *time_range(state.numbers, state.update))

        def loss_fn(trained: Any) -> tuple[jax.Array, Metrics]:
            params = arm.merged(state.pretrained, trained)
            logits = problem.logits(params, batch, noised)
            loss, metrics = problem.elbo(logits, batch, noised, targets)
            if arm.penalty is None:
                return loss, metrics
            at = Sample(problem, params, state.pretrained, batch, noised, logits, state.extra)
            penalty = arm.penalty(at)
            return loss + penalty, metrics | {"loss": loss + penalty, "penalty": penalty}

        gradient, metrics = jax.grad(loss_fn, has_aux=True)(state.trained)
        params = arm.merged(state.pretrained, state.trained)
        gradient = arm.adjust(gradient, lambda: problem.gradient(params, batch, noised, cloning(batch)))
        gradient = where_trained(state.rates, gradient)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.trained)
        # Frozen arrays must not decay either.
        updates = where_trained(state.rates, jax.tree.map(jnp.multiply, state.rates, updates))
        trained = optax.apply_updates(state.trained, updates)
        metrics["grad_norm"] = optax.tree.norm(gradient)
        metrics = {f"diffusion/{name}": value for name, value in metrics.items()}
        return replace(state, trained=trained, opt_state=opt_state), metrics

    @jax.jit
    def update(state: FinetuningState) -> tuple[FinetuningState, Metrics]:
        key, rollout_key, draw_key, arm_key, noise_key = jax.random.split(state.key, 5)
        play, data = problem.play(rollout_key, state.average, state.play)
        windows = problem.windows(data)

        fresh = windows.draw(draw_key, config.ablation_batch_size)
        batch, extra, metrics = arm.prepare(problem, arm_key, fresh, state.extra)
        weights, extra = arm.weigh(state.numbers, batch, extra)
        targets = targets_of(batch, weights, arm.keep(state.numbers, batch))

        state = replace(state, extra=extra)
        at = Measured(arm.merged(state.pretrained, state.trained), state.pretrained, batch, targets)
        metrics |= diagnose(problem, state.key, at, state.numbers, state.update)
        metrics |= batch_metrics(windows, targets, config.ablation_win_threshold)
        metrics |= action_metrics(data.action, env.game.num_actions)
        metrics |= episode_metrics(data.step, env.game.achievements)
        state, step_metrics = descend(noise_key, state, batch, targets)

        params = arm.merged(state.pretrained, state.trained)
        # In this form, the average of a constant array is the array itself, bit for bit.
        average = jax.tree.map(lambda mean, x: mean + (1.0 - decay) * (x - mean), state.average, params)
        state = replace(state, key=key, play=play, average=average, update=state.update + 1)
        return state, metrics | step_metrics

    return Algorithm(
        init=init,
        update=update,
        params=lambda state: state.average,
        adopt=None,
        num_updates=config.num_updates,
        frames_per_update=config.frames_per_update,
        validate=partial(evaluate, problem, val_env),
        val_every=config.ablation_eval_every,
    )


def where_trained(rates: Any, tree: Any) -> Any:
    """The tree with zeros in place of frozen arrays."""
    return jax.tree.map(lambda rate, x: jnp.where(rate > 0, x, 0.0), rates, tree)


def targets_of(batch: Batch, weights: jax.Array, kept: jax.Array) -> Targets:
    """The targets whose weights [B] make the loss a mean over the windows kept [B].

    An invalid window that is kept contributes 0 to that mean, as in all training of planners.
    """
    weights = weights * (kept.size / jnp.maximum(jnp.sum(kept), 1))
    return Targets(batch.valid & kept, jnp.where(kept, weights, 0.0))


def action_metrics(action: jax.Array, num_actions: int) -> Metrics:
    """Diversity of the actions [T, E] of a rollout: entropy in nats, and the number of distinct actions."""
    counts = jnp.bincount(action.reshape(-1), length=num_actions).astype(jnp.float32)
    share = counts / jnp.sum(counts)
    return {
        "train/action_entropy": jnp.sum(entr(share)),
        "train/distinct_actions": jnp.sum(counts > 0).astype(jnp.float32),
    }


def batch_metrics(windows: Windows, targets: Targets, win_threshold: float) -> Metrics:
    """Returns of the rollout's windows, and the part of the batch that contributes to the gradient."""
    weights = jnp.where(targets.counts, targets.weights, 0.0)
    counted = jnp.sum(targets.counts)
    return {
        "train/window_return": valid_mean(windows.returns, windows.valid),
        "train/win_rate": valid_mean(windows.returns > win_threshold, windows.valid),
        "train/valid_fraction": jnp.mean(windows.valid),
        "train/counted_fraction": jnp.mean(targets.counts),
        "train/empty_batches": (counted == 0).astype(jnp.float32),
        "train/weight_mean": jnp.sum(weights) / jnp.maximum(counted, 1),
        # (sum w)^2 / sum w^2 (Kish, 1965); 0 for an empty batch.
        "train/effective_batch": jnp.sum(weights) ** 2 / jnp.maximum(jnp.sum(weights**2), 1e-30),
    }
