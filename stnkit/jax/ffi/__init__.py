"""Kernels as custom calls of XLA, through its foreign function interface."""
