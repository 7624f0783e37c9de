"""The authors' two repositories under their names, argument lists and parameters, for code written for them.

:mod:`sefl.compat.fourier` is ashiq24/Scale_Equivarinat_Fourier_Layer (NeurIPS 2023), :mod:`sefl.compat.groups`
ashiq24/Group_Sampling (ICLR 2025). Of ``from scale_eq.layers.spectral_conv import SpectralConv2dLocalized`` only the
module changes, to ``sefl.compat``. ``state_dict`` of theirs load, strictly, and give their numbers. A name that is in
both is that of ``groups`` here (``get_model``); what ``complex_modules`` and ``complex_layers`` both have is that of
the latter.

Where theirs are wrong, and what is here:

* ``scaleEqNonlin``, ``scaleEqNonlinMaxp``: Nyquist terms enter the outermost ring at even resolutions. The same; exact
  ones are in :mod:`sefl.fourier`.
* ``get_feature`` of these and of convolutions: transforms without a norm. With it.
* ``scaleEqNonlin1d``, ``FourierSeq1d``: channels are mixed, and nothing is equivariant. Equivariant: other numbers.
* ``get_stack``: transforms by ``irfft2`` where ``rfft2`` is meant. The same, for weights were trained on it.
* ``SpectralMixer_2D``, ``ComplexLayerNorm2d``, ``ComplexLayerNorm1d``: a bias without a part in the outcome. The same.
* ``ComplexBatchNorm2dSim`` and its kind: divide by the variance. The same.
* Mixers: write to their input. They do not.
* ``SpectralConv2dCircular``, ``down_sample_keepsize_1d``, ``get_stack_1d``: cannot be called. They can.
* ``AntiAliasingLayer``, ``SubgroupDownsample``: a filter that lacks equivariance or reconstruction, and feature maps
  come back by the transposed basis. The closed form; with weights of theirs, theirs.
* Octahedral to ``cycle``: in the order ``e, r, r^3, r^2``. Cyclic; with weights of theirs, theirs.
* Full octahedral to ``dihedral``: a group that is not dihedral. Turns and mirrorings.
* ``GraphConstructor``: makes up a subgroup where it knows none. An error; octahedral to ``dihedral`` is known.
* ``Cannonicalizer``: goes by the first feature, of cyclic and dihedral groups. By all, of any.
* ``Gcnn3D``: fails where the first stage subsamples. It does so.
"""

from typing import Any

from sefl.compat import fourier, groups

__all__ = sorted({*fourier.__all__, *groups.__all__})


def __getattr__(name: str) -> Any:
    return getattr(groups if name in groups.__all__ or name in groups.LEFT_OUT else fourier, name)
