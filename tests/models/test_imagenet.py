"""Photographs in ImageNet's layout: how they are read, shift consistency, blur pooling, the commands."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models as torchvision_models
from torchvision import transforms
from torchvision.datasets import ImageFolder

from datamodules import ImageNet, RandomAffine
from models import CropClassifier
from models.crop_classifier import random_crops
from sefl.evaluate import main as evaluate
from sefl.fit import main as fit
from sefl.groups.blur import blur_pool
from sefl.metrics import ShiftConsistency
from sefl.networks import AntialiasedTorchvisionNetwork, SinglePredictionNetwork, TorchvisionNetwork
from sefl.runs.metrics_file import iterate_rows

ROOT = Path(__file__).parents[2]
SYNSETS = ("n01440764", "n01443537", "n01484850")
SIZE, RESIZE = 40, 46


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Three synsets, JPEGs of several shapes, grey ones among them; ``val`` lacks one synset."""
    for part, per_synset in (("train", 4), ("val", 3)):
        for label, synset in enumerate(SYNSETS[: 3 if part == "train" else 2]):
            folder = tmp_path / "ILSVRC2012" / part / synset
            folder.mkdir(parents=True)
            for number in range(per_synset):
                drawn = np.random.default_rng([label, number, len(part)])
                colour = np.array([80 * label, 200 - 60 * label, 90])
                pixels = colour + drawn.integers(0, 50, (50 + 9 * number, 64, 3))
                image = Image.fromarray(pixels.astype(np.uint8))
                (image.convert("L") if number == 1 else image).save(folder / f"{synset}_{number}.JPEG")
    return tmp_path / "ILSVRC2012"


def data(tree: Path, **options: Any) -> ImageNet:
    made = ImageNet(str(tree), SIZE, RESIZE, batch_size=5, eval_batch_size=4, **options)
    made.setup()
    return made


def test_test_images_are_those_of_torchvision(tree: Path) -> None:
    made = data(tree)
    expected = ImageFolder(
        str(tree / "val"),
        transforms.Compose(
            [
                transforms.Resize(RESIZE),
                transforms.CenterCrop(RESIZE),
                transforms.ToTensor(),
                transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            ]
        ),
    )
    (loader,) = made.test_dataloader()
    for each in (loader, made.val_dataloader()):
        images, labels = (torch.cat(parts) for parts in zip(*each, strict=True))
        torch.testing.assert_close(images, torch.stack([image for image, _ in expected]))
        assert labels.tolist() == expected.targets == [0, 0, 0, 1, 1, 1]
    assert made.class_names == list(SYNSETS)


def epoch(made: ImageNet, number: int) -> tuple[Tensor, Tensor]:
    loader = made.train_dataloader()
    loader.sampler.set_epoch(number)
    images, labels = zip(*loader, strict=True)
    return torch.cat(images), torch.cat(labels)


def test_training_images_are_random_parts(tree: Path) -> None:
    images, labels = epoch(data(tree), 0)
    assert images.shape == (12, 3, SIZE, SIZE)
    assert sorted(labels.tolist()) == sorted(4 * [0, 1, 2])
    state = torch.get_rng_state()
    again, same = epoch(data(tree), 0)
    assert torch.equal(again, images)
    assert torch.equal(same, labels)
    assert torch.equal(torch.get_rng_state(), state), "the global generator is advanced"
    other, _ = epoch(data(tree), 1)
    assert not torch.isclose(other.sum((1, 2, 3))[:, None], images.sum((1, 2, 3))).any()
    # Without random parts the epochs differ by mirror images alone.
    central = [epoch(data(tree, random_crops=False), number)[0] for number in (0, 1)]
    sums = [sorted(each.double().sum((1, 2, 3)).tolist()) for each in central]
    np.testing.assert_allclose(*sums, rtol=1e-6)
    assert not torch.equal(*central)


def test_labels_of_weights_for_more_synsets(tree: Path) -> None:
    file = tree / "synsets.txt"
    file.write_text("n00000001 first\nn01484850 shark\n\nn01440764 tench, Tinca\nn01443537 goldfish\n")
    made = data(tree, synsets=str(file))
    assert made.num_classes == 4
    labels = torch.cat([labels for _, labels in made.test_dataloader()[0]])
    assert labels.tolist() == [2, 2, 2, 3, 3, 3]


