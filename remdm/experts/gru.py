"""A gated recurrent unit over sequences, and its gradient."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.initializers import lecun_normal, orthogonal, zeros_init

Residuals = tuple[jax.Array, ...]
GPU_UNROLL = 4  # steps in a loop's body: their kernels are small next to the cost of an iteration


@jax.custom_vjp
def gru(
    kernel: jax.Array, bias: jax.Array, hidden: jax.Array, inputs: jax.Array, first: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """A gated recurrent unit, equal to a scan of `flax.linen.GRUCell`.

    As in arXiv 1406.1078, but with the reset gate after the product: n = tanh(input + r (U h + b)). Its
    gradient is written out, because differentiating the scan would add to the kernel's gradient at every
    step in place of one product over the whole sequence.

    Args:
        kernel: of the state, for the gates r, z and n [L, 3 L].
        bias: added to the state's part of n [L].
        hidden: state [B, L].
        inputs: the inputs' parts of r, z and n [T, B, 3 L].
        first: whether the state is zeroed before the step [T, B].

    Returns:
        The last state [B, L], and all of them [T, B, L].
    """
    return _forward(kernel, bias, hidden, inputs, first)[0]


def _forward(
    kernel: jax.Array, bias: jax.Array, hidden: jax.Array, inputs: jax.Array, first: jax.Array
) -> tuple[tuple[jax.Array, jax.Array], Residuals]:
    def step(hidden: jax.Array, now: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, Residuals]:
        inputs, first = now
        hidden = jnp.where(first[:, None], 0.0, hidden)
        input_r, input_z, input_n = jnp.split(inputs, 3, axis=-1)
        state_r, state_z, state_n = jnp.split(hidden @ kernel, 3, axis=-1)
        state_n = state_n + bias
        r = nn.sigmoid(input_r + state_r)
        z = nn.sigmoid(input_z + state_z)
        n = nn.tanh(input_n + r * state_n)
        new = (1.0 - z) * n + z * hidden
        return new, (new, hidden, state_n, r, z, n)

    last, (states, *kept) = jax.lax.scan(step, hidden, (inputs, first), unroll=_unroll())
    return (last, states), (kernel, first, *kept)


def _backward(residuals: Residuals, grads: tuple[jax.Array, jax.Array]) -> tuple:
    kernel, first, *kept = residuals
    transposed = kernel.T

    def step(grad: jax.Array, now: tuple) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        grad_output, first, hidden, state_n, r, z, n = now
        grad = grad + grad_output
        grad_n = grad * (1.0 - z) * (1.0 - n**2)
        grad_z = grad * (hidden - n) * z * (1.0 - z)
        grad_r = grad_n * state_n * r * (1.0 - r)
        grad_state = jnp.concatenate([grad_r, grad_z, grad_n * r], axis=-1)
        grad = grad * z + grad_state @ transposed
        return jnp.where(first[:, None], 0.0, grad), (grad_state, grad_n)

    grad_last, grad_outputs = grads
    grad_hidden, (grad_state, grad_n) = jax.lax.scan(
        step, grad_last, (grad_outputs, first, *kept), reverse=True, unroll=_unroll()
    )
    grad_kernel = jnp.einsum("tbi,tbj->ij", kept[0], grad_state)
    of_r_and_z, of_n = jnp.split(grad_state, [2 * grad_n.shape[-1]], axis=-1)
    grad_inputs = jnp.concatenate([of_r_and_z, grad_n], axis=-1)
    return grad_kernel, jnp.sum(of_n, axis=(0, 1)), grad_hidden, grad_inputs, None


gru.defvjp(_forward, _backward)


def _unroll() -> int:
    return 1 if jax.default_backend() == "cpu" else GPU_UNROLL


class Gate(nn.Module):
    """Parameters of a gate's affine map, with paths and initial values as in `flax.linen.GRUCell`."""

    size: int
    features: int
    of_state: bool
    use_bias: bool = True

    @nn.compact
    def __call__(self) -> tuple[jax.Array, jax.Array]:
        """Kernel [size, features] and bias [features], zero without `use_bias`."""
        init = orthogonal() if self.of_state else lecun_normal()
        kernel = self.param("kernel", init, (self.size, self.features))
        if not self.use_bias:
            return kernel, jnp.zeros(self.features)
        return kernel, self.param("bias", zeros_init(), (self.features,))


class GRUCell(nn.Module):
    """`gru` with the parameter paths of `flax.linen.GRUCell`."""

    features: int

    @nn.compact
    def __call__(self, hidden: jax.Array, x: jax.Array, first: jax.Array) -> tuple[jax.Array, jax.Array]:
        """State [B, L], inputs [T, B, F], whether a step is the first of an episode [T, B] -> as `gru`."""
        inputs = [
            Gate(x.shape[-1], self.features, of_state=False, name=name)() for name in ("ir", "iz", "in")
        ]
        state = [
            Gate(self.features, self.features, of_state=True, use_bias=name == "hn", name=name)()
            for name in ("hr", "hz", "hn")
        ]
        input_kernel, input_bias = (jnp.concatenate(parts, axis=-1) for parts in zip(*inputs, strict=True))
        kernel = jnp.concatenate([kernel for kernel, _ in state], axis=-1)
        # The inputs' parts of all gates are one product over the whole sequence.
        return gru(kernel, state[-1][1], hidden, x @ input_kernel + input_bias, first)
