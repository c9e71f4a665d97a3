"""Benchmarks of stnkit: run them with `python -m bench.<name>` from the repository's top."""
