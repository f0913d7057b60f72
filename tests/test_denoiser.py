"""Properties of the network, through gradients and symmetries rather than shapes alone."""

import re
from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from optax.contrib import MuonDimensionNumbers

from remdm.config.denoiser import DenoiserConfig
from remdm.config.layers import Layer, base_layers, build
from remdm.models.denoiser import (
    Attention,
    Denoiser,
    Dropout,
    attend,
    cudnn_attends,
    embed,
    hidden_matrices,
    sinusoidal_embedding,
)
from remdm.planners.denoising import param_shapes
from tests.conftest import REPOSITORY

B, H, D, V = 2, 6, 7, 5


@pytest.fixture(scope="module")
def network():
    denoiser = Denoiser(V, H, 16, 2, 2, 32, 2, 8, time_scale=1000.0, dropout_rate=0.5)
    tokens = jax.random.randint(jax.random.PRNGKey(1), (B, H), 0, V + 1)
    obs, t = jax.random.normal(jax.random.PRNGKey(2), (B, D)), jnp.array([0.2, 0.9])
    params = jax.jit(denoiser.init)(jax.random.PRNGKey(0), obs, tokens, t)
    return denoiser, params, obs, tokens, t


def test_output_is_float_logits_without_a_mask_token(network):
    denoiser, params, obs, tokens, t = network
    assert denoiser.apply(params, obs, tokens, t).shape == (B, H, V)


def test_encoding_once_is_the_same_as_calling(network):
    denoiser, params, obs, tokens, t = network
    encoding = denoiser.apply(params, obs, method="encode")
    apart = denoiser.apply(params, encoding, tokens, t, method="denoise")
    assert (apart == denoiser.apply(params, obs, tokens, t)).all()


def test_attention_is_bidirectional_and_sees_observation_and_time(network):
    """Every output depends on every token, the observation and the time of its own sample alone."""
    denoiser, params, obs, tokens, t = network

    def logits(obs, t):
        return denoiser.apply(params, obs, tokens, t)

    by_obs, by_time = jax.jit(jax.jacobian(logits, (0, 1)))(obs, t)  # [B, H, V, B, D] and [B, H, V, B]
    assert (jnp.abs(by_obs[0, :, :, 0]).sum(axis=(1, 2)) > 0).all()
    assert (by_obs[0, :, :, 1] == 0).all()
    assert (jnp.abs(by_time[0, :, :, 0]).sum(axis=1) > 0).all()

    base = denoiser.apply(params, obs, tokens, t)
    for h in range(H):
        changed = denoiser.apply(params, obs, tokens.at[0, h].set((tokens[0, h] + 1) % (V + 1)), t)
        assert (jnp.abs(changed - base)[0].sum(axis=1) > 0).all()
        assert (changed[1] == base[1]).all()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_embeddings_gradient_is_that_of_indexing(dtype):
    """Each row's is the sum over the tokens that took it, in float32; of rows not taken it is zero."""
    table = jax.random.normal(jax.random.PRNGKey(0), (V, 8)).astype(dtype)
    tokens = jnp.array([[0, 1, 1, 3], [3, 3, 0, 1]])
    factors = jax.random.normal(jax.random.PRNGKey(1), (2, 4, 8)).astype(dtype)

    def loss(read, table):
        return jnp.sum(read(table) * factors)

    @jax.jit
    def both(table):
        ours = jax.value_and_grad(lambda table: loss(lambda x: embed(x, tokens), table))(table)
        return ours, jax.value_and_grad(lambda table: loss(lambda x: x[tokens], table))(table)

    (value, grad), (expected_value, expected) = both(table)
    assert value == expected_value
    assert grad.dtype == dtype
    assert (grad[jnp.array([2, 4])] == 0).all()
    tolerance = 1e-6 if dtype == jnp.float32 else 2e-2
    np.testing.assert_allclose(grad.astype(float), expected.astype(float), rtol=tolerance, atol=tolerance)


