"""Networks ready to be used on anybody's images: of a run, a checkpoint, a saved folder, or of this package."""

import shutil
from pathlib import Path

from sefl.networks import Network
from sefl.networks.saved import CARD, CONFIG, shipped
from sefl.runs.folder import RunFolder
from sefl.runs.model_card import model_card
from sefl.runs.run import Run
from sefl.runs.stored_models import StoredModel, open_checkpoint


def open_network(model: str, trust: bool = False) -> Network:
    """A trained network, in evaluation mode, with what it was trained on.

    Args:
        model: a run folder, whose best checkpoint it is; a checkpoint file; a folder of ``save_pretrained``; the name
            of a network of this package; or ``owner/name`` on the Hub.
        trust: whether classes of a run may be imported that are neither this project's nor installed.

    Raises:
        ValueError: if it is none of these, is damaged, or its model has no network of :mod:`sefl.networks`.
    """
    path = Path(model)
    checkpoint = path if path.is_file() else None
    if path.is_dir() and not (path / CONFIG).is_file() and model not in shipped():
        folder = RunFolder(path)
        if not folder.holds_a_run():
            raise ValueError(
                f"--model {model}: is no folder of a run, nor one that save_pretrained wrote (without {CONFIG}); "
                f"networks that come with sefl: {', '.join(shipped()) or 'none'}"
            )
        checkpoint = Run(path, trust).checkpoint
        if checkpoint is None:
            raise ValueError(f"--model {model}: the run has no checkpoint yet")
    if checkpoint is None:
        return Network.from_pretrained(model)
    made: StoredModel = open_checkpoint(checkpoint, trust=trust).eval()
    network = getattr(made, "network", None)
    if not isinstance(network, Network):
        raise ValueError(f"--model {model}: a {type(made).__name__} has no network of sefl.networks")
    network.trained_on = made.trained_on
    return network


def write_network(run: Run, folder: Path, title: str | None = None) -> Path | None:
    """Write the network of a run's best checkpoint, with its card, as ``save_pretrained`` does.

    Args:
        run: the run, whose classes may run.
        folder: where to; what was there is replaced.
        title: what the network is called; by default as the run.

    Returns:
        the folder, or ``None`` if the run has no checkpoint, or its model no network of :mod:`sefl.networks`.

    Raises:
        ValueError: if the checkpoint cannot be opened by itself, or the network not be stored.
    """
    if run.checkpoint is None:
        return None
    made: StoredModel = open_checkpoint(run.checkpoint, trust=True).eval()
    network = getattr(made, "network", None)
    if not isinstance(network, Network):
        return None
    network.trained_on = made.trained_on
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    (partial / CARD).write_text(str(model_card(run, network, title or run.name.replace("/", "-"))))
    network.save_pretrained(partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    return folder
