"""Arm `action_diversity`: without windows that repeat a single action."""

import jax.numpy as jnp

from remdm.ablations.arm import Arm

ARM = Arm(keep=lambda numbers, batch: jnp.any(batch.plan != batch.plan[:, :1], axis=1))
