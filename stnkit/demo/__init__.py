"""The demonstration: real digits, distorted by unknown maps, brought back by gradient descent."""
