"""What the training loop runs."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax

from remdm.base.fields import Role, fields_with

Metrics = dict[str, jax.Array]


@dataclass(frozen=True)
class Algorithm:
    """A training algorithm as pure functions, independent of files, progress and checkpoints.

    Attributes:
        init: key -> state, a pytree of all arrays that the next update depends on.
        update: state -> (state, metrics); one rollout and its gradient steps.
        params: state -> the parameters in a checkpoint.
        adopt: (state, params, update) -> the state that continues with these parameters after some updates;
            None if a run cannot continue from parameters.
        num_updates: updates of a whole run.
        frames_per_update: environment steps, summed over environments, of one update.
        validate: (key, result of `params`) -> metrics, every `val_every` updates; `val/score` selects the
            best parameters. Arrays with axes are not written to the table of metrics.
        val_every: updates between validations.
        learning_rate: updates done -> learning rate of their last gradient step; None if constant.
        repeats: independent repetitions; with several, metrics, parameters and the state's arrays, except
            those that are given or shared (`remdm.base.fields`), have a leading axis [R].
    """

    init: Callable[[jax.Array], Any]
    update: Callable[[Any], tuple[Any, Metrics]]
    params: Callable[[Any], Any]
    adopt: Callable[[Any, Any, int], Any] | None
    num_updates: int
    frames_per_update: int
    validate: Callable[[jax.Array, Any], Metrics] | None = None
    val_every: int = 1
    learning_rate: Callable[[int], Any] | None = None
    repeats: int = 1

    def part(self, tree: Any, repeat: int | jax.Array) -> Any:
        """One repetition's part of arrays that every repetition has."""
        return tree if self.repeats == 1 else jax.tree.map(lambda x: x[repeat], tree)

    def one(self, state: Any, repeat: int | jax.Array) -> Any:
        """The state of one repetition."""
        common = {name: getattr(state, name) for name in fields_with(state, Role.GIVEN, Role.SHARED)}
        return replace(self.part(replace(state, **dict.fromkeys(common)), repeat), **common)


def repeated(algorithm: Algorithm, repeats: int) -> Algorithm:
    """The algorithm `repeats` times at once, from independent keys; for 1, the algorithm itself."""
    if repeats == 1:
        return algorithm
    shapes = jax.eval_shape(algorithm.init, jax.random.PRNGKey(0))
    common = fields_with(shapes, Role.GIVEN, Role.SHARED)
    axes = replace(shapes, **{name: None if name in common else 0 for name in vars(shapes)})

    adopt = algorithm.adopt
    return replace(
        algorithm,
        init=lambda key: jax.vmap(algorithm.init, out_axes=axes)(jax.random.split(key, repeats)),
        update=jax.vmap(algorithm.update, in_axes=(axes,), out_axes=(axes, 0)),
        params=jax.vmap(algorithm.params, in_axes=(axes,)),
        adopt=None if adopt is None else jax.vmap(adopt, in_axes=(axes, 0, None), out_axes=axes),
        repeats=repeats,
    )
