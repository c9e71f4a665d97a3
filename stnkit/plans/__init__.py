"""What a call does, worked out from shapes, dtypes, layouts and options alone: every executor runs the same plans."""
