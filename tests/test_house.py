"""The rooms of the house: what each may import, and what may lie outside of any."""

import ast
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("sefl", "models", "datamodules", "callbacks")
FLOORS = (
    {"sefl", "sefl.arguments"},
    {"sefl.files", "sefl.tensors"},
    {"sefl.fourier"},
    {"sefl.groups"},
    {"datamodules", "sefl.metrics", "sefl.networks"},
    {"sefl.compat", "sefl.equivariance", "sefl.escnn", "sefl.runs"},
    {"sefl.figures", "sefl.training"},
    {"callbacks", "models", "sefl.command_line", "sefl.testing"},
    {"sefl.bench", "sefl.demo", "sefl.evaluate", "sefl.fit", "sefl.predict", "sefl.report"},
    {"sefl.sweep"},
)
"""From the ground up; a room imports what lies on floors below its own."""
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def room_of(module: str) -> str:
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "sefl" else parts[0]


def imported(file: Path) -> set[str]:
    """The modules that a file names, also within its functions; of ``from a import b`` both ``a`` and ``a.b``."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: relative import"
            found |= {str(node.module)} | {f"{node.module}.{name.name}" for name in node.names}
    return found


def arrows() -> dict[tuple[str, str], list[str]]:
    """Which files import from room to room."""
    files = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    }
    found = defaultdict(list)
    for module, path in files.items():
        for name in imported(path) & files.keys():
            if name != "sefl" and room_of(name) != room_of(module):
                found[room_of(module), room_of(name)].append(f"{module} imports {name}")
    return found


def test_every_import_runs_down() -> None:
    found = arrows()
    assert len(found) > 50
    wrong = [
        each for (above, below), all_of in found.items() if FLOOR[below] >= FLOOR[above] for each in all_of
    ]
    assert not wrong


def test_the_root_holds_commands_alone() -> None:
    allowed = {"__init__", "arguments", "evaluate", "fit", "testing"}
    assert {path.stem for path in (ROOT / "sefl").glob("*.py")} == allowed
    rooms = {path.parent.name for path in (ROOT / "sefl").glob("*/__init__.py")}
    assert {f"sefl.{room}" for room in rooms} <= FLOOR.keys()


def test_constructors_have_at_most_eight_arguments() -> None:
    """What takes more is a dataclass of settings; :mod:`sefl.compat` has the arguments of the authors' classes."""
    found = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for made in ast.walk(ast.parse(path.read_text())):
                if isinstance(made, ast.ClassDef) and "compat" not in path.parts:
                    of_class = [each for each in made.body if isinstance(each, ast.FunctionDef)]
                    for made_by in (each.args for each in of_class if each.name in ("__init__", "__new__")):
                        arguments = [*made_by.posonlyargs, *made_by.args, *made_by.kwonlyargs]
                        found[f"{path.name}:{made.name}"] = len(arguments) - 1
    assert len(found) > 100
    assert not {name: count for name, count in found.items() if count > 8}


FILES_OF_A_RUN = (
    *("config.yaml", "split.npz", "command.txt", "metrics.csv", "resources.json", "evaluation.json"),
    *("fit.csv", "best.ckpt", "last.ckpt"),
)


def texts(file: Path) -> set[str]:
    """The strings in a file's code, docstrings and messages left out."""
    tree = ast.parse(file.read_text())
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in said)
    return {node.value for node in constants if isinstance(node.value, str) and " " not in node.value}


def test_files_of_a_run_are_named_in_its_room_alone() -> None:
    """Whoever wants what is in one asks :mod:`sefl.runs`."""
    naming = {
        path.relative_to(ROOT).parent.as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if any(text.endswith(FILES_OF_A_RUN) for text in texts(path))
    }
    assert naming == {"sefl/runs"}


LAYERS = ("fourier", "groups", "networks")
LIBRARY = ("metrics", "equivariance", "testing")
READING_RUNS = ("runs.run", "runs.experiments", "runs.evaluation")


def test_library_rooms_need_no_lightning_and_layers_no_compiler() -> None:
    """In one process, which says of which room the import brings one in; torchmetrics brings the compiler."""
    rooms = [*LAYERS, *LIBRARY, *READING_RUNS]
    code = f"""
import importlib, sys
unwanted = {{"pytorch_lightning", "lightning_fabric", "torch._dynamo"}}
for room in sys.argv[1:]:
    unwanted -= {{"torch._dynamo"}} if room == {LIBRARY[0]!r} else set()
    importlib.import_module(f"sefl.{{room}}")
    print(room, *sys.modules.keys() & unwanted)"""
    command = [sys.executable, "-c", code, *rooms]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout.splitlines() == rooms
