"""Arm `gradient_surgery`: no step against the gradient of behaviour cloning, array by array."""

from remdm.ablations.arm import Arm
from remdm.ablations.surgery import project

ARM = Arm(adjust=lambda gradient, cloning: project(gradient, cloning()).gradient)
