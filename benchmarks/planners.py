"""Frames/s of training a planner, offline and by DAgger, beside the same algorithm as it is usually laid out.

    uv run python benchmarks/planners.py offline|online [--repeats 3]

`plain` does what the specification says in the most direct way: a fresh world for one environment in
sixteen at every step, windows built in full with their float32 observations, every epoch a shuffled copy of
them, flax's attention and dropout, a whole minibatch in the network at once, and the compiler's defaults.
Both are at the sizes of the preset `bench`, and the expert is untrained, which costs the same.
"""

import sys
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from pairs import OURS, Way, compare, parser, serve

from remdm.config.layers import Layer, base_layers, build
from remdm.config.offline import OfflineConfig
from remdm.config.online import OnlineConfig
from remdm.config.planner import PlannerTrainingConfig
from remdm.config.ppo import ExpertConfig
from remdm.diffusion.sampling import sample
from remdm.envs.batch import BatchEnv, make_batch_env
from remdm.envs.wrappers import LogWrapper, OptimisticResetVecEnvWrapper
from remdm.experts.acting import expert_policy
from remdm.experts.network import init_params as init_expert
from remdm.experts.network import make_network
from remdm.models.denoiser import ObservationEncoder, TimeEmbedding, sinusoidal_embedding
from remdm.planners.denoising import make_objective, make_sampler
from remdm.planners.learner import make_optimizer
from remdm.planners.offline import make_offline
from remdm.planners.online import make_online
from remdm.planners.window import WEIGHT_FLOOR, return_weights, window_returns, window_validity
from remdm.play.policy import Policy
from remdm.play.rollout import PlayState, advance, rollout, start

MODELS = {"offline": OfflineConfig, "online": OnlineConfig}
RATIO = 16


class PlainDenoiser(nn.Module):
    """The denoiser of flax's own parts; it encodes the observation at every call."""

    config: PlannerTrainingConfig
    num_tokens: int

    @nn.compact
    def __call__(
        self, obs: jax.Array, tokens: jax.Array, t: jax.Array, deterministic: bool = True
    ) -> jax.Array:
        """Observations [B, D], tokens [B, H], times [B] -> logits [B, H, V]."""
        c = self.config.denoiser
        encoder = ObservationEncoder(c.obs_encoder_layers, c.obs_encoder_width, c.d_model, jnp.float32)
        time = TimeEmbedding(c.d_model, c.time_scale, jnp.float32)
        plan = nn.Embed(self.num_tokens + 1, c.d_model)(tokens)
        x = jnp.concatenate([encoder(obs)[:, None], time(t)[:, None], plan], axis=1)
        x = x + sinusoidal_embedding(jnp.arange(x.shape[1]), c.d_model)
        for _ in range(c.n_layers):
            y = nn.MultiHeadDotProductAttention(c.n_heads)(nn.LayerNorm()(x))
            x = x + nn.Dropout(c.dropout_rate)(y, deterministic=deterministic)
            y = nn.gelu(nn.Dense(c.d_ff)(nn.LayerNorm()(x)))
            x = x + nn.Dropout(c.dropout_rate)(nn.Dense(c.d_model)(y), deterministic=deterministic)
        return nn.Dense(self.num_tokens)(nn.LayerNorm()(x[:, 2:]))


def windows_of(obs: jax.Array, action: jax.Array, done: jax.Array, horizon: int) -> tuple:
    """All windows of a rollout [T, E, ...] in full: observations [N, D], plans [N, H], validity [N]."""
    first = action.shape[0] - horizon + 1
    plans = jnp.stack([action[k : k + first] for k in range(horizon)], axis=-1)
    whole = obs[:first], plans, window_validity(done, horizon)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), whole)


