"""What accompanies a training: processes and signals, resumption, finite numbers, progress and summaries."""
