"""Antialiasing: supersampling over the footprint of each output location, composed of calls of the samplers."""
