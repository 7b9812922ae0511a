"""Benchmarks, each run by a make target: accuracy, and speed of hardware, host, encoders and simulations."""
