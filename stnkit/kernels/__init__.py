"""Compiled modules: how things are compiled, one axis, one location, tiles, and loops."""
