"""What the libraries below print in every run and nobody has to read: advertisements and warnings of no consequence.

Each is left out by the beginning of its own message. Whatever else they say is shown.
"""

import logging
import re
import warnings

import torch

NOTICES = (
    "💡 Tip: ",
    "Trainer already configured with model summary callbacks",
    "Loading `train_dataloader` to estimate number of stepping batches",
)
"""Lightning's log: advertisements, and that it does what it was told."""

WARNINGS = (
    "`isinstance(treespec, LeafSpec)` is deprecated",  # Lightning's own call of torch
    "Checkpoint directory ",  # "... exists and is not empty": of a run that goes on in its folder
    "The `srun` command is available on your system but is not used",  # a login node, or one process on purpose
)
WITHOUT_GPU = re.compile(r"The '\w+' does not have many workers")
"""Where the processor trains, further processes that load take its time: 0 workers are best (``datamodules``)."""

IN_EVALUATION = (
    "Be aware that when using `ckpt_path`, callbacks used to create the checkpoint need to be provided"
)
"""True of a training that goes on. An evaluation leaves out those that only train."""


class NoticeFilter(logging.Filter):
    """Lets pass what does not begin as one of :data:`NOTICES`."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(NOTICES)


def leave_out_harmless_messages(evaluation: bool = False) -> None:
    """From here on, in this process. ``evaluation``: also those that are harmless in an evaluation alone."""
    log = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    if not any(isinstance(each, NoticeFilter) for each in log.filters):
        log.addFilter(NoticeFilter())
    beginnings = [re.escape(message) for message in WARNINGS]
    if not torch.cuda.is_available():
        beginnings.append(WITHOUT_GPU.pattern)
    if evaluation:
        beginnings.append(re.escape(IN_EVALUATION))
    for beginning in beginnings:
        warnings.filterwarnings("ignore", beginning)
