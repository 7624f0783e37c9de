"""Losses under bfloat16 autocast, which ``--trainer.precision bf16-mixed`` takes, beside those in float32."""

import pytest
import torch
from flat_settings import classifier
from torch import Tensor

CLOSE = 2e-3
"""What the losses may differ by, in the mean over batches."""


def batches() -> list[tuple[Tensor, Tensor]]:
    """Noisy copies of four images, at 8 to 12 pixels in turns."""
    generator = torch.Generator().manual_seed(0)
    prototypes = torch.randn(4, 1, 12, 12, generator=generator)
    made = []
    for step in range(30):
        labels = torch.arange(32) % 4
        noisy = prototypes[labels] + torch.randn(32, 1, 12, 12, generator=generator)
        made.append((noisy[..., : 8 + step % 5, : 8 + step % 5], labels))
    return made


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_bfloat16_has_the_losses_of_float32_with_the_same_weights(norm: str) -> None:
    torch.manual_seed(0)
    sizes = {"widths": [8, 8], "kernel_size": 3, "base_resolution": 8, "max_resolution": 12}
    model = classifier("FourierNetwork", **sizes, norm=norm, classes=4, head_hidden=16, head_dropout=0.0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for images, labels in batches():
        of_types = []
        for half in (True, False):
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                loss = model.band_losses(model(images), labels).mean()
            of_types.append(loss.item())
        losses.append(of_types)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    half, single = torch.tensor(losses).T
    assert not torch.equal(half, single)  # half precision it was
    assert single[-1] < 0.85 * single[0]
    assert (half - single).abs().mean() < CLOSE, half - single
