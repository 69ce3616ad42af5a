"""Environments of Python kernels: the base environment, and those built with uv for what it does not have."""
