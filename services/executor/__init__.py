"""Runs notebooks. Two roles: control (commands, reads, sweeper) and worker (claims, kernels, results)."""
