"""Measuring architectures: benchmarks, scorers, the runner that asks every question, and the statistics of the result."""
