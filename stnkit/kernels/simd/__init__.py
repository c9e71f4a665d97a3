"""SIMD lanes as values, and whole words of memory."""
