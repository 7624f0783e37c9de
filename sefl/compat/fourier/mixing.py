"""Mixing of frequencies: ``scale_eq.layers.spectral_mixer`` and ``spectral_mlp``, with its parameters and its numbers.

An output frequency is mixed from inputs of no higher ones, so that mixing commutes with ideal downsampling. Real and
much smaller: :class:`sefl.fourier.FrequencyMixer2d`, :class:`sefl.fourier.MagnitudeMixer2d`,
:class:`sefl.fourier.BandPerceptron`.
The layers give back a new tensor; theirs write to their input.
"""

from dataclasses import field
from typing import ClassVar

import torch
from torch import Tensor, nn

from sefl.compat.declared import Declared
from sefl.compat.fourier.complex_modules import NEAR_ZERO, ComplexGELU
from sefl.compat.fourier.spectra import block, both_ends, get_mixer_mask, get_pweights, place


class _Mixer(Declared):
    """What the mixers share: ``mode_size x mode_size`` weights per channel and axis, and a bias."""

    num_channels: int
    mode_size: int
    mixer_band: int = -1
    device: torch.device | str | None = None
    dtype: torch.dtype | None = None

    axes: ClassVar[int] = 2
    default_dtype: ClassVar[torch.dtype] = torch.cfloat
    spectral_decay: Tensor = field(init=False)
    W1: Tensor = field(init=False)
    W2: Tensor = field(init=False)
    bias1: Tensor = field(init=False)

    def __post_init__(self) -> None:
        if (band := self.mixer_band) < 1 and band != -1:
            raise ValueError(f"mixer_band must be a number of frequencies, or -1 for all, got {band}")
        square = self.num_channels, self.mode_size, self.mode_size
        shapes = dict.fromkeys(("W1", "W2")[: self.axes], square) | {"bias1": square[: 1 + self.axes]}
        for name, shape in shapes.items():
            empty = torch.empty(shape, device=self.device, dtype=self.dtype or self.default_dtype)
            setattr(self, name, nn.Parameter(empty))
        self.register_buffer("spectral_decay", get_pweights(*square[1:]).to(self.bias1.device))
        self.reset_parameter()

    def reset_parameter(self) -> None:
        """Normal with variance ``2 / mode_size``."""
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=(2 / self.mode_size) ** 0.5)

    def reset_parameter_1(self) -> None:
        """Uniform within ``mode_size^-1/2``; of complex parameters real and imaginary part, which theirs refuses."""
        bound = self.mode_size**-0.5
        for parameter in self.parameters():
            nn.init.uniform_(
                torch.view_as_real(parameter) if parameter.is_complex() else parameter, -bound, bound
            )

    def get_reg_loss(self) -> Tensor:
        """The norms of the weights, high frequencies weighted most, and of the bias."""
        weights = [getattr(self, name) for name in ("W1", "W2")[: self.axes]]
        penalties = [torch.linalg.vector_norm(self.spectral_decay * weight) for weight in weights]
        return torch.stack([*penalties, torch.linalg.vector_norm(self.bias1)]).sum()

    def _masked(self, weight: Tensor, modes: int) -> Tensor:
        mask = get_mixer_mask(modes, weight.dtype, self.mixer_band).to(weight.device)
        return block(weight, modes, 2) * mask

    def _mixed(self, x: Tensor, in_modes: int) -> Tensor:
        """``x`` with its lowest ``in_modes`` frequencies, or ``mode_size`` if fewer, replaced by mixtures of them."""
        half, odd = min(self.mode_size, in_modes) // 2, in_modes % 2
        modes = 2 * half + odd
        ranges = [both_ends(half + odd, half)] * self.axes
        lowest = x.new_zeros(*x.shape[:2], *[modes] * self.axes)
        return place(self._mix(place(x, lowest, ranges), modes), x.clone(), ranges)

    def _mix(self, lowest: Tensor, modes: int) -> Tensor:
        return self._masked(self.W1, modes) @ lowest @ self._masked(self.W2, modes).mT

    def extra_repr(self) -> str:
        return f"{self.num_channels}, mode_size={self.mode_size}, mixer_band={self.mixer_band}"


