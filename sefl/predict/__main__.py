"""Show what a network says of images: python -m sefl.predict IMAGE [IMAGE ...] --model MODEL

MODEL is a run folder (its best checkpoint), a checkpoint, a folder of save_pretrained, or the name of a network that
comes with sefl. An image is any PNG, JPEG or the like, grey or in colours: turned as its EXIF orientation says, laid on
the data's background where transparent, made grey or coloured as the network takes it, its middle square cut out,
resized, and brought to each resolution of the training data as these were. Classes and probabilities are shown and
written, for every class, to OUTPUT/N/predictions.json, with a picture of each image.
"""

import json
import sys
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from sefl.command_line.mistakes import OneLineParser
from sefl.files.output_folders import check_folder
from sefl.files.own_packages import find_ours_first
from sefl.files.trust import HELP, OPTION
from sefl.files.writing import write_atomically, write_text
from sefl.runs.folder import make_next_version

PROGRAM = "python -m sefl.predict"
DEFAULT_OUTPUT = "predictions"
PIPED_WIDTH = 200
PHOTOGRAPH = 600
"""Pixels of the longer side of a photograph in a picture."""
COLUMNS = 5
"""Classes in a table."""


def main(arguments: list[str] | None = None) -> None:
    """Predict as the command line says."""
    find_ours_first()
    parser = OneLineParser(prog=PROGRAM, description=__doc__)
    parser.add_argument("images", type=str, nargs="+", metavar="IMAGE", help="An image file.")
    model = "A run folder, a checkpoint, a saved network's folder, or the name of one that comes with sefl."
    parser.add_argument("--model", type=str, required=True, help=model)
    resolutions = "Pixels per side to predict at, such as [8,16,28]. By default those of the training data."
    parser.add_argument("--resolutions", type=list[int] | None, help=resolutions)
    turned = (
        "Also turn the images by each element of a group, such as C8; without a value of the network's own."
    )
    parser.add_argument("--turned", type=str, nargs="?", const="own", metavar="GROUP", help=turned)
    output = "The predictions are written to OUTPUT/0, 1, ..."
    parser.add_argument("--output", type=str, default=DEFAULT_OUTPUT, help=output)
    parser.add_argument(OPTION, action="store_true", help=HELP)
    options = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    try:
        check_folder(options.output, "--output")
        console = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH)
        of_network = (options.model, options.resolutions, options.turned, options.trust)
        predict([Path(image) for image in options.images], *of_network, Path(options.output), console)
    except ValueError as error:
        parser.error(str(error))


def predict(
    files: list[Path],
    model: str,
    resolutions: list[int] | None,
    turned: str | None,
    trust: bool,
    output: Path,
    console: Console,
) -> None:
    """Show and write what a network says of image files.

    Args:
        files: the images.
        model: what :func:`sefl.runs.pretrained.open_network` opens.
        resolutions: those to predict at, by default those of the training data.
        turned: a group to turn the images by, ``"own"`` for the network's.
        trust: whether to make networks of whatever classes a run names.
        output: the folder whose next number becomes the folder of what is written.
        console: where to show the tables.

    Raises:
        ValueError: if the network or an image cannot be used.
    """
    # with torch and Lightning, after seconds
    import numpy as np

    from sefl.figures.prediction import prediction_figure
    from sefl.predict.predicting import Predicting
    from sefl.runs.pretrained import open_network

    predicting = Predicting(open_network(model, trust), resolutions, turned)
    predictions = [predicting(file) for file in files]
    folder = make_next_version(output)
    for number, prediction in enumerate(predictions):
        steps = "; ".join(prediction.steps)
        console.print(f"[bold]{escape(str(prediction.image))}[/bold]: {escape(steps)}", soft_wrap=True)
        console.print(prediction.table(COLUMNS))
        picture = (
            folder / f"{number}_{prediction.image.stem}.png" if len(files) > 1 else folder / "prediction.png"
        )
        seen, elements = predicting.pixels(prediction.image)
        photograph = np.asarray(predicting.files.upright(prediction.image, PHOTOGRAPH))
        figure = prediction_figure(prediction, photograph, seen, elements)
        write_atomically(picture, partial(figure.savefig, format="png"))
    content = {"model": model, "predictions": [prediction.as_json() for prediction in predictions]}
    write_text(folder / "predictions.json", json.dumps(content, indent=2) + "\n")
    console.print(f"Written to [bold]{escape(str(folder))}[/bold]", soft_wrap=True)


if __name__ == "__main__":
    main()
