"""The authors' two repositories under their names, argument lists and parameters, for code written for them.

* :mod:`sefl.compat.fourier`: ashiq24/Scale_Equivarinat_Fourier_Layer (NeurIPS 2023).
* :mod:`sefl.compat.groups`: ashiq24/Group_Sampling (ICLR 2025).

Of ``from scale_eq.layers.spectral_conv import SpectralConv2dLocalized`` only the module changes, to ``sefl.compat``.
What each does otherwise than its model is in its docstring.
"""

from typing import Any

from sefl.compat import fourier, groups

__all__ = sorted({*fourier.__all__, *groups.__all__})


def __getattr__(name: str) -> Any:
    return getattr(groups if name in groups.__all__ else fourier, name)
