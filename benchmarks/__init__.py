"""Ratios against the peers' own packages, measured in one process tree on identical networks: `python -m benchmarks`."""
