"""The command line: `warp` for image files, `info` for bug reports, `demo`."""
