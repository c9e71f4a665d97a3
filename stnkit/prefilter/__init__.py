"""Prefiltering: a spline's sampler takes an image, and its kernels the coefficients of the spline through its pixels.

A call is composed, for arrays of any framework: the image goes on as its padding says, by a margin where the filter
needs one, and is filtered; then the plain call is done on coefficients. Derivatives go back by the transposes.
"""
