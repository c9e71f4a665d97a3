"""Rules of differentiation of the operations on tensors."""