def test_places_of_a_plan_are_told_apart(network):
    """The first and the last token exchanged, the others' logits change: a set of tokens is no plan."""
    denoiser, params, obs, _, t = network
    tokens = jnp.tile(jnp.array([0, V, V, V, V, 1]), (B, 1))
    logits = denoiser.apply(params, obs, tokens, t)
    exchanged = denoiser.apply(params, obs, tokens[:, ::-1], t)
    assert (jnp.abs(exchanged - logits)[:, 1:-1].max(axis=-1) > 1e-4).all()
    # Nor are masks that differ in their place alone predicted alike.
    assert (jnp.abs(jnp.diff(logits[:, 1:-1], axis=1)).max(axis=-1) > 1e-4).all()


def test_dropout_acts_in_training_alone(network):
    denoiser, params, obs, tokens, t = network
    calm = [denoiser.apply(params, obs, tokens, t) for _ in range(2)]
    assert (calm[0] == calm[1]).all()
    noisy = [
        denoiser.apply(params, obs, tokens, t, False, rngs={"dropout": jax.random.PRNGKey(i)}) for i in (0, 1)
    ]
    assert not jnp.allclose(noisy[0], noisy[1])


def test_attention_is_flaxs_with_the_same_parameters():
    """One product for three projections changes neither parameters nor results."""
    x = jax.random.normal(jax.random.PRNGKey(0), (3, 10, 16))
    ours, flaxs = Attention(4, jnp.float32), nn.MultiHeadDotProductAttention(4)
    params = ours.init(jax.random.PRNGKey(1), x)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, flaxs.init(jax.random.PRNGKey(1), x))
    np.testing.assert_allclose(ours.apply(params, x), flaxs.apply(params, x), rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def dropped():
    """Which of 40,000 elements each of 100 keys drops, less the rate."""
    dropout = Dropout(0.1)

    def drop(key):
        return dropout.apply({}, jnp.ones((400, 100)), False, rngs={"dropout": key})

    y = jax.vmap(drop)(jax.random.split(jax.random.PRNGKey(0), 100))
    assert set(np.unique(y).tolist()) == {0.0, np.float32(1 / 0.9).item()}
    return np.asarray(y == 0) - 0.1


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_dropout_is_independent_of_keys_and_neighbours(dropped, axis):
    """Products of neighbours are 0 on average, to five standard errors."""
    low, high = (np.take(dropped, np.arange(1, dropped.shape[axis]) - k, axis) for k in (1, 0))
    product = low * high
    assert abs(product.mean()) < 5 * 0.09 / np.sqrt(product.size)


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 1), (1, 2)])
def test_dropout_drops_its_rate_everywhere(dropped, axes):
    """Over any axes, shares differ as those of a binomial do: chi-square within five standard errors."""
    means = dropped.mean(axis=axes).ravel()
    count = dropped.size / means.size
    chi_square = np.sum(means**2) * count / 0.09
    assert abs(chi_square - means.size) < 5 * np.sqrt(2 * means.size)


def test_bfloat16_computes_near_float32_with_float32_parameters(network):
    denoiser, params, obs, tokens, t = network
    half, whole = denoiser.clone(dtype=jnp.bfloat16), denoiser.apply(params, obs, tokens, t)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))
    logits = jax.jit(half.apply)(params, obs, tokens, t)
    assert logits.dtype == jnp.bfloat16
    assert jnp.abs(logits - whole).max() < 0.05 * jnp.abs(whole).max()


def test_sinusoidal_embedding_by_hand():
    # Width 4: frequencies 1 and 10000^(-1/2) = 0.01.
    expected = [np.sin(3), np.sin(0.03), np.cos(3), np.cos(0.03)]
    assert np.asarray(sinusoidal_embedding(jnp.array(3), 4)) == pytest.approx(expected, abs=1e-6)


def test_hidden_matrices_are_those_between_the_observation_and_the_logits(network):
    axes = hidden_matrices(network[1])
    leaves = jax.tree.leaves_with_path(
        axes, is_leaf=lambda x: x is None or isinstance(x, MuonDimensionNumbers)
    )
    chosen = {"/".join(part.key for part in path[1:]): tuple(x) for path, x in leaves if x is not None}
    one, to_heads, from_heads = ((0,), (1,)), ((0,), (1, 2)), ((0, 1), (2,))
    of_a_block = {
        "attention/query": to_heads, "attention/key": to_heads, "attention/value": to_heads,
        "attention/out": from_heads, "ffn_in": one, "ffn_out": one,
    }  # fmt: skip
    blocks = {f"blocks_{k}/{name}/kernel": sides for k in range(2) for name, sides in of_a_block.items()}
    encoder = {f"obs_encoder/Dense_{k}/kernel": one for k in (1, 2)}
    time = {f"time_embedding/Dense_{k}/kernel": one for k in (0, 1)}
    assert chosen == blocks | encoder | time


