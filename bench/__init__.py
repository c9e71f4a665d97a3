"""Benchmarks of stnkit: run them with `python -m bench` from the repository's top."""
