"""Measuring architectures: benchmarks, scorers, the runner that asks every question, and statistics of the result."""
