"""The command line: `warp` for image files, `info` for bug reports, `compile` for kernels, `demo`."""
