"""The configuration of an experiment of seconds."""

TINY = {
    "data": {
        "class_path": "datamodules.Glyphs",
        "init_args": {
            "image_size": 12,
            "resolutions": [8, 11, 12],
            "train_samples": 120,
            "val_samples": 43,
            "test_samples": 41,
            "batch_size": 10,
            "eval_batch_size": 7,
        },
    },
    "model": {
        "class_path": "models.ScaleClassifier",
        "init_args": {
            "network": {
                "class_path": "sefl.networks.FourierNetwork",
                "init_args": {
                    "trunk": {"widths": [4], "kernel_size": 3},
                    "base_resolution": 8,
                    "max_resolution": 12,
                    "head": {"hidden": 8},
                },
            },
            "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.01}},
            "lr_scheduler": {"class_path": "models.OneCycle"},
        },
    },
    "trainer": {
        "accelerator": "cpu",
        "max_epochs": 2,
        "log_every_n_steps": 1,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "callbacks": [{"class_path": "callbacks.EquivarianceMonitor", "init_args": {"figures": False}}],
    },
    "wandb": {"mode": "disabled"},
}
