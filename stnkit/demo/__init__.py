"""Two demonstrations on real digits: `align` finds unknown maps by gradient descent, `learn` trains a transformer."""