class SpectralMixer_1D(_Mixer):
    """Spectra of signals, each frequency replaced by a mixture of those that are no higher, per channel.

        out = (W1 * mask) x + bias1

    Args:
        num_channels: channels.
        mode_size: most frequencies that are mixed; any above stay as they are.
        mixer_band: how many frequencies below its own each is mixed from; all with -1.
        device, dtype: of the parameters.

    Shapes: ``forward(x, in_modes1=None)`` takes ``(batch, num_channels, n)`` to the same; ``in_modes1`` are the
    frequencies to mix, all by default.

    Raises:
        ValueError: if ``mixer_band`` is out of its range.
    """

    axes = 1

    def forward(self, x: Tensor, in_modes1: int | None = None) -> Tensor:
        return self._mixed(x, x.shape[-1] if in_modes1 is None else in_modes1)

    def _mix(self, lowest: Tensor, modes: int) -> Tensor:
        mixed = (self._masked(self.W1, modes) @ lowest[..., None])[..., 0]
        return mixed + block(self.bias1, modes, 1)


class SpectralMixer_2D(_Mixer):
    """:class:`SpectralMixer_1D` of images, ``(W1 * mask) x (W2 * mask)^T``.

    As in theirs ``bias1`` has no part in it, only in ``get_reg_loss``.

    Shapes: ``forward(x, in_modes1, in_modes2)`` takes ``(batch, num_channels, n, n)`` to the same; the frequencies to
    mix are equally many per axis.
    """

    def forward(self, x: Tensor, in_modes1: int, in_modes2: int) -> Tensor:
        if in_modes1 != in_modes2:
            raise ValueError(f"in_modes2 must be in_modes1, {in_modes1}, got {in_modes2}")
        return self._mixed(x, in_modes1)


class SpectralMixer_2D_shifteq(SpectralMixer_2D):
    """:class:`SpectralMixer_2D` of magnitudes, with real weights: phases stay, so that it commutes with shifts.

    Magnitudes that were mixed may be negative, as theirs may. The parameters are real, ``torch.float`` by default.
    """

    default_dtype = torch.float

    def _mix(self, lowest: Tensor, modes: int) -> Tensor:
        magnitude = lowest.abs()
        return super()._mix(magnitude, modes) * lowest / (magnitude + NEAR_ZERO)


class spectralMlp(Declared):
    """A linear layer on spectra that lie side by side, each output frequency from inputs that are no higher.

    Args:
        modes: frequencies of each spectrum.
        num_feature: ``modes`` times the spectra.
        out_channel: spectra of the output.
        non_linear: whether :class:`ComplexGELU` follows.
        mixer_band: as of :class:`SpectralMixer_1D`.
        device, dtype: of ``W``, ``(out_channel, modes, num_feature)``.

    Shapes: ``(batch, num_feature)`` to ``(batch, out_channel, 1, modes)``.

    Raises:
        ValueError: if ``num_feature`` is no multiple of ``modes``.
    """

    modes: int
    num_feature: int
    out_channel: int
    non_linear: bool
    mixer_band: int = -1
    device: torch.device | str | None = None
    dtype: torch.dtype = torch.cfloat

    mask: Tensor = field(init=False)
    spectral_decay: Tensor = field(init=False)

    def __post_init__(self) -> None:
        modes, features = self.modes, self.num_feature
        if features % modes:
            raise ValueError(f"num_feature must be a multiple of modes ({modes}), got {features}")
        shape = self.out_channel, modes, features
        self.W = nn.Parameter(torch.empty(shape, device=self.device, dtype=self.dtype))
        where = self.W.device
        self.register_buffer("mask", get_mixer_mask(modes, self.dtype, self.mixer_band).to(where))
        self.register_buffer("spectral_decay", get_pweights(modes, modes).to(where))
        self.non_lin = ComplexGELU() if self.non_linear else None
        self.reset_parameter()

    def reset_parameter(self) -> None:
        """Normal with variance ``2 / (num_feature + modes)``."""
        nn.init.normal_(self.W, std=(2 / (self.num_feature + self.modes)) ** 0.5)

    def reset_parameter_1(self) -> None:
        """Uniform within ``num_feature^-1/2``."""
        bound = self.num_feature**-0.5
        nn.init.uniform_(torch.view_as_real(self.W) if self.W.is_complex() else self.W, -bound, bound)

    def get_reg_loss(self) -> Tensor:
        """The norm of ``W``, high frequencies weighted most."""
        penalty: Tensor = torch.linalg.vector_norm(self.spectral_decay.repeat(1, self._spectra) * self.W)
        return penalty

    @property
    def _spectra(self) -> int:
        return self.num_feature // self.modes

    def forward(self, x: Tensor) -> Tensor:
        out = x[:, None, None, :] @ (self.W * self.mask.repeat(1, self._spectra)).mT
        return out if self.non_lin is None else self.non_lin(out)
