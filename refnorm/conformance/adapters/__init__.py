"""Adapters: how candidates of other frameworks are called with NumPy arrays."""
