"""What stands beside the weights of a run's network: what it is, what was measured, on which data, which licence."""

import math
from collections.abc import Iterator

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from sefl.networks import Network
from sefl.networks.trained_on import TrainedOn
from sefl.runs.evaluation import MEASURES
from sefl.runs.layer_errors import spoken
from sefl.runs.run import NoResults, Results, Run

LICENCE = "mit"
DATA_TERMS = {
    "Glyphs": "rendered from the fonts in matplotlib (DejaVu, STIX, Computer Modern), which are free to use",
    "MNIST": "MNIST (LeCun et al. 1998)",
    "STL10": "STL-10 (Coates et al. 2011), of images that its authors took from ImageNet for research",
    "Waveforms": "rendered, free of any terms",
}
"""Where the data of a name, or a part of one, come from, and what may be done with them."""
TERMS_OF_OTHERS = "as whoever made the data says"

_EQUIVARIANCE = "equivariance/"


def model_card(run: Run, network: Network, title: str) -> ModelCard:
    """The card of the network of a run, as the Hub shows it; :attr:`ModelCard.data` holds the numbers.

    Args:
        run: what was measured of it is of its newest evaluation, or else its best validation.
        network: with the weights of the run's best checkpoint.
        title: what it is called.
    """
    trained_on = network.trained_on or TrainedOn()
    dataset = trained_on.dataset or str(run.data.get("class_path") or "unknown data")
    try:
        results: Results | None = run.results
    except NoResults:
        results = None
    measured = dict(_measured(results)) if results else {}
    data = ModelCardData(
        license=LICENCE,
        library_name="sefl",
        tags=["equivariance"],
        model_name=title,
        eval_results=[
            EvalResult(
                task_type="classification",
                dataset_type=dataset.partition("/")[0].lower(),
                dataset_name=dataset,
                dataset_split=results.origin if results else None,
                metric_type=name,
                metric_value=value,
            )
            for name, (_, value) in measured.items()
        ]
        or None,
    )
    parameters = sum(each.numel() for each in network.parameters())
    terms = next((said for part, said in DATA_TERMS.items() if part in dataset), TERMS_OF_OTHERS)
    lines = [f"# {title}", ""]
    lines += [f"A `{type(network).__name__}` of sefl with {parameters:,} parameters."]
    lines += ["", "```python", "from sefl.networks import Network", ""]
    lines += [
        f'network = Network.from_pretrained("{title}")  # or the folder of this file',
        "```",
        "",
        "## Measured",
        "",
    ]
    if results:
        samples = sum(results.samples.values())
        lines += [
            f"On the {results.origin} part of the data{f', {samples:,} samples' if samples else ''}.",
            "",
        ]
        lines += ["| measure | value |", "| --- | --- |"]
        lines += [f"| {said} | {_number(value)} |" for said, value in measured.values()]
    else:
        lines += ["Nothing was."]
    lines += ["", "## Data", "", f"`{dataset}`: {terms}.", "", *_of_the_data(trained_on)]
    lines += ["", "## Made by", "", "```bash", *(run.commands if results else []), "```"]
    lines += ["", "## Licence", "", f"Weights: {LICENCE.upper()}. Data: {terms}.", ""]
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n" + "\n".join(lines))


def _measured(results: Results) -> Iterator[tuple[str, tuple[str, float]]]:
    """Names of measures with what they are and their values, those that are finite."""
    for name, value in results.values.items():
        if not math.isfinite(value):
            continue
        if (measure := MEASURES.get(f"test/{name}")) is not None:
            yield name, (measure, value)
        elif name.startswith(_EQUIVARIANCE):
            of = spoken(name.removeprefix(_EQUIVARIANCE), [])
            yield name, (f"equivariance error, {of} (relative, squared, mean over layers)", value)


def _number(value: float) -> str:
    return f"{value:.4f}" if value == 0 or value >= 1e-3 else f"{value:.1e}"


def _of_the_data(trained_on: TrainedOn) -> Iterator[str]:
    """A line for each thing that is known."""
    if trained_on.class_names is not None:
        yield f"* classes: {', '.join(trained_on.class_names)}"
    if trained_on.image_size is not None:
        yield f"* images: {trained_on.image_size} pixels per side, {len(trained_on.mean or [])} channels"
    if trained_on.resolutions:
        least, most = trained_on.resolutions[0], trained_on.resolutions[-1]
        yield f"* resolutions: {least} to {most}, by {trained_on.downsampling} downsampling"
    if trained_on.mean is not None:
        yield f"* normalised: less {trained_on.mean}, divided by {trained_on.std}"
