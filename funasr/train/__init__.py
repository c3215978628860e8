"""Training: examples -> length-bucketed batches -> the loop -> checkpoints in the official layout."""
