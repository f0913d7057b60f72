"""What the training loop runs."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax

Metrics = dict[str, jax.Array]


@dataclass(frozen=True)
class Algorithm:
    """A training algorithm as pure functions; it knows nothing of files, progress or checkpoints.

    Attributes:
        init: key -> state, a pytree of arrays that holds everything the next update depends on.
        update: state -> (state, metrics); one rollout and its gradient steps.
        params: state -> what a checkpoint keeps.
        adopt: (state, params, update) -> the state that goes on with these parameters after so many updates;
            None where a run always begins at its beginning.
        num_updates: updates of a whole run.
        frames_per_update: environment steps, summed over environments, of one update.
        validate: (key, what `params` gives) -> metrics, every `val_every` updates; `val/score` chooses the
            best parameters. What has axes stays out of the table of metrics.
        val_every: updates between validations.
        given: fields of the state that `init` is given and updates leave alone; never saved.
        refillable: fields of the state that fill themselves again, such as a replay buffer.
        split: parts of the state, as `play` or `exploration/inverse_covariance`, whose arrays have the
            environments (or what comes of them) in front: on several devices, each holds its share of
            them and a copy of all else. Without any, there is one device.
        per_device: parts of those that differ in shape with the number of devices, and fill themselves again.
        shared: fields of the state that all repetitions have in common, such as a count of updates: what
            is done at some updates alone would otherwise be done, and thrown away, at all of them.
        repeats: independent repetitions; with more than one, arrays of the state but those of `given` and
            `shared`, metrics and parameters have a leading axis [R].
    """

    init: Callable[[jax.Array], Any]
    update: Callable[[Any], tuple[Any, Metrics]]
    params: Callable[[Any], Any]
    adopt: Callable[[Any, Any, int], Any] | None
    num_updates: int
    frames_per_update: int
    validate: Callable[[jax.Array, Any], Metrics] | None = None
    val_every: int = 1
    given: tuple[str, ...] = ()
    refillable: tuple[str, ...] = ()
    split: tuple[str, ...] = ()
    per_device: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    repeats: int = 1

    def one(self, state: Any, repeat: int | jax.Array) -> Any:
        """The state of one repetition."""
        if self.repeats == 1:
            return state
        shared = {name: getattr(state, name) for name in self.given + self.shared}
        own = state.replace(**dict.fromkeys(shared)) if shared else state
        own = jax.tree.map(lambda x: x[repeat], own)
        return own.replace(**shared) if shared else own


def repeated(algorithm: Algorithm, repeats: int) -> Algorithm:
    """The algorithm `repeats` times at once, from independent keys; once is the algorithm itself."""
    if repeats == 1:
        return algorithm
    shapes = jax.eval_shape(algorithm.init, jax.random.PRNGKey(0))
    axes: Any = 0
    common = algorithm.given + algorithm.shared
    if common:
        axes = shapes.replace(**{name: None if name in common else 0 for name in vars(shapes)})

    adopt = algorithm.adopt
    return replace(
        algorithm,
        init=lambda key: jax.vmap(algorithm.init, out_axes=axes)(jax.random.split(key, repeats)),
        update=jax.vmap(algorithm.update, in_axes=(axes,), out_axes=(axes, 0)),
        params=jax.vmap(algorithm.params, in_axes=(axes,)),
        adopt=None if adopt is None else jax.vmap(adopt, in_axes=(axes, 0, None), out_axes=axes),
        repeats=repeats,
    )
