"""Contracts between the services, and the few mechanisms all of them use; no business rules."""
