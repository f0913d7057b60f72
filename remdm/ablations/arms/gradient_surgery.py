"""Arm `gradient_surgery`: no step against the gradient of behaviour cloning."""

from collections.abc import Callable
from typing import Any

from remdm.ablations.arm import Arm
from remdm.ablations.surgery import project


def adjust(gradient: Any, cloning: Callable[[], Any]) -> Any:
    """Remove, array by array, the component that conflicts."""
    return project(gradient, cloning()).gradient


ARM = Arm(adjust=adjust)
