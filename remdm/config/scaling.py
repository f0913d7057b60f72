"""Budgets in frames: the same experiment at any number of environments.

Each quantity that training counts in updates can be given in a unit that does not depend on the
machine. The key of that unit is the primary one and wins over the legacy key in updates.
"""

from typing import NamedTuple, TypeVar

from remdm.config.planner import PlannerTrainingConfig

C = TypeVar("C", bound=PlannerTrainingConfig)


class Scaled(NamedTuple):
    """A quantity that can be given in two ways, and the property with the effective value."""

    primary: str
    legacy: str
    resolved: str


SCALED = (
    Scaled("offline_total_timesteps", "offline_num_updates", "num_updates"),
    Scaled("online_total_timesteps", "online_num_updates", "num_updates"),
    Scaled("lr_warmup_frames", "lr_warmup_steps", "warmup_grad_steps"),
    Scaled("val_interval_frames", "val_interval", "val_every"),
    Scaled("dagger_beta_final", "dagger_beta_decay", "beta_decay"),
    Scaled("dagger_buffer_cycles", "dagger_buffer_max", "buffer_size"),
)


def resolve_scaled_hyperparams(config: C) -> C:
    """A copy of the configuration in which every legacy key has the effective value.

    Pure and idempotent: a primary key stays as it was and gives the same value again. A legacy key
    that a primary one overrides therefore never makes a stage stale.
    """
    keys = config.owners()
    return config.updated(
        **{pair.legacy: getattr(config, pair.resolved) for pair in SCALED if pair.legacy in keys}
    )
