"""Benchmarks: each answers one question with figures and bars, on this machine, in one run."""
