"""What the training loop runs."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax

from remdm.base.fields import Role, fields_with

Metrics = dict[str, jax.Array]


@dataclass(frozen=True)
class Algorithm:
    """A training algorithm as pure functions; it knows nothing of files, progress or checkpoints.

    Attributes:
        init: key -> state, a pytree of arrays that holds everything the next update depends on.
        update: state -> (state, metrics); one rollout and its gradient steps.
        params: state -> what a checkpoint keeps.
        adopt: (state, params, update) -> the state that continues with these parameters after some updates;
            None where a run always begins at its beginning.
        num_updates: updates of a whole run.
        frames_per_update: environment steps, summed over environments, of one update.
        validate: (key, what `params` gives) -> metrics, every `val_every` updates; `val/score` chooses the
            best parameters. What has axes stays out of the table of metrics.
        val_every: updates between validations.
        learning_rate: updates done -> the learning rate of the last one's last gradient step; None where it
            is constant.
        repeats: independent repetitions; with more than one, arrays of the state but those that are given or
            shared (`remdm.base.fields`), metrics and parameters have a leading axis [R].
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
        """One repetition's part of arrays that each has."""
        return tree if self.repeats == 1 else jax.tree.map(lambda x: x[repeat], tree)

    def one(self, state: Any, repeat: int | jax.Array) -> Any:
        """The state of one repetition."""
        common = {name: getattr(state, name) for name in fields_with(state, Role.GIVEN, Role.SHARED)}
        return replace(self.part(replace(state, **dict.fromkeys(common)), repeat), **common)


def repeated(algorithm: Algorithm, repeats: int) -> Algorithm:
    """The algorithm `repeats` times at once, from independent keys; once is the algorithm itself."""
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
