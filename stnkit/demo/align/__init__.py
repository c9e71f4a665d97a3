"""The alignment demo: real digits under unknown affine maps, each map found again by gradient descent."""
