"""Networks ready to be used on anybody's images: of a run, a checkpoint, a saved folder, or of this package."""

from pathlib import Path

from sefl.networks import Network
from sefl.networks.saved import CONFIG, shipped
from sefl.runs.folder import RunFolder
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
    if path.is_dir() and not (path / CONFIG).is_file():
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
