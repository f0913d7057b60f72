"""Arm `gradient_surgery`: without components against behaviour cloning's gradient, array by array."""

from remdm.ablations.arm import Arm
from remdm.ablations.surgery import project

ARM = Arm(adjust=lambda gradient, cloning: project(gradient, cloning()).gradient)
