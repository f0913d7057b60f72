"""The denoiser: a bidirectional transformer over an observation, a time and the tokens of a plan."""

import re
from math import prod
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from optax.contrib import MuonDimensionNumbers


def sinusoidal_embedding(positions: jax.Array, width: int, max_period: float = 10_000.0) -> jax.Array:
    """Sines and cosines of positions [..] at geometric frequencies -> [.., width] (arXiv 1706.03762)."""
    half = width // 2
    frequencies = jnp.exp(-jnp.log(max_period) * jnp.arange(half) / half)
    angles = positions.astype(jnp.float32)[..., None] * frequencies
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)


@jax.custom_vjp
def embed(table: jax.Array, tokens: jax.Array) -> jax.Array:
    """Rows [.., D] of a table [V, D] for tokens [..], with a matrix product as its gradient.

    The gradient of an indexed read is a scatter that adds, which is a loop over all tokens on GPUs where runs
    must repeat bit for bit.
    """
    return jnp.take(table, tokens, axis=0)


def _embed(table: jax.Array, tokens: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return embed(table, tokens), (table, tokens)


def _embed_gradient(residuals: tuple[jax.Array, jax.Array], grad: jax.Array) -> tuple[jax.Array, None]:
    table, tokens = residuals
    is_row = jax.nn.one_hot(tokens.reshape(-1), len(table), axis=0, dtype=grad.dtype)
    grad = grad.reshape(-1, grad.shape[-1])
    # GPUs would otherwise round to TF32; a sum of rows is not rounded.
    precise = jax.lax.Precision.HIGHEST
    summed = jnp.matmul(is_row, grad, precision=precise, preferred_element_type=jnp.float32)
    return summed.astype(table.dtype), None


embed.defvjp(_embed, _embed_gradient)


def hidden_matrices(params: Any) -> Any:
    """The axes of input and output of each hidden layer's kernel, for Muon; None for all other arrays.

    Kernels that take observations and that give the logits are not hidden.
    """

    def of(path: tuple, x: jax.Array) -> MuonDimensionNumbers | None:
        *layers, name = (str(part.key) for part in path)
        outermost = layers[-1] in ("head", "past_encoder") or layers[-2:] == ["obs_encoder", "Dense_0"]
        if name != "kernel" or outermost:
            return None
        inputs = 2 if layers[-1] == "out" else 1  # an attention's output takes [heads, width]
        axes = tuple(range(x.ndim))
        return MuonDimensionNumbers(axes[:inputs], axes[inputs:])

    return jax.tree.map_with_path(of, params)


class ObservationEncoder(nn.Module):
    """An observation as one token: Dense-LayerNorm-relu, Dense-relu ..., then a projection."""

    layers: int
    width: int
    d_model: int
    dtype: Any

    @nn.compact
    def __call__(self, obs: jax.Array) -> jax.Array:
        """Observations [B, D] -> [B, d_model]."""
        x = nn.Dense(self.width, dtype=self.dtype)(obs)
        x = nn.relu(nn.LayerNorm(dtype=self.dtype)(x))
        for _ in range(self.layers - 1):
            x = nn.relu(nn.Dense(self.width, dtype=self.dtype)(x))
        return nn.Dense(self.d_model, dtype=self.dtype)(x)


class TimeEmbedding(nn.Module):
    """The diffusion time as one token; `scale` spreads times in [0, 1] over the periods."""

    d_model: int
    scale: float
    dtype: Any

    @nn.compact
    def __call__(self, t: jax.Array) -> jax.Array:
        """Times [B] -> [B, d_model]."""
        x = sinusoidal_embedding(self.scale * t, self.d_model)
        x = nn.gelu(nn.Dense(self.d_model, dtype=self.dtype)(x))
        return nn.Dense(self.d_model, dtype=self.dtype)(x)


def cudnn_attends(dtype: Any, width: int) -> bool:
    """Whether cuDNN has attention for heads of this type and width on this process's devices.

    It has it for bfloat16 from compute capability 8.0 on, for widths that all such GPUs support forward and
    backward by its support matrix.
    """
    if dtype != jnp.bfloat16 or width % 8 or width > 128:
        return False
    capability = str(getattr(jax.local_devices()[0], "compute_capability", ""))  # ROCm's is not a number
    return re.fullmatch(r"\d+\.\d+", capability) is not None and float(capability) >= 8.0


def attend(query: jax.Array, key: jax.Array, value: jax.Array, fused: bool = False) -> jax.Array:
    """Softmax attention (arXiv 1706.03762), [B, S, N, D] each -> [B, S, N, D].

    Heads are folded into the batch: on CPUs, matrix products with one batch axis take half the time of those
    with two. `fused` uses cuDNN, which writes neither scores nor transposes to memory.
    """
    if fused:
        return jax.nn.dot_product_attention(query, key, value, implementation="cudnn")
    batch, length, heads, width = query.shape

    def fold(x: jax.Array) -> jax.Array:
        return x.transpose(0, 2, 1, 3).reshape(batch * heads, length, width)

    scores = jax.lax.batch_matmul(fold(query) / jnp.sqrt(width).astype(query.dtype), fold(key).mT)
    mixed = jax.lax.batch_matmul(nn.softmax(scores), fold(value))
    return mixed.reshape(batch, heads, length, width).transpose(0, 2, 1, 3)


class Projection(nn.Module):
    """The parameters of a dense layer between tokens and heads."""

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @nn.compact
    def __call__(self) -> tuple[jax.Array, jax.Array]:
        """The kernel as a matrix, and the bias as a vector."""
        matrix = prod(self.inputs), prod(self.outputs)

        def drawn(key: jax.Array) -> jax.Array:
            return nn.initializers.lecun_normal()(key, matrix).reshape(*self.inputs, *self.outputs)

        kernel = self.param("kernel", drawn)
        bias = self.param("bias", nn.initializers.zeros, self.outputs)
        return kernel.reshape(matrix), bias.reshape(-1)


class Attention(nn.Module):
    """Multi-head self-attention; queries, keys and values are computed by one product."""

    n_heads: int
    dtype: Any
    fused: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Tokens [B, S, d_model] -> [B, S, d_model]."""
        width = x.shape[-1]
        heads = (self.n_heads, width // self.n_heads)

        def apply(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
            return x.astype(self.dtype) @ kernel.astype(self.dtype) + bias.astype(self.dtype)

        three = [Projection((width,), heads, name=name)() for name in ("query", "key", "value")]
        kernels, biases = zip(*three, strict=True)
        projected = apply(x, jnp.concatenate(kernels, axis=1), jnp.concatenate(biases))
        query, key, value = (y.reshape(*y.shape[:2], *heads) for y in jnp.split(projected, 3, axis=-1))
        mixed = attend(query, key, value, self.fused)
        return apply(mixed.reshape(x.shape), *Projection(heads, (width,), name="out")())


class Dropout(nn.Module):
    """Dropout whose random numbers are hashes of positions, at a tenth of the cost of a generator's.

    They are seeded by two words of the key. The hash is a finaliser with constants found by search
    (C. Wellons's "hash prospector", 2018); it is elementwise, so it is fused and never stored.
    """

    rate: float

    @nn.compact
    def __call__(self, x: jax.Array, deterministic: bool) -> jax.Array:
        """Each element is zero with probability `rate`, else divided by 1 - `rate`."""
        if deterministic or self.rate == 0.0:
            return x
        first, second = jax.random.bits(self.make_rng("dropout"), (2,))
        position = jax.lax.iota(jnp.uint32, x.size).reshape(x.shape)
        bits = position * jnp.uint32(0x9E3779B1) + first
        bits = (bits ^ (bits >> 16)) * jnp.uint32(0x21F0AAAD) ^ second
        bits = (bits ^ (bits >> 15)) * jnp.uint32(0x735A2D97)
        bits = bits ^ (bits >> 15)
        return jnp.where(bits < jnp.uint32(self.rate * 2**32), 0, x / (1.0 - self.rate))


class Block(nn.Module):
    """A pre-norm transformer block without a causal mask."""

    n_heads: int
    d_ff: int
    dropout_rate: float
    dtype: Any
    fused_attention: bool

    @nn.compact
    def __call__(self, x: jax.Array, deterministic: bool) -> jax.Array:
        """Tokens [B, S, d_model] -> [B, S, d_model]."""
        y = nn.LayerNorm(dtype=self.dtype)(x)
        y = Attention(self.n_heads, self.dtype, self.fused_attention, name="attention")(y)
        x = x + Dropout(self.dropout_rate)(y, deterministic)
        y = nn.LayerNorm(dtype=self.dtype)(x)
        y = nn.gelu(nn.Dense(self.d_ff, dtype=self.dtype, name="ffn_in")(y))
        y = nn.Dense(x.shape[-1], dtype=self.dtype, name="ffn_out")(y)
        return x + Dropout(self.dropout_rate)(y, deterministic)


class Denoiser(nn.Module):
    """Predicts a plan's clean tokens; encodes an observation once for many denoising steps.

    The vocabulary has `num_tokens` actions; tokens may also be the mask, `num_tokens`, which is never
    predicted. `fused_attention` uses cuDNN.
    """

    num_tokens: int
    plan_horizon: int
    d_model: int
    n_heads: int
    n_layers: int
    d_ff: int
    obs_encoder_layers: int
    obs_encoder_width: int
    time_scale: float
    dropout_rate: float
    dtype: Any = jnp.float32
    past_observations: int = 0
    past_actions: int = 0
    fused_attention: bool = False

    def setup(self) -> None:  # noqa: D102
        self.obs_encoder = ObservationEncoder(
            self.obs_encoder_layers, self.obs_encoder_width, self.d_model, self.dtype
        )
        if self.past_observations:
            # Without a bias, because entries before an episode are zero and carry no information.
            self.past_encoder = nn.Dense(self.obs_encoder_width // 4, use_bias=False, dtype=self.dtype)
        self.time_embedding = TimeEmbedding(self.d_model, self.time_scale, self.dtype)
        self.token_embedding = nn.Embed(self.num_tokens + 1, self.d_model)
        self.blocks = [
            Block(self.n_heads, self.d_ff, self.dropout_rate, self.dtype, self.fused_attention)
            for _ in range(self.n_layers)
        ]
        self.final_norm = nn.LayerNorm(dtype=self.dtype)
        self.head = nn.Dense(self.num_tokens, dtype=self.dtype, kernel_init=nn.initializers.normal(0.02))

    def encode(self, obs: jax.Array) -> jax.Array:
        """Observations [B, D], perhaps of earlier steps too (`Game.past`), -> encodings [B, d_model]."""
        if self.past_observations or self.past_actions:
            steps, actions = jnp.split(obs, [obs.shape[1] - self.past_actions], axis=1)
            now, *earlier = jnp.split(steps, 1 + self.past_observations, axis=1)
            executed = jax.nn.one_hot(actions.astype(jnp.int32), self.num_tokens, dtype=obs.dtype)
            seen = [nn.relu(self.past_encoder(x)).astype(obs.dtype) for x in earlier]
            obs = jnp.concatenate([now, executed.reshape(len(obs), -1), *seen], axis=1)
        return self.obs_encoder(obs)

    def denoise(
        self, encoding: jax.Array, tokens: jax.Array, t: jax.Array, deterministic: bool = True
    ) -> jax.Array:
        """Encodings [B, d_model], tokens [B, H], times [B] -> logits [B, H, V]."""
        embedded = embed(self.token_embedding.embedding.astype(self.dtype), tokens)
        x = jnp.concatenate([encoding[:, None], self.time_embedding(t)[:, None], embedded], axis=1)
        x = x + sinusoidal_embedding(jnp.arange(x.shape[1]), self.d_model).astype(x.dtype)
        for block in self.blocks:
            x = block(x, deterministic)
        return self.head(self.final_norm(x[:, 2:]))

    def __call__(
        self, obs: jax.Array, tokens: jax.Array, t: jax.Array, deterministic: bool = True
    ) -> jax.Array:
        """Observations [B, D], tokens [B, H], times [B] -> logits [B, H, V]."""
        return self.denoise(self.encode(obs), tokens, t, deterministic)
