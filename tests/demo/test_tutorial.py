"""The tutorial notebook runs top to bottom, what it claims is true, and what is stored of a run may be published."""

import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "sefl/demo/tutorial.ipynb"
SHORT = "TRAINING_IMAGES, EPOCHS = 320, 10"
CELL_DEADLINE = 300
LARGEST_FILE = 500_000
PICTURES = 5
PATH = re.compile(r"""(?:^|[\s"'(<=])(?:~|[A-Za-z]:)?[/\\]\w""")

RESULTS = [
    "slice_difference",
    "layer_errors",
    "relu_errors",
    "plain_errors",
    "pass_difference",
    "network_error",
    "accuracies",
    "own_accuracies",
    "reconstruction_error",
    "anti_aliased_errors",
    "naive_errors",
    "discarded",
    "escnn_errors",
    "signal_error",
]
"""Variables of the notebook that are looked at."""

SHOW_RESULTS = f"""
import json
found = {{name: globals()[name] for name in {RESULTS}}}
found["escnn_errors"] = list(found["escnn_errors"].values())
print(json.dumps({{name: torch.as_tensor(value).tolist() for name, value in found.items()}}))
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The variables after all cells ran, with less training, in a folder where nothing is left."""
    notebook = nbformat.read(TUTORIAL, as_version=4)
    parameters = next(index for index, cell in enumerate(notebook.cells) if cell.id == "parameters")
    notebook.cells.insert(parameters + 1, nbformat.v4.new_code_cell(SHORT))
    notebook.cells.append(nbformat.v4.new_code_cell(SHOW_RESULTS))
    folder, jupyter = tmp_path_factory.mktemp("cwd"), tmp_path_factory.mktemp("jupyter")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTHONPATH", str(ROOT))
        environment.setenv("OMP_NUM_THREADS", "1")
        environment.setenv("IPYTHONDIR", str(jupyter / "ipython"))
        environment.setenv("JUPYTER_RUNTIME_DIR", str(jupyter / "runtime"))
        NotebookClient(
            notebook,
            timeout=CELL_DEADLINE,
            kernel_name="python3",
            resources={"metadata": {"path": str(folder)}},
        ).execute()
    assert not list(folder.iterdir())
    (output,) = notebook.cells[-1].outputs
    found: dict[str, Any] = json.loads(output.text)
    return found


def test_downsampling_is_a_slice(results: dict[str, Any]) -> None:
    assert results["slice_difference"] < 1e-5


def test_the_layer_is_equivariant_and_plain_ones_are_not(results: dict[str, Any]) -> None:
    assert len(results["layer_errors"]) == 24
    assert max(results["layer_errors"]) < 1e-8
    assert min(results["relu_errors"]) > 1e-2
    assert min(results["plain_errors"]) > 1e-2
    assert results["signal_error"] < 1e-8


def test_one_pass_predicts_at_all_resolutions(results: dict[str, Any]) -> None:
    assert results["pass_difference"] < 1e-3


def test_the_trained_network(results: dict[str, Any]) -> None:
    assert results["network_error"] < 1e-8
    assert len(results["accuracies"]) == len(results["own_accuracies"]) == 17
    assert min(results["accuracies"]) > 0.2, "chance is 0.1"


def test_groups(results: dict[str, Any]) -> None:
    assert results["reconstruction_error"] < 1e-20
    assert max(results["anti_aliased_errors"]) < 1e-20
    assert len(results["discarded"]) == 12
    assert min(results["naive_errors"][element] for element in results["discarded"]) > 0.1


def test_networks_of_escnn(results: dict[str, Any]) -> None:
    if find_spec("escnn") is None:
        pytest.skip("escnn is not installed")
    restricted, bandlimited = results["escnn_errors"]
    assert restricted > 1e-4
    assert bandlimited < 1e-10


def test_stored_outputs() -> None:
    """They come from one run top to bottom, and say nothing of the machine that it ran on."""
    assert TUTORIAL.stat().st_size < LARGEST_FILE
    notebook = nbformat.read(TUTORIAL, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {"display_data", "execute_result"}
    assert sum("image/png" in output.data for output in outputs) == PICTURES
    for output in outputs:
        assert not PATH.search(output.data.get("text/plain", ""))
        assert set(output.data) <= {"text/plain", "image/png"}


@pytest.mark.parametrize(
    "text", ["/root/run", "<ipython /tmp/x>", "file='~/data'", "see C:\\Users", 'in "/home/me/x.py"']
)
def test_a_path_is_found(text: str) -> None:
    assert PATH.search(text)


@pytest.mark.parametrize("text", ["equivariance/downsample/mean: 1e-13", "1 / 2", "C12/C6"])
def test_a_name_is_no_path(text: str) -> None:
    assert not PATH.search(text)
