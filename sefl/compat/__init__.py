"""The layers under the names of the authors' repositories, for code that was written for those.

* :mod:`sefl.compat.fourier`: ashiq24/Scale_Equivarinat_Fourier_Layer (NeurIPS 2023). Of ``from
  scale_eq.layers.spectral_conv import SpectralConv2dLocalized`` and ``from scale_eq.layers.scalq_eq_nonlin import
  scaleEqNonlin, scaleEqNonlinMaxp`` only the module changes, to ``sefl.compat``.

What each does otherwise than its model is in its docstring.
"""

from sefl.compat.fourier import SpectralConv2dLocalized, scaleEqNonlin, scaleEqNonlinMaxp

__all__ = ["SpectralConv2dLocalized", "scaleEqNonlin", "scaleEqNonlinMaxp"]
