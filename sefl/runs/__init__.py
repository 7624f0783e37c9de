"""A run on the disk: its folder, checkpoints, loggers, metrics, stored networks and evaluations."""
