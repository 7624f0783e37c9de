import warnings

import pytest
import torch
from pytorch_lightning import Trainer

from sefl.training.precision import warn_of_emulation


def trainer(precision):
    return Trainer(precision=precision, accelerator="cpu", logger=False, enable_checkpointing=False)


@pytest.fixture
def processor(monkeypatch):
    def pretend(capability):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)

    return pretend


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_bfloat16_on_a_processor_without_it_is_warned_of(processor, precision):
    processor("AVX2")
    with pytest.warns(UserWarning, match=rf"trainer.precision {precision}: .*\(AVX2\).*32-true"):
        warn_of_emulation(trainer(precision))


@pytest.mark.parametrize(("precision", "capability"), [("32-true", "AVX2"), ("bf16-mixed", "AVX512")])
def test_what_the_processor_has_is_not_warned_of(processor, precision, capability):
    processor(capability)
    made = trainer(precision)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_emulation(made)
