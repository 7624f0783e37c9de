"""What networks are made of: plain modules, of Fourier and group layers."""

from sefl.networks.fixed_resolution import Resizing
from sefl.networks.group_sampled import GroupSampledNetwork

__all__ = ["GroupSampledNetwork", "Resizing"]
