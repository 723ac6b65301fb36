"""The released wheels."""
