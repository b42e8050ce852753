"""Checks of this machine: whether `up` would work, and what would be worse than it need be."""