def test_mistakes(tree: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"nowhere/train does not exist; give a folder with a subfolder"
    ):
        ImageNet("nowhere")
    with pytest.raises(ValueError, match="affine_augmentation must be none"):
        ImageNet(str(tree), affine_augmentation=RandomAffine())
    with pytest.raises(ValueError, match="resize must be"):
        ImageNet(str(tree), 64, 60)
    with pytest.raises(FileNotFoundError, match=r"synsets none\.txt: there is no such file"):
        ImageNet(str(tree), synsets="none.txt")
    (tree / "two.txt").write_text("n01440764\nn01443537\nn01443537\n")
    with pytest.raises(ValueError, match="must list each synset once"):
        ImageNet(str(tree), synsets=str(tree / "two.txt"))
    (tree / "two.txt").write_text("n01440764\nn01443537\n")
    with pytest.raises(ValueError, match=r"train must have .*two\.txt alone, got n01484850"):
        ImageNet(str(tree), synsets=str(tree / "two.txt"))
    (tree / "val/n99999999").mkdir()
    with pytest.raises(ValueError, match="val must have the synsets of train alone, got n99999999"):
        ImageNet(str(tree))
    loose = tree / "loose"
    (loose / "val").mkdir(parents=True)
    (loose / "train").symlink_to(tree / "train")
    with pytest.raises(FileNotFoundError, match=r"val has no folders of synsets; .* move each into that"):
        ImageNet(str(loose))
    (tree / "val/n99999999").rmdir()
    (tree / "val" / SYNSETS[0] / "broken.JPEG").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"broken\.JPEG is damaged or no image"):
        list(data(tree).val_dataloader())


class Brightest(SinglePredictionNetwork):
    """Class 1 if the first pixel is the brighter of the first two, else 0: not invariant to shifts."""

    def __init__(self, size: int) -> None:
        super().__init__(3, 2, 1, size)
        self.weight = nn.Parameter(torch.ones(()))

    def classify(self, images: Tensor) -> Tensor:
        difference = (images[:, 0, 0, 0] - images[:, 0, 0, 1]) * self.weight
        return torch.stack([-difference, difference], dim=1)


def test_shift_consistency_of_random_crops() -> None:
    torch.manual_seed(0)
    images = torch.randn(200, 3, 12, 12)
    crops = random_crops(images, 8, np.random.default_rng(0))
    places = {
        (row, column): (images[:, :, row : row + 8, column : column + 8] == crops).flatten(1).all(1)
        for row in range(5)
        for column in range(5)
    }
    counts = {place: int(found.sum()) for place, found in places.items()}
    assert sum(counts.values()) == 200
    assert {place for place, count in counts.items() if count} == {(i, j) for i in range(4) for j in range(4)}

    model = CropClassifier(Brightest(8))
    central = images[:, 0, 2, 2] > images[:, 0, 2, 3]
    assert torch.equal(model(images).argmax(-1)[:, 0] == 1, central)
    logged: dict[str, float] = {}
    model.log_global = lambda name, value, prog_bar=False: logged.update({name: float(value)})  # type: ignore[method-assign, assignment]
    model._trainer = type("Trainer", (), {"global_rank": 0})()
    labels = central.long()
    for batch in range(2):
        model.test_step((images[100 * batch :][:100], labels[100 * batch :][:100]), batch)
    expected = ShiftConsistency()
    for batch in range(2):
        generator = np.random.default_rng([0, 0, batch])
        for _ in range(5):
            pair = [random_crops(images[100 * batch :][:100], 8, generator) for _ in range(2)]
            expected.update(torch.stack([(crop[:, 0, 0, 0] > crop[:, 0, 0, 1]).long() for crop in pair]))
    model.on_test_epoch_end()
    assert logged["test/accuracy"] == 1
    assert logged["test/shift_consistency"] == pytest.approx(float(expected.compute()["pairs"]))
    assert 0.3 < logged["test/shift_consistency"] < 0.8


def test_blur_pooling_within_a_residual_block() -> None:
    torch.manual_seed(0)
    plain = torchvision_models.resnet18(num_classes=3).eval()
    network = AntialiasedTorchvisionNetwork(classes=3)
    network.body.load_state_dict(plain.state_dict())
    network.eval()
    x = torch.randn(2, 64, 10, 10)
    block = plain.layer2[0]
    dense = F.relu(block.bn1(F.conv2d(x, block.conv1.weight, padding=1)))
    inner = block.bn2(block.conv2(blur_pool(dense, 2)))
    shortcut = block.downsample[1](F.conv2d(blur_pool(x, 2), block.downsample[0].weight))
    torch.testing.assert_close(network.body.layer2[0](x), F.relu(inner + shortcut))
    torch.testing.assert_close(network.body.maxpool(x), blur_pool(F.max_pool2d(x, 3, stride=1, padding=1), 2))
    images = torch.randn(1, 3, 64, 64)
    assert network(images).shape == (1, 1, 3)
    assert network.body.conv1.stride == (2, 2)


