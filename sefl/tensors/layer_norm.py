"""Layer norm with right second derivatives inside of ``torch.func``."""

from torch import Tensor, nn

from sefl.tensors.differentiation import transformed


class LayerNorm(nn.LayerNorm):
    """``torch.nn.LayerNorm``; inside of ``torch.func`` of plain operations.

    There torch's own takes mean and deviation for constants in second derivatives: of ``jacfwd(jacrev(f))`` is left a
    matrix that is not even symmetric (2.15; ``tests/tensors/test_differentiation.py`` holds that ours is a Hessian).
    """

    def forward(self, x: Tensor) -> Tensor:
        if not transformed():
            return super().forward(x)
        axes = tuple(range(-len(self.normalized_shape), 0))
        centred = x - x.mean(axes, keepdim=True)
        normed = centred * (centred.square().mean(axes, keepdim=True) + self.eps).rsqrt()
        return (
            normed if self.weight is None else normed * self.weight + (0 if self.bias is None else self.bias)
        )
