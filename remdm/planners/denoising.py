"""From configuration to network, objective and sampler."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from remdm.config.denoiser import DenoiserConfig
from remdm.config.planner import PlannerUpdateConfig
from remdm.config.sampler import SamplerConfig
from remdm.diffusion.loss import Objective
from remdm.diffusion.sampling import Sampler
from remdm.diffusion.schedule import SCHEDULES
from remdm.models.denoiser import Denoiser, cudnn_attends


def make_denoiser(config: DenoiserConfig, num_actions: int) -> Denoiser:
    """The network a configuration describes, with the fastest attention of this process's devices."""
    dtype = jnp.dtype(config.compute_dtype)
    return Denoiser(
        num_tokens=num_actions,
        plan_horizon=config.plan_horizon,
        d_model=config.d_model,
        n_heads=config.n_heads,
        n_layers=config.n_layers,
        d_ff=config.d_ff,
        obs_encoder_layers=config.obs_encoder_layers,
        obs_encoder_width=config.obs_encoder_width,
        time_scale=config.time_scale,
        past_observations=config.past_observations,
        past_actions=config.past_actions,
        dropout_rate=config.dropout_rate,
        dtype=dtype,
        fused_attention=cudnn_attends(dtype, config.d_model // config.n_heads),
    )


@partial(jax.jit, static_argnames=("denoiser", "obs_dim"))
def init_params(denoiser: Denoiser, key: jax.Array, obs_dim: int) -> Any:
    """Fresh parameters."""
    tokens = jnp.zeros((1, denoiser.plan_horizon), jnp.int32)
    return denoiser.init(key, jnp.zeros((1, obs_dim)), tokens, jnp.zeros(1))


def param_shapes(config: DenoiserConfig, obs_dim: int, num_actions: int) -> Any:
    """The shapes of the parameters of the network that a configuration describes."""
    # In float32, `make_denoiser` queries no devices, which would start JAX before its settings are made.
    denoiser = make_denoiser(config.model_copy(update={"compute_dtype": "float32"}), num_actions)
    key = jax.ShapeDtypeStruct((2,), jnp.uint32)  # a real one would start JAX too
    return jax.eval_shape(lambda key: init_params(denoiser, key, obs_dim), key)


def make_objective(config: PlannerUpdateConfig, schedule: str, num_actions: int) -> Objective:
    """The training bound a configuration describes."""
    return Objective(SCHEDULES[schedule], num_actions, config.train_sigma, config.label_smoothing)


def make_sampler(config: SamplerConfig, schedule: str, steps: int) -> Sampler:
    """The reverse process a configuration describes, in `steps` steps."""
    return Sampler(
        steps=steps,
        schedule=schedule,
        strategy=config.remask_strategy,
        eta=config.eta,
        use_loop=config.use_loop,
        t_on=config.t_on,
        t_off=config.t_off,
        temperature=config.temperature,
        top_p=config.top_p,
    )
