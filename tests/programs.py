"""What a traced program consists of, as far as a GPU's speed depends on it."""

import math
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn


class Counts(NamedTuple):
    """How often a program has what GPUs do badly; the body of a loop counts once."""

    loops: int  # that end when something has happened: the host waits for each turn's outcome
    choices: int  # likewise
    sorts: int


def equations(jaxpr: Jaxpr | ClosedJaxpr) -> Iterator[JaxprEqn]:
    """All equations of a program, those of loops, branches and called functions included."""
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        yield equation
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                if isinstance(inner, Jaxpr | ClosedJaxpr):
                    yield from equations(inner)


def counts(jaxpr: ClosedJaxpr) -> Counts:
    """What a program has of the things that are pinned."""
    names = Counter(equation.primitive.name for equation in equations(jaxpr))
    return Counts(names["while"], names["cond"], names["sort"] + names["top_k"])


def serial_scatters(jaxpr: ClosedJaxpr) -> list[str]:
    """The scatters that XLA makes loops of, one turn an index, under --xla_gpu_deterministic_ops."""
    return [str(each.primitive) for each in equations(jaxpr) if _is_serial_scatter(each)]


def _is_serial_scatter(equation: JaxprEqn) -> bool:
    """XLA's rule (`IsScatterDeterministic`), turned round.

    The order does not matter where indices are distinct, where there is one, for minimum and maximum, and for
    other combinations of integers.
    """
    name, params = equation.primitive.name, equation.params
    if not name.startswith("scatter") or params["unique_indices"] or name.endswith(("min", "max")):
        return False
    if math.prod(equation.invars[1].aval.shape[:-1]) == 1:
        return False
    return name == "scatter" or not jnp.issubdtype(equation.outvars[0].aval.dtype, jnp.integer)
