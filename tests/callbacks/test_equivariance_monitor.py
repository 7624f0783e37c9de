"""The EquivarianceMonitor: its numbers, an undisturbed training, two processes against one, what it says."""

import csv
import json
import math
import random
import warnings
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from jsonargparse import ArgumentParser
from matplotlib.image import imread
from networks_for_monitoring import (
    COARSEST,
    Classifier,
    MeanPerBand,
    PerFrequency,
    Sharded,
    ToCoefficients,
    batches,
    control,
    exact,
    measure,
    trainer,
    with_state,
)
from pytorch_lightning.loggers import CSVLogger, Logger, WandbLogger
from torch import Tensor, nn

from callbacks import EquivarianceMonitor
from sefl.equivariance import CircularShift, Flip, IdealDownsampling, Rotation90
from sefl.fourier import to_coefficients

ROUNDING = 1e-27  # squared relative rounding of float64, 5e-32, times the terms of a sum
PERIODIC = [
    Flip("horizontal", center="pixel"),
    Flip("vertical", center="pixel"),
    Rotation90(center="pixel"),
    CircularShift([1, 3]),
]
pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*isinstance.treespec")


class TestNumbers:
    def test_exact_layers_against_the_control_at_every_resolution(self, tmp_path):
        every = [IdealDownsampling(list(range(COARSEST, 13))), *PERIODIC]
        good = measure(exact(), tmp_path, transformations=every)
        bad = measure(control(), tmp_path, transformations=every)
        assert [row.layer for row in good.results[:1] + good.results[-1:]] == ["network.0", "network.2"]
        downsampled = [
            row.parameter
            for row in good.results
            if (row.layer, row.transformation) == ("network.1", "downsample")
        ]
        assert downsampled == list(range(COARSEST, 13))
        assert {row.parameter for row in good.results if "rotate" in row.transformation} == {90, 180, 270}
        assert max(row.max for row in good.results) < ROUNDING
        assert min(row.mean for row in bad.results if row.layer != "network.0") > 1e-3
        assert all(0 < row.mean <= row.max for row in bad.results)

    def test_against_the_formula(self, tmp_path):
        model, loader = control().double(), batches([5], [10])
        monitor = measure(
            model, tmp_path, loader, layers=["network.0"], transformations=[IdealDownsampling([7])]
        )
        images, _ = next(iter(loader))
        shift = IdealDownsampling([7])
        expected = shift.image(model.network[0](images), 7)
        actual = model.network[0](shift.image(images, 7))
        errors = (expected - actual).flatten(1).square().sum(1) / expected.flatten(1).square().sum(1)
        (row,) = monitor.results
        assert row.mean == pytest.approx(errors.mean().item(), rel=1e-12)
        assert row.max == pytest.approx(errors.max().item(), rel=1e-12)
        assert row.count == 5

    def test_outputs_are_seen_before_a_later_layer_overwrites_them(self, tmp_path):
        convolution = nn.Conv2d(2, 2, 1)
        inplace = Classifier(nn.Sequential(convolution, nn.ReLU(inplace=True)))
        assert max(row.max for row in measure(inplace, tmp_path, layers=["network.0"]).results) < ROUNDING

    def test_bands_invariant_features_and_mixed_resolutions(self, tmp_path):
        model = Classifier(nn.Sequential(ToCoefficients(), PerFrequency(), MeanPerBand()))
        monitor = measure(
            model, tmp_path, transformations=[IdealDownsampling([6, 8, 11]), CircularShift([1])]
        )
        assert not monitor.unmeasured
        assert max(row.max for row in monitor.results) < ROUNDING
        counts = {
            row.parameter: row.count
            for row in monitor.results
            if (row.layer, row.transformation) == ("network.2", "downsample")
        }
        assert counts == {6: 12, 8: 12, 11: 8}, "only batches finer than the parameter count"
        pooled = Classifier(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
        means = measure(pooled, tmp_path, layers=["network.1"], transformations=PERIODIC)
        assert max(row.max for row in means.results) < ROUNDING

    def test_32_bit_networks_are_measured_in_64(self, tmp_path):
        monitor = EquivarianceMonitor(figures=False)
        trainer(tmp_path, monitor).validate(exact().float(), batches(dtype=torch.float32), verbose=False)
        assert 1e-16 < max(row.max for row in monitor.results) < 1e-11

    def test_runs_in_the_precision_of_the_trainer(self, tmp_path):
        monitor = EquivarianceMonitor(layers=["network.0"], transformations=[Flip()], figures=False)
        symmetric = Classifier(nn.Sequential(nn.Conv2d(2, 4, 1)))
        trainer(tmp_path, monitor, precision="bf16-mixed").validate(
            symmetric, batches(dtype=torch.float32), verbose=False
        )
        seen: list[torch.dtype] = []
        symmetric.network[0].register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
        trainer(tmp_path, monitor, precision="bf16-mixed").validate(
            symmetric, batches(dtype=torch.float32), verbose=False
        )
        assert len(seen) > 3
        assert set(seen) == {torch.bfloat16}

    def test_how_many_samples_and_steps(self, tmp_path):
        loader = batches([4, 1, 4, 3, 4], [9] * 5)
        monitor = measure(control(), tmp_path, loader, samples_per_step=3, every_n_steps=2)
        assert {row.count for row in monitor.results} == {3 + 3 + 3}

    def test_nan_is_not_hidden(self, tmp_path):
        model = control()
        model.network[2].weight.data[0, 0, 0, 0] = math.nan
        rows = measure(model, tmp_path).results
        assert all(math.isnan(row.mean) == (row.layer in ("network.2", "network.3")) for row in rows)
        assert all(math.isnan(row.max) == math.isnan(row.mean) for row in rows)


class Greedy(nn.Module):
    """Takes from every random state and writes its buffers, even in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("last", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.last = torch.rand(1) + random.random() + np.random.rand()  # noqa: NPY002
        return x + 0.1 * self.last


class TestUndisturbed:
    @pytest.mark.parametrize("inference_mode", [True, False])
    def test_training_is_the_same_bit_for_bit(self, tmp_path, inference_mode):
        after = []
        for with_monitor in (False, True):
            pl.seed_everything(0, verbose=False)
            model = with_state()
            model.network.append(Greedy())
            loader = batches([4] * 4, [13, 9, 12, 9], torch.float32)
            monitor = [EquivarianceMonitor(transformations=[IdealDownsampling(), Flip()])] * with_monitor
            run = trainer(
                tmp_path, *monitor, max_epochs=2, val_check_interval=2, inference_mode=inference_mode
            )
            run.fit(model, loader, batches(dtype=torch.float32))
            rng = [torch.rand(1).item(), random.random(), np.random.rand()]  # noqa: NPY002
            after.append((dict(model.state_dict()), rng))
        (plain, plain_rng), (monitored, monitored_rng) = after
        assert len(monitor[0].results) > 0
        assert plain.keys() == monitored.keys()
        assert any("running_var" in name for name in plain)
        assert all(torch.equal(value, monitored[name]) for name, value in plain.items())
        assert plain_rng == monitored_rng

    def test_leaves_nothing_behind(self, tmp_path):
        model = with_state().double()

        class Frozen(pl.Callback):
            """A user's own choice of modes in validation, and gradients that wait for a step."""

            def on_validation_batch_start(self, trainer: Any, pl_module: Any, *_: Any) -> None:
                pl_module.network[1].training = True
                for parameter in pl_module.parameters():
                    parameter.grad = torch.ones_like(parameter)

        modes_seen = []

        class Look(pl.Callback):
            def on_validation_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
                modes_seen.append([module.training for module in pl_module.modules()])
                assert not any(module._forward_hooks for module in pl_module.modules())
                assert all((parameter.grad == 1).all() for parameter in pl_module.parameters())

        monitor = EquivarianceMonitor(figures=False)
        before = model.network[1].num_batches_tracked.clone()
        trainer(tmp_path, Frozen(), monitor, Look()).validate(model, batches(), verbose=False)
        expected = [module is model.network[1] for module in model.modules()]
        assert modes_seen == [expected] * 3
        # Validation itself ran the layer in training mode, three times; the monitor did not.
        assert model.network[1].num_batches_tracked == before + 3
        assert monitor.results

    def test_not_in_the_sanity_check(self, tmp_path):
        monitor = EquivarianceMonitor(figures=False)
        run = trainer(tmp_path, monitor, num_sanity_val_steps=2, limit_val_batches=2, max_epochs=0)
        run.fit(control(), batches(dtype=torch.float32), batches(dtype=torch.float32))
        assert monitor.results == []


class Strange(nn.Module):
    """Outputs of many kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.pair = Pair()
        self.sequence = nn.Flatten(2)
        self.twice = nn.ReLU()
        self.unused = nn.ReLU()
        self.misnamed = nn.Identity()
        self.misnamed.output_type = "waves"
        self.fine = nn.Conv2d(2, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        self.pair(x)
        self.sequence(x)
        return self.twice(self.misnamed(self.fine(self.twice(x))))


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


class TestWhatCannotBeMeasured:
    def test_is_said_once_and_the_rest_is_measured(self, tmp_path):
        monitor = EquivarianceMonitor(figures=False)
        run = trainer(tmp_path, monitor, max_epochs=2)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            run.fit(Classifier(Strange()).double(), batches(), batches())
        (message,) = [str(w.message) for w in caught if "EquivarianceMonitor" in str(w.message)]
        for said in (
            "network.pair: its output is a tuple",
            "network.sequence: its output has 3 axes",
            "network.twice: it runs several times",
            "network.unused: it does not run",
            "network.misnamed: its output_type is 'waves'",
        ):
            assert said in message
        assert {row.layer for row in monitor.results} == {"network.fine"}
        assert set(monitor.unmeasured) == {
            (f"network.{name}", "downsample") for name in ("pair", "sequence", "twice", "unused", "misnamed")
        }

    def test_a_network_that_refuses_other_sizes(self, tmp_path):
        torch.manual_seed(0)
        model = Classifier(nn.Sequential(nn.Conv2d(2, 2, 1), nn.Flatten(), nn.Linear(2 * 12 * 12, 2)))
        with pytest.warns(UserWarning, match=r"network\.2: the model fails on images of 8 x 8"):
            monitor = measure(
                model, tmp_path, batches([4], [12]), transformations=[IdealDownsampling(), Flip()]
            )
        assert {(row.layer, row.transformation) for row in monitor.results} == {
            ("network.0", "downsample"),
            *((f"network.{i}", "flip_horizontal") for i in range(3)),
        }

    def test_nothing_applies(self, tmp_path):
        with pytest.warns(UserWarning, match="measured nothing"):
            monitor = measure(control(), tmp_path, batches([4], [8]))
        assert monitor.results == []

    def test_errors_of_the_network_on_its_own_images_are_not_hidden(self, tmp_path):
        model = Classifier(nn.Sequential(nn.Conv2d(3, 2, 1)))
        model.validation_step = lambda batch, batch_idx: None
        with pytest.raises(RuntimeError, match="3 channels"):
            measure(model, tmp_path)

    def test_batches_without_images(self, tmp_path):
        monitor = EquivarianceMonitor()
        images = torch.rand(2, 1, 4, 4)
        for batch in (images, [images, 1], (images, 1), {"image": images, "label": 1}):
            assert monitor.images(batch) is images
        for batch in ({"x": images}, [images.byte(), 1], images[0, 0], None):
            with pytest.raises(TypeError, match=r"override the method images\(batch\)"):
                monitor.images(batch)


class Declares(Classifier):
    def measured_layers(self) -> list[str]:
        return ["network.[12]"]


class TestLayers:
    def test_patterns_declared_and_default(self, tmp_path):
        assert {row.layer for row in measure(control(), tmp_path, layers=["*.3", "network.0"]).results} == {
            "network.0",
            "network.3",
        }
        declared = measure(Declares(control().network), tmp_path)
        assert {row.layer for row in declared.results} == {"network.1", "network.2"}
        given = measure(Declares(control().network), tmp_path, layers=["network.3"])
        assert {row.layer for row in given.results} == {"network.3"}
        default = measure(control(), tmp_path)
        assert {row.layer for row in default.results} == {f"network.{index}" for index in range(4)}

    def test_a_name_that_matches_nothing_stops_before_training(self, tmp_path):
        model = control()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        run = trainer(tmp_path, EquivarianceMonitor(layers=["network.0", "netwrok.*"]))
        with pytest.raises(
            ValueError, match=r"layers: no module of Classifier matches 'netwrok\.\*'; it has network"
        ):
            run.fit(model, batches(dtype=torch.float32))
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())

    def test_layers_built_in_configure_model_are_found(self, tmp_path):
        class Late(Classifier):
            def __init__(self) -> None:
                super().__init__(nn.Identity())

            def configure_model(self) -> None:
                self.network = nn.Sequential(nn.Conv2d(2, 2, 3).double())

        assert measure(Late(), tmp_path, layers=["network.0"]).results

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"samples_per_step": 0}, "samples_per_step must be a positive integer, got 0"),
            ({"every_n_steps": math.nan}, "every_n_steps must be a positive integer, got nan"),
            ({"transformations": [Flip(), Flip()]}, "of different names"),
            ({"transformations": []}, "at least one"),
        ],
    )
    def test_refuses_by_name(self, settings, message):
        with pytest.raises(ValueError, match=message):
            EquivarianceMonitor(**settings)


class Memory(Logger):
    """Keeps what is logged."""

    name, version = "memory", 0

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int | None, dict[str, float]]] = []

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        pass

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.rows.append((step, dict(metrics)))


class TestLogged:
    def test_scalars(self, tmp_path):
        memory, monitor = Memory(), EquivarianceMonitor(transformations=[IdealDownsampling([6, 9]), Flip()])
        run = trainer(tmp_path, monitor, logger=memory, max_epochs=2)
        model = control().double()
        run.fit(model, batches(), batches())
        logged = [(step, row) for step, row in memory.rows if "equivariance/network.0/downsample/6" in row]
        assert [(step, row["epoch"]) for step, row in logged] == [(2, 0), (5, 1)]  # as Lightning
        rows = [
            row for row in monitor.results if (row.layer, row.transformation) == ("network.0", "downsample")
        ]
        name, last = "equivariance/network.0/downsample", logged[-1][1]
        assert last[f"{name}/9"] == rows[1].mean
        assert last[f"{name}/max"] == max(row.max for row in rows)
        weighted = sum(row.mean * row.count for row in rows) / sum(row.count for row in rows)
        assert last[f"{name}/mean"] == pytest.approx(weighted, rel=1e-12)
        assert "equivariance/network.3/flip_horizontal/horizontal" in last
        worst = max(row.max for row in monitor.results if row.transformation == "downsample")
        assert run.callback_metrics["equivariance/downsample/max"].item() == pytest.approx(worst, rel=1e-6)
        assert "equivariance/flip_horizontal/mean" in run.callback_metrics

        run.test(model, batches(), verbose=False)
        assert "equivariance_test/network.0/downsample/6" in memory.rows[-2][1] | memory.rows[-1][1]
        assert "equivariance_test/downsample/max" in run.callback_metrics

    def test_values_near_nothing_survive(self, tmp_path):
        memory, monitor = Memory(), EquivarianceMonitor(figures=False)
        trainer(tmp_path, monitor, logger=memory).validate(exact().double(), batches(), verbose=False)
        values = [v for _, row in memory.rows for name, v in row.items() if name.startswith("equivariance")]
        assert len(values) > 10
        assert all(0 < value < ROUNDING for value in values)

    def test_files_in_the_run_folder(self, tmp_path):
        logger = CSVLogger(tmp_path, name="run", version="0")
        monitor = EquivarianceMonitor()
        run = trainer(tmp_path, monitor, logger=logger, max_epochs=2)
        run.fit(control().double(), batches(), batches())
        folder = tmp_path / "run" / "0" / "equivariance"
        written = {"fit.csv", "fit-agreement.csv", "fit-heatmap.png", "fit-curves.png", "fit-agreement.png"}
        assert {file.name for file in folder.iterdir()} == written
        with (folder / "fit.csv").open() as stream:
            rows = list(csv.DictReader(stream))
        assert [(row["epoch"], row["step"]) for row in rows] == [("0", "3")] * 20 + [("1", "6")] * 20
        assert [float(row["mean"]) for row in rows[20:]] == [row.mean for row in monitor.results]
        for name in ("heatmap", "curves"):
            picture = imread(folder / f"fit-{name}.png")
            assert min(picture.shape[:2]) > 300
            assert picture[..., :3].std() > 0.05, "not blank"

        # A run started anew in the folder replaces what was there from its first epoch on.
        again = trainer(tmp_path, EquivarianceMonitor(figures=False), max_epochs=1, logger=logger)
        again.fit(control().double(), batches(), batches())
        with (folder / "fit.csv").open() as stream:
            assert {(row["epoch"], row["step"]) for row in csv.DictReader(stream)} == {("0", "3")}

    def test_nothing_is_written_in_a_fast_dev_run(self, tmp_path):
        monitor = EquivarianceMonitor()
        trainer(tmp_path, monitor, fast_dev_run=True).fit(control().double(), batches(), batches())
        assert monitor.results
        assert list(tmp_path.iterdir()) == []

    def test_pictures_go_to_wandb(self, tmp_path):
        experiment = Mock(spec=["log", "config", "define_metric", "watch", "name", "id", "project_name"])
        logger = WandbLogger(save_dir=tmp_path, experiment=Mock())
        logger._experiment = experiment
        trainer(tmp_path, EquivarianceMonitor(), logger=logger).fit(control().double(), batches(), batches())
        logged = [call.args[0] for call in experiment.log.call_args_list]
        for kind in ("heatmap", "curves"):
            (row,) = [row for row in logged if f"equivariance/{kind}" in row]
            (image,) = row[f"equivariance/{kind}"]
            assert type(image).__name__ == "Image"
            assert row["trainer/global_step"] == 3


def test_configured_as_in_yaml(tmp_path):
    config = {
        "monitor": {
            "class_path": "callbacks.EquivarianceMonitor",
            "init_args": {
                "layers": ["network.*"],
                "transformations": [
                    {
                        "class_path": "sefl.equivariance.IdealDownsampling",
                        "init_args": {"resolutions": [8, 10]},
                    },
                    {
                        "class_path": "sefl.equivariance.Flip",
                        "init_args": {"axis": "vertical", "center": "pixel"},
                    },
                    {"class_path": "sefl.equivariance.Rotation90", "init_args": {"turns": [1]}},
                    {"class_path": "sefl.equivariance.CircularShift"},
                ],
                "samples_per_step": 4,
            },
        }
    }
    file = tmp_path / "config.yaml"
    file.write_text(json.dumps(config))
    parser = ArgumentParser()
    parser.add_argument("--config", action="config")
    parser.add_argument("--monitor", type=pl.Callback)
    monitor = parser.instantiate(parser.parse_args([f"--config={file}"])).monitor
    assert isinstance(monitor, EquivarianceMonitor)
    names = [transformation.name for transformation in monitor.transformations]
    assert names == ["downsample", "flip_vertical_about_pixel", "rotate", "shift"]
    assert monitor.samples_per_step == 4


@pytest.mark.parametrize("make", [exact, control])
def test_two_processes_give_what_one_gives(tmp_path, make):
    for devices, strategy in ((1, "auto"), (2, "ddp_fork")):
        monitor = EquivarianceMonitor(transformations=[IdealDownsampling(), CircularShift([1])])
        model = Sharded(make().network, tmp_path, monitor).double()
        run = trainer(
            tmp_path, monitor, devices=devices, strategy=strategy, use_distributed_sampler=False, max_epochs=1
        )
        run.fit(model)
    one, *two = [json.loads((tmp_path / f"{name}.json").read_text()) for name in ("1-0", "2-0", "2-1")]
    assert len(one["rows"]) > 10
    for other in two:
        assert [row[:3] + row[5:] for row in other["rows"]] == [row[:3] + row[5:] for row in one["rows"]]
        for row, reference in zip(other["rows"], one["rows"], strict=True):
            assert row[3:5] == pytest.approx(reference[3:5], rel=0 if make is exact else 1e-12, abs=1e-12)
        assert other["metrics"] == pytest.approx(one["metrics"], rel=1e-6, abs=1e-12)
    assert two[0] == two[1], "the ranks agree bit for bit"
    assert (tmp_path / "equivariance" / "fit-heatmap.png").exists()


def test_coefficients_have_the_energy_of_the_image():
    """What lets errors be measured on coefficients: the basis is orthonormal in the mean over pixels."""
    images = torch.randn(2, 3, 9, 9, dtype=torch.float64)
    energy = to_coefficients(images).square().sum((0, 1))
    torch.testing.assert_close(energy, images.square().mean((2, 3)))
