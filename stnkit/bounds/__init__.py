"""Which pixels a sampler reads: by the bounds of its coordinates, and what paddings and taps make of these."""
