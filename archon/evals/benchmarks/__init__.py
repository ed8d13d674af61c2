"""Sources of questions, one file each. Every class has `load(**options)` and gives an `archon.protocols.Benchmark`."""
