"""How kernels and leaves are compiled."""
