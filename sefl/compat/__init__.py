"""The layers under the names of the authors' repositories, for code that was written for those.

* :mod:`sefl.compat.fourier`: ashiq24/Scale_Equivarinat_Fourier_Layer (NeurIPS 2023). Of ``from
  scale_eq.layers.spectral_conv import SpectralConv2dLocalized`` and ``from scale_eq.layers.scalq_eq_nonlin import
  scaleEqNonlin, scaleEqNonlinMaxp`` only the module changes, to ``sefl.compat``.
* :mod:`sefl.compat.groups`: ashiq24/Group_Sampling (ICLR 2025). Likewise of ``from gsampling.layers.downsampling import
  SubgroupDownsample`` and ``from models.model_handler import get_model``.

What each does otherwise than its model is in its docstring.
"""

from sefl.compat.fourier import SpectralConv2dLocalized, scaleEqNonlin, scaleEqNonlinMaxp
from sefl.compat.groups import SubgroupDownsample, get_model

__all__ = ["SpectralConv2dLocalized", "SubgroupDownsample", "get_model", "scaleEqNonlin", "scaleEqNonlinMaxp"]