@pytest.mark.parametrize("architecture", ["resnet50", "mobilenet_v2", "densenet121", "alexnet"])
def test_blur_pooling_moves_with_the_image(architecture: str) -> None:
    """Of the features before the head, less of them changes by a shift of one pixel than without."""
    torch.manual_seed(0)
    plain = TorchvisionNetwork(architecture, classes=3).eval()
    blurred = AntialiasedTorchvisionNetwork(architecture, classes=3).eval()
    assert plain.state_dict().keys() == blurred.state_dict().keys()
    blurred.load_state_dict(plain.state_dict())
    fine = F.interpolate(torch.randn(1, 3, 60, 60), scale_factor=4, mode="bicubic")
    images = torch.cat([fine[..., 8:200, 8:200], fine[..., 10:202, 10:202]])
    errors = []
    for network in (plain, blurred):
        with torch.no_grad():
            one, other = network(images)[:, 0]
        errors.append(float((one - other).norm() / (one - one.mean()).norm()))
    assert errors[1] < errors[0], errors


@pytest.mark.parametrize(
    ("architecture", "place"),
    [
        ("vit_b_16", "it has no strides"),
        ("convnext_tiny", r"its features\.2\.1 has a stride"),
        (
            "shufflenet_v2_x0_5",
            r"its stage2\.0\.branch1\.0 has a stride|its stage2\.0\.branch2\.3 has a stride",
        ),
    ],
)
def test_blur_pooling_has_no_place(architecture: str, place: str) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=f"got '{architecture}': ({place})"):
        AntialiasedTorchvisionNetwork(architecture)


OPTIONS = [
    *("--data.image_size", str(SIZE), "--data.resize", str(RESIZE), "--data.num_workers", "0"),
    *(
        "--data.batch_size",
        "6",
        "--data.eval_batch_size",
        "3",
        "--model.network.architecture",
        "squeezenet1_1",
    ),
    *("--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false", "--wandb.mode", "disabled"),
]
CONFIG = ["--config", str(ROOT / "configs/imagenet/resnet18.yaml")]
MEASURED = {"test/loss", "test/accuracy", "test/accuracy_top5", "test/shift_consistency"}


def test_it_trains_and_is_evaluated(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree.parent)
    blurred = ["--model.network", "AntialiasedTorchvisionNetwork", "--trainer.max_epochs", "1"]
    fit([*CONFIG, "--data.root", "ILSVRC2012", "--run_dir", "run", *blurred, *OPTIONS])
    (row,) = [row for row in iterate_rows(Path("run/metrics.csv")) if row.get("val/accuracy_top5")]
    assert float(row["val/accuracy_top5"]) == 1
    evaluate(["--ckpt_path", "run/checkpoints/best.ckpt", "--trainer.enable_progress_bar", "false"])
    result = json.loads(Path("run/evaluation/0/evaluation.json").read_text())
    assert result["metrics"].keys() >= MEASURED
    assert {row["transformation"] for row in result["equivariance"]} == {"flip_horizontal"}


def test_weights_of_all_synsets_on_some(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A network that knows the second synset of the list by its colour alone."""
    monkeypatch.chdir(tree.parent)
    Path("synsets.txt").write_text("n00000001\nn01443537\nn01440764\nn01484850\n")
    network = torchvision_models.squeezenet1_1(num_classes=4)
    nn.init.zeros_(network.classifier[1].weight)
    network.classifier[1].bias.data = torch.tensor([0.0, 2.0, 1.0, 0.0])
    torch.save(network.state_dict(), "mine.pth")
    own = ["--data.synsets", "synsets.txt", "--model.network.state_dict", "mine.pth", "--runs", "runs"]
    for place, name in enumerate(["TorchvisionNetwork", "AntialiasedTorchvisionNetwork"]):
        evaluate([*CONFIG, "--data.root", "ILSVRC2012", "--model.network", name, *own, *OPTIONS])
        output = Path(f"runs/imagenet/resnet18/pretrained/evaluation/{place}/evaluation.json")
        metrics = json.loads(output.read_text())["metrics"]
        assert metrics["test/accuracy"] == 0.5, "all are taken for the goldfish"
        assert metrics["test/shift_consistency"] == 1
    assert "shift consistency (two crops" in capsys.readouterr().out