def test_attention_is_jaxs_by_its_conventions():
    """Of axes and scale, which are those of cuDNN's too."""
    query, key, value = jax.random.normal(jax.random.PRNGKey(0), (3, 2, 7, 3, 8))
    expected = jax.nn.dot_product_attention(query, key, value, implementation="xla")
    np.testing.assert_allclose(attend(query, key, value), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("repeats", [None, 2])
def test_fused_attention_lowers_to_cudnns_forward_and_backward(monkeypatch, repeats):
    """On any machine, though it runs on GPUs alone; `repeats` is as `num_repeats` trains."""
    monkeypatch.setattr("jax._src.cudnn.fused_attention_stablehlo.check_cudnn_version", lambda: 91000)
    sizes = {"d_model": 96, "n_heads": 2, "n_layers": 2, "d_ff": 32, "obs_encoder_layers": 1}
    denoiser = Denoiser(
        V, 32, **sizes, obs_encoder_width=8, time_scale=1000.0, dropout_rate=0.1, dtype=jnp.dtype("bfloat16"),
        fused_attention=True,
    )  # fmt: skip
    given = (jnp.zeros((B, D)), jnp.zeros((B, 32), int), jnp.zeros(B))
    params = jax.eval_shape(denoiser.init, jax.random.PRNGKey(0), *given)

    def loss(params, key):
        logits = denoiser.apply(params, *given, False, rngs={"dropout": key})
        return jnp.sum(logits.astype(jnp.float32) ** 2)

    gradient, key = jax.grad(loss), jax.ShapeDtypeStruct((2,), jnp.uint32)
    if repeats:
        gradient = jax.vmap(gradient)
        params, key = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct((repeats, *x.shape), x.dtype), (params, key)
        )
    text = jax.jit(gradient).trace(params, key).lower(lowering_platforms=("cuda",)).as_text()
    calls = re.findall(r"@__cudnn\$(\w+)", text)
    assert sorted(calls) == ["fmhaSoftmax"] * 2 + ["fmhaSoftmaxBackward"] * 2


@pytest.mark.parametrize(
    ("capability", "dtype", "width", "fused"),
    [
        ("9.0", "bfloat16", 48, True),
        ("8.0", "bfloat16", 128, True),
        ("10.0", "bfloat16", 64, True),
        ("7.5", "bfloat16", 48, False),
        ("9.0", "float32", 48, False),
        ("9.0", "bfloat16", 20, False),
        ("9.0", "bfloat16", 256, False),
        ("gfx90a", "bfloat16", 48, False),
        (None, "bfloat16", 48, False),
    ],
)
def test_cudnns_attention_is_used_where_there_is_one(monkeypatch, capability, dtype, width, fused):
    device = SimpleNamespace() if capability is None else SimpleNamespace(compute_capability=capability)
    monkeypatch.setattr("jax.local_devices", lambda: [device])
    assert cudnn_attends(jnp.dtype(dtype), width) == fused


def test_shapes_of_parameters_are_known_without_asking_for_devices(monkeypatch):
    """That would start JAX, whose settings a command has not made yet."""
    monkeypatch.setattr("jax.local_devices", lambda: pytest.fail("JAX is started"))
    config = build(DenoiserConfig, [*base_layers("small"), Layer("test", {"compute_dtype": "bfloat16"})])
    shapes = param_shapes(config, D, V)
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype("float32")}


def test_heads_of_all_presets_fit_cudnns_attention(monkeypatch):
    monkeypatch.setattr("jax.local_devices", lambda: [SimpleNamespace(compute_capability="8.0")])
    for preset in (REPOSITORY / "configs").glob("*_*.yaml"):
        config = build(DenoiserConfig, base_layers(preset.stem))
        assert cudnn_attends(jnp.dtype("bfloat16"), config.d_model // config.n_heads), preset.stem
