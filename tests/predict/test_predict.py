"""python -m sefl.predict: what becomes of an image, what is said of it, and what is refused."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flat_settings import made
from matplotlib.image import imread
from PIL import Image

from datamodules import Glyphs, ImageFolderScale
from sefl.fit import main as fit
from sefl.networks import Network
from sefl.networks.trained_on import TrainedOn, described
from sefl.predict.__main__ import main
from sefl.predict.predicting import Predicting
from sefl.runs.prediction import Prediction

SMALL: dict[str, Any] = {"in_channels": 1, "classes": 10, "base_resolution": 8, "max_resolution": 12}
GLYPHS = {
    "image_size": 12,
    "resolutions": [8, 11, 12],
    "train_samples": 20,
    "val_samples": 20,
    "test_samples": 20,
}


def trained(name: str = "FourierNetwork", data: Any = None, **settings: Any) -> Network:
    torch.manual_seed(0)
    network = made(name, **{**SMALL, "widths": [4], **settings}).eval()
    network.trained_on = described(data or Glyphs(**GLYPHS))
    return network


def photograph(path: Path, width: int = 30, height: int = 20, **options: Any) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return path


def test_an_image_is_seen_as_the_images_of_the_data_are(tmp_path: Path) -> None:
    """The same pixels, as training batches have them, at every resolution; and the network's own probabilities."""
    for part in ("a", "b"):
        (tmp_path / "root" / part).mkdir(parents=True)
        for number in range(10):
            photograph(tmp_path / "root" / part / f"{number}.png", 20 + number, 25)
    settings = {"resolutions": [8, 11, 12], "image_size": 12, "channels": 1}
    data = ImageFolderScale(str(tmp_path / "root"), downsampling="bicubic", **settings)
    data.setup()
    network = trained(data=data, classes=2)
    predicting = Predicting(network)
    files = np.array(data.folders.find()[0])
    for images, _ in data.test_dataloader()[0]:
        resolution = images.shape[-1]
        chosen = data.split.test[data.split.test_resolutions == resolution]
        for image, file in zip(images, files[chosen], strict=True):
            assert torch.equal(predicting.images(file)[resolution][0], image)
            expected = network(image[None])[0, -1].double().softmax(0).detach().numpy()
            np.testing.assert_allclose(predicting(file).by_resolution[resolution], expected, atol=1e-6)


def test_what_the_command_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained().save_pretrained(tmp_path / "saved")
    files = [str(photograph(tmp_path / "wide.jpg")), str(photograph(tmp_path / "tall.png", 12, 24))]
    arguments = ["--model", str(tmp_path / "saved"), "--output", str(tmp_path / "out"), "--turned", "D4"]
    main([*files, *arguments])
    said = capsys.readouterr().out
    assert "JPEG, 30 x 20, mode RGB; colours made grey; middle 20 x 20 cut out; resized to 12 x 12" in said
    content = json.loads((tmp_path / "out/0/predictions.json").read_text())
    for one, file in zip(content["predictions"], files, strict=True):
        assert one["image"] == file
        assert list(one["by_resolution"]) == ["8", "11", "12"]
        assert list(one["by_element"]) == ["e", "r", "r^2", "r^3", "s", "rs", "r^2s", "r^3s"]
        assert one["by_element"]["e"] == one["by_resolution"]["12"]
        for probabilities in (*one["by_resolution"].values(), *one["by_element"].values()):
            assert sum(probabilities.values()) == pytest.approx(1)
        finest = one["by_resolution"]["12"]
        assert (one["class"], one["probability"]) == max(finest.items(), key=lambda item: item[1])
    for picture in ("0_wide.png", "1_tall.png"):
        assert imread(tmp_path / "out/0" / picture).std() > 0.1


def test_of_a_run_and_at_other_resolutions(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(["--config", str(tiny), "--trainer.max_epochs", "1"])
    image = str(photograph(tiny.with_name("image.png")))
    main([image, "--model", "runs/tiny/0", "--resolutions", "[9, 12]"])
    main([image, "--model", "runs/tiny/0/checkpoints/last.ckpt"])
    first, second = (
        json.loads(Path(f"predictions/{n}/predictions.json").read_text())["predictions"][0] for n in (0, 1)
    )
    assert list(first["by_resolution"]) == ["9", "12"]
    assert list(second["by_resolution"]) == ["8", "11", "12"]
    assert first["by_resolution"]["12"] == second["by_resolution"]["12"]
    assert Path("predictions/1/prediction.png").is_file()


def test_a_group_network_says_the_same_of_quarter_turns(tmp_path: Path) -> None:
    network = made("GroupSampledNetwork", group="C8", widths=[2, 3], subgroups=["C4", None]).eval()
    network.trained_on = TrainedOn([0.5], [0.25], None, image_size=13, resolutions=[13])
    found = Predicting(network, turned="own")(photograph(tmp_path / "a.png"))
    assert (found.group, list(found.by_resolution), len(found.by_element)) == ("C8", [13], 8)
    assert found.class_names == [str(digit) for digit in range(10)]
    for label in ("r^2", "r^4", "r^6"):
        np.testing.assert_allclose(found.by_element[label], found.by_element["e"], atol=1e-5)
    # and turns by 45 degrees, which it is not invariant to on this grid, do something
    assert not np.allclose(found.by_element["r"], found.by_element["e"], atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "nowhere"], "nowhere: there is no such folder"),
        (["--model", "."], "is no folder of a run, nor one that save_pretrained wrote"),
        (["--model", "saved", "--resolutions", "[7]"], r"--resolutions: must lie in 8\.\.12"),
        (["--model", "saved", "--turned"], "--turned: the network has no group of its own"),
        (["--model", "saved", "--turned", "Z9"], "Z9"),
        (["--model", "unsaid"], "does not say how its images were normalised"),
        (["--model", "signals"], "takes signals or volumes of 1 axes, not images"),
    ],
)
def test_mistakes_are_one_line(
    options: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    trained().save_pretrained("saved")
    made("ConvNetwork", **SMALL, widths=[3]).save_pretrained("unsaid")
    made("FourierNetwork", **SMALL, widths=[3], dimensions=1).save_pretrained("signals")
    with pytest.raises(SystemExit):
        main([str(photograph(tmp_path / "a.png")), *options])
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert re.search(message, said), said
    assert not Path("predictions").exists()


def test_no_image_is_one_line_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained().save_pretrained(tmp_path / "saved")
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(SystemExit):
        main([str(tmp_path / "a.png"), "--model", str(tmp_path / "saved")])
    assert "a.png is damaged or no image" in capsys.readouterr().err


def test_the_leading_classes_are_the_answer_and_what_is_probable_anywhere() -> None:
    rows = {8: np.array([0.1, 0.7, 0.2]), 12: np.array([0.6, 0.1, 0.3])}
    assert Prediction(Path("a"), [], ["a", "b", "c"], rows).leading(2) == [0, 1]
