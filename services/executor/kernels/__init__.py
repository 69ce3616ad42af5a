"""Kernels: how one is started, driven one cell at a time, and ended so that nothing of it is left."""
