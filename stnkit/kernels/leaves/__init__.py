"""Leaves: scalar functions that kernels for CPUs and GPUs are made of."""
