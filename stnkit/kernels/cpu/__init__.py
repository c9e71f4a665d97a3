"""Kernels for CPUs, and how they are run on threads."""
