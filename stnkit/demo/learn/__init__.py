"""The learning demo: two classifiers, one of them with a spatial transformer."""
