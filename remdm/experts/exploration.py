"""Novelty rewards, computed on whole rollouts: RND, ICM, and E3B on the latents of ICM."""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct

from remdm.base.fields import Role
from remdm.config.ppo import PPOConfig
from remdm.envs.craftax import Game
from remdm.envs.devices import split
from remdm.training.algorithm import Metrics
from remdm.training.epochs import train_epochs
from remdm.training.optimizer import adamw


class Experience(NamedTuple):
    """The parts of a rollout that exploration uses; arrays [T, E, ...]."""

    obs: jax.Array  # [T + 1, E, D]; after the end of an episode comes the first of the next
    action: jax.Array
    done: jax.Array  # whether the episode ended with the action

    def left(self, indices: jax.Array) -> jax.Array:
        """Observations before the actions with indices t E + e, [B, D]."""
        # Gathered in place, because a copy of a rollout's observations can take gigabytes.
        num_envs = self.action.shape[1]
        return split(self.obs[indices // num_envs, indices % num_envs])

    def reached(self, indices: jax.Array) -> jax.Array:
        """Observations after the actions with such indices, [B, D]."""
        return self.left(indices + self.action.shape[1])


class Exploration(NamedTuple):
    """A novelty reward as pure functions of a state of its own.

    Attributes:
        init: key -> state.
        reward: (state, experience) -> (state, intrinsic rewards [T, E]); 0 for an action that ends its
            episode, because the observation it led to is unknown.
        update: (key, state, experience) -> (state, metrics); trains the networks of the reward.
    """

    init: Callable[[jax.Array], Any]
    reward: Callable[[Any, Experience], tuple[Any, jax.Array]]
    update: Callable[[jax.Array, Any, Experience], tuple[Any, Metrics]]


def make_exploration(config: PPOConfig, game: Game, num_envs: int) -> Exploration | None:
    """The exploration that a configuration names; None if there is only the game's reward."""
    if not config.explores:
        return None
    if config.network.ppo_model_type == "ppo_rnd":
        return make_rnd(config, game)
    return make_icm(config, game, num_envs)


class MLP(nn.Module):
    """Three hidden layers of `layer_size` and an output of `output_size`."""

    layer_size: int
    output_size: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., D] -> [..., O]."""
        for _ in range(3):
            x = nn.relu(nn.Dense(self.layer_size)(x))
        return nn.Dense(self.output_size)(x)


@struct.dataclass
class RNDState:
    """A random network, and a network trained to predict its output."""

    target: Any
    predictor: Any
    opt_state: optax.OptState


def make_rnd(config: PPOConfig, game: Game) -> Exploration:
    """Random network distillation (arXiv 1810.12894): frequently seen observations are predicted well."""
    network = MLP(config.rnd.rnd_layer_size, config.rnd.rnd_output_size)
    optimizer = adamw(config.rnd.rnd_lr, config.ppo_max_grad_norm)

    def init(key: jax.Array) -> RNDState:
        target_key, predictor_key = jax.random.split(key)
        obs = jnp.zeros(game.obs_dim)
        predictor = network.init(predictor_key, obs)
        return RNDState(network.init(target_key, obs), predictor, optimizer.init(predictor))

    def error(predictor: Any, target: Any, obs: jax.Array, done: jax.Array) -> jax.Array:
        """Prediction errors [...] of observations [..., D] after actions; 0 at an episode's end."""
        difference = network.apply(predictor, obs) - network.apply(target, obs)
        return jnp.where(done, 0.0, jnp.mean(difference**2, axis=-1))

    def reward(state: RNDState, experience: Experience) -> tuple[RNDState, jax.Array]:
        novelty = error(state.predictor, state.target, experience.obs[1:], experience.done)
        return state, config.rnd.rnd_reward_coef * novelty

    def update(key: jax.Array, state: RNDState, experience: Experience) -> tuple[RNDState, Metrics]:
        done = experience.done.reshape(-1)

        def loss(predictor: Any, indices: jax.Array) -> jax.Array:
            novelty = error(predictor, state.target, experience.reached(indices), done[indices])
            return config.rnd.rnd_loss_coef * jnp.mean(novelty)

        def step(learner: tuple, indices: jax.Array) -> tuple[tuple, Metrics]:
            predictor, opt_state = learner
            value, grads = jax.value_and_grad(loss)(predictor, indices)
            updates, opt_state = optimizer.update(grads, opt_state, predictor)
            return (optax.apply_updates(predictor, updates), opt_state), {"exploration/rnd_loss": value}

        epochs, minibatches = config.rnd.rnd_update_epochs, config.ppo_num_minibatches
        learner = (state.predictor, state.opt_state)
        (predictor, opt_state), metrics = train_epochs(key, epochs, minibatches, len(done), step, learner)
        return RNDState(state.target, predictor, opt_state), metrics

    return Exploration(init, reward, update)


class ICM(nn.Module):
    """The three networks of intrinsic curiosity (arXiv 1705.05363)."""

    layer_size: int
    latent_size: int
    num_actions: int

    def setup(self) -> None:  # noqa: D102
        self.encoder = MLP(self.layer_size, self.latent_size)
        self.forward_model = MLP(self.layer_size, self.latent_size)
        self.inverse_model = MLP(self.layer_size, self.num_actions)

    def encode(self, obs: jax.Array) -> jax.Array:
        """Observations [..., D] -> latents [..., L]."""
        return self.encoder(obs)

    def predict(self, latent: jax.Array, action: jax.Array) -> jax.Array:
        """The latent [..., L] that an action [...] leads to."""
        return self.forward_model(jnp.concatenate([latent, jax.nn.one_hot(action, self.num_actions)], -1))

    def __call__(self, obs: jax.Array, next_obs: jax.Array, action: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Forward errors [...] and logits of the action [..., A].

        Latents are trained only by the inverse model, so they leave out what actions do not change, and
        training the forward model cannot make them trivial.
        """
        latent, next_latent = self.encode(obs), self.encode(next_obs)
        predicted = self.predict(jax.lax.stop_gradient(latent), action)
        error = jnp.mean((predicted - jax.lax.stop_gradient(next_latent)) ** 2, axis=-1)
        return error, self.inverse_model(jnp.concatenate([latent, next_latent], -1))


@struct.dataclass
class ICMState:
    """Networks, and for E3B the inverse covariance of the latents of each episode so far."""

    params: Any
    opt_state: optax.OptState
    inverse_covariance: Annotated[jax.Array | None, Role.SPLIT]  # [E, L, L]


def make_icm(config: PPOConfig, game: Game, num_envs: int) -> Exploration:
    """Intrinsic curiosity (arXiv 1705.05363), or E3B on its latents (arXiv 2210.05805)."""
    network = ICM(config.icm.icm_layer_size, config.icm.icm_latent_size, game.num_actions)
    optimizer = adamw(config.icm.icm_lr, config.ppo_max_grad_norm)
    fresh = jnp.eye(config.icm.icm_latent_size) / config.icm.e3b_lambda
    elliptical = config.ppo_exploration == "e3b"

    def init(key: jax.Array) -> ICMState:
        obs = jnp.zeros(game.obs_dim)
        params = network.init(key, obs, obs, jnp.zeros((), jnp.int32))
        inverse = jnp.broadcast_to(fresh, (num_envs, *fresh.shape)) if elliptical else None
        return ICMState(params, optimizer.init(params), inverse)

    def reward(state: ICMState, experience: Experience) -> tuple[ICMState, jax.Array]:
        done = experience.done
        latent = network.apply(state.params, experience.obs, method="encode")
        if elliptical:
            assert state.inverse_covariance is not None
            inverse, bonus = elliptical_bonus(state.inverse_covariance, latent[1:], done, fresh)
            return replace(state, inverse_covariance=inverse), config.icm.e3b_reward_coef * bonus
        predicted = network.apply(state.params, latent[:-1], experience.action, method="predict")
        error = jnp.mean((predicted - latent[1:]) ** 2, axis=-1)
        return state, config.icm.icm_reward_coef * jnp.where(done, 0.0, error)

    def loss(params: Any, obs: jax.Array, next_obs: jax.Array, action: jax.Array, done: jax.Array) -> tuple:
        error, logits = network.apply(params, obs, next_obs, action)
        mistake = optax.softmax_cross_entropy(logits, jax.nn.one_hot(action, game.num_actions))
        inverse_loss = jnp.mean(jnp.where(done, 0.0, mistake))
        metrics = {"exploration/inverse_loss": inverse_loss}
        if elliptical:  # the forward model is not used, and XLA does not compute it
            return config.icm.icm_inverse_coef * inverse_loss, metrics
        forward_loss = jnp.mean(jnp.where(done, 0.0, error))
        metrics["exploration/forward_loss"] = forward_loss
        both = config.icm.icm_forward_coef * forward_loss + config.icm.icm_inverse_coef * inverse_loss
        return both, metrics

    def update(key: jax.Array, state: ICMState, experience: Experience) -> tuple[ICMState, Metrics]:
        action, done = experience.action.reshape(-1), experience.done.reshape(-1)

        def step(learner: tuple, indices: jax.Array) -> tuple[tuple, Metrics]:
            params, opt_state = learner
            obs, next_obs = experience.left(indices), experience.reached(indices)
            grads, metrics = jax.grad(loss, has_aux=True)(
                params, obs, next_obs, action[indices], done[indices]
            )
            updates, opt_state = optimizer.update(grads, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), metrics

        epochs, minibatches = config.icm.icm_update_epochs, config.ppo_num_minibatches
        learner = (state.params, state.opt_state)
        (params, opt_state), metrics = train_epochs(key, epochs, minibatches, done.size, step, learner)
        return replace(state, params=params, opt_state=opt_state), metrics

    return Exploration(init, reward, update)


def elliptical_bonus(
    inverse: jax.Array, latent: jax.Array, done: jax.Array, fresh: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """E3B's episodic novelty b = phi' C^-1 phi, C = ridge + sum of phi phi' so far (arXiv 2210.05805, eq. 1).

    The inverse follows by the Sherman-Morrison formula.

    Args:
        inverse: C^-1 before the first step [E, L, L].
        latent: phi of the observation that each action led to [T, E, L].
        done: whether the episode ended with the action [T, E].
        fresh: C^-1 at the start of an episode [L, L].

    Returns:
        C^-1 after the last step, and b [T, E], 0 if the episode ended.
    """

    def step(inverse: jax.Array, now: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        latent, done = now
        # With rounded products, the default of GPUs, the inverse would become indefinite over time.
        solved = jnp.einsum("eij,ej->ei", inverse, latent, precision=jax.lax.Precision.HIGHEST)
        bonus = jnp.sum(latent * solved, axis=-1)
        grown = inverse - jnp.einsum("ei,ej->eij", solved, solved) / (1 + bonus)[:, None, None]
        return jnp.where(done[:, None, None], fresh, grown), jnp.where(done, 0.0, bonus)

    return jax.lax.scan(step, inverse, (latent, done))
