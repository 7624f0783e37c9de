"""What a Trainer's precision costs on the processor that it runs on."""

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.utilities import rank_zero_warn

WITHOUT_BFLOAT16 = ("NO AVX", "AVX2")
"""Processors, as ``torch.backends.cpu.get_cpu_capability`` names them, on which bfloat16 is emulated."""


def warn_of_emulation(trainer: Trainer) -> None:
    """Warn where bfloat16 would take longer than float32, about eight times in convolutions on AVX2."""
    capability = torch.backends.cpu.get_cpu_capability()
    on_cpu = trainer.strategy.root_device.type == "cpu"
    if on_cpu and str(trainer.precision).startswith("bf16") and capability in WITHOUT_BFLOAT16:
        rank_zero_warn(
            f"trainer.precision {trainer.precision}: this processor ({capability}) has no bfloat16 and emulates it, "
            "which takes several times as long as float32. Use --trainer.precision 32-true here."
        )