def make_plain(config: Any, env: BatchEnv, val_env: BatchEnv, expert: Policy) -> Way:
    """Offline BC or DAgger, laid out directly."""
    network = PlainDenoiser(config, env.game.num_actions)
    optimizer = make_optimizer(config)
    objective = make_objective(config, config.denoiser.diffusion_schedule, network.num_tokens)
    horizon, num_envs, dagger = config.denoiser.plan_horizon, env.num_envs, isinstance(config, OnlineConfig)

    def init(key: jax.Array) -> tuple:
        tokens = jnp.zeros((1, horizon), jnp.int32)
        params = network.init(key, jnp.zeros((1, env.game.obs_dim)), tokens, jnp.zeros(1))
        held = ()
        if dagger:
            shapes = ((env.game.obs_dim,), jnp.float32), ((horizon,), jnp.int32), ((), bool)
            items = [jnp.zeros((config.buffer_size, *shape), dtype) for shape, dtype in shapes]
            held = (*items, jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))
        return key, params, optimizer.init(params), start(key, env, expert.init(num_envs)), held

    def gradient_step(carry: tuple, inputs: tuple) -> tuple:
        params, opt_state = carry
        key, (obs, plan, valid, weights) = inputs
        noise_key, dropout_key = jax.random.split(key)
        noised = objective.noise(noise_key, plan)

        def loss(params: Any) -> jax.Array:
            logits = network.apply(params, obs, *noised, False, rngs={"dropout": dropout_key})
            return objective.loss(noised, logits, plan, valid, weights)[0]

        grads = jax.grad(loss)(params)
        changes, opt_state = optimizer.update(grads, opt_state, params)
        return (optax.apply_updates(params, changes), opt_state), None

    def train(key: jax.Array, learner: tuple, data: tuple) -> tuple:
        def epoch(learner: tuple, key: jax.Array) -> tuple:
            order = jax.random.permutation(key, config.windows_per_update)
            count = config.num_minibatches
            order = order[: count * config.minibatch_size]
            shuffled = jax.tree.map(lambda x: x[order].reshape(count, -1, *x.shape[1:]), data)
            return jax.lax.scan(gradient_step, learner, (jax.random.split(key, count), shuffled))

        return jax.lax.scan(epoch, learner, jax.random.split(key, config.update_epochs))[0]

    def plan_actions(params: Any, key: jax.Array, obs: jax.Array, steps: int) -> jax.Array:
        zeros = jnp.zeros((obs.shape[0], horizon), jnp.int32)
        return sample(
            key,
            lambda tokens, t: network.apply(params, obs, tokens, t),
            # A last call of the network unmasks what is left.
            make_sampler(config.sampler, config.denoiser.diffusion_schedule, steps + 1),
            num_tokens=network.num_tokens,
            locked_tokens=zeros,
            locked=zeros.astype(bool),
        )[0]

    def validate(state: tuple) -> jax.Array:
        key, params = state[:2]

        def plan_and_follow(play: PlayState, key: jax.Array) -> tuple:
            plan = plan_actions(params, key, play.obs, config.validation.val_diffusion_steps)

            def follow(play: PlayState, inputs: tuple) -> tuple:
                new, step = advance(inputs[0], val_env, play, inputs[1], ())
                return new, step.reward

            every = config.validation.val_replan_every
            return jax.lax.scan(follow, play, (jax.random.split(key, every), plan.T[:every]))

        plans = jax.random.split(key, -(-config.validation.val_steps // config.validation.val_replan_every))
        return jax.lax.scan(plan_and_follow, start(key, val_env, ()), plans)[1].sum()

    def offline(state: tuple) -> tuple:
        key, params, opt_state, play, held = state
        key, play_key, train_key = jax.random.split(key, 3)
        play, data = rollout(play_key, env, expert, play, config.num_steps)
        windows = windows_of(data.obs, data.action, data.step.done, horizon)
        returns, valid = window_returns(data.step.reward, horizon), window_validity(data.step.done, horizon)
        weights = return_weights(returns, valid, WEIGHT_FLOOR, config.return_weight_cap)
        learner = train(train_key, (params, opt_state), (*windows, weights.reshape(-1)))
        return key, *learner, play, held

    def online(state: tuple) -> tuple:
        key, params, opt_state, play, (*items, place, size) = state
        key, play_key, train_key = jax.random.split(key, 3)

        def plan_and_follow(play: PlayState, key: jax.Array) -> tuple:
            plan = plan_actions(params, key, play.obs, config.diffusion_steps)

            def follow(play: PlayState, inputs: tuple) -> tuple:
                key, planned = inputs
                label, memory = expert.act(key, play.obs, play.prev_action, play.done, play.memory)
                action = jnp.where(jax.random.bernoulli(key, 0.5, (num_envs,)), label, planned)
                new, step = advance(key, env, play, action, memory)
                return new, (play.obs, label, step.done)

            return jax.lax.scan(follow, play, (jax.random.split(key, horizon), plan.T))

        plans = config.num_steps // horizon
        play, data = jax.lax.scan(plan_and_follow, play, jax.random.split(play_key, plans))
        obs, label, done = jax.tree.map(lambda x: x.reshape(config.num_steps, *x.shape[2:]), data)
        windows = windows_of(obs, label, done, horizon)
        count = config.windows_per_update
        indices = (place + jnp.arange(count)) % config.buffer_size
        items = [held.at[indices].set(new) for held, new in zip(items, windows, strict=True)]
        size = jnp.minimum(size + count, config.buffer_size)

        def step(learner: tuple, key: jax.Array) -> tuple:
            drawn = jax.random.randint(key, (config.minibatch_size,), 0, size)
            return gradient_step(learner, (key, (*(held[drawn] for held in items), None)))

        keys = jax.random.split(train_key, config.grad_steps_per_update)
        learner, _ = jax.lax.scan(step, (params, opt_state), keys)
        return key, *learner, play, (*items, (place + count) % config.buffer_size, size)

    return Way(init, online if dagger else offline, validate)


def make(config: Any, name: str) -> Way:
    """One way, by its name."""
    envs = [
        make_batch_env(config.env, number) for number in (config.num_envs, config.validation.val_num_envs)
    ]
    env = envs[0]
    network = make_network(build(ExpertConfig, base_layers("bench")), env.game.num_actions)
    temperature = 0.0 if isinstance(config, OnlineConfig) else config.collect_temperature
    params = init_expert(network, jax.random.PRNGKey(0), env.game.obs_dim)
    expert = expert_policy(network, params, temperature)
    if name == OURS:
        build_algorithm = make_online if isinstance(config, OnlineConfig) else make_offline
        algorithm = build_algorithm(config.on_device(jax.default_backend()), *envs, expert)
        key = jax.random.PRNGKey(0)
        return Way(
            algorithm.init,
            lambda state: algorithm.update(state)[0],
            lambda state: algorithm.validate(key, algorithm.params(state)),
        )
    wrapped = LogWrapper(env.game.env)
    plain = [
        BatchEnv(each.game, OptimisticResetVecEnvWrapper(wrapped, each.num_envs, RATIO)) for each in envs
    ]
    return make_plain(config, *plain, expert)


def main() -> None:
    """Print both rates and their ratio."""
    flags = parser(__doc__.splitlines()[0], repeats=3)
    flags.add_argument("stage", choices=MODELS)
    arguments = flags.parse_args()
    given = Layer("benchmark", {"seed": 0, "ppo_checkpoint_path": "none"})
    config = build(MODELS[arguments.stage], [*base_layers("bench"), given])
    if arguments.serve:
        return serve(partial(make, config), arguments.serve, warm_up=2)
    compare(
        [sys.executable, __file__, arguments.stage, "--serve"], config.frames_per_update, arguments.repeats
    )


if __name__ == "__main__":
    main()
