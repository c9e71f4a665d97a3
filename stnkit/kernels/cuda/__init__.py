"""Kernels for NVIDIA GPUs: what one thread does, and how it is compiled, loaded and launched."""
