"""Environments of Python kernels: the base environment, and those built with uv for what it does not have."""

from services.executor.environments.base import BaseEnvironment
from services.executor.environments.preparing import Environments, Prepared
from services.executor.environments.rules import EnvironmentBuildError

__all__ = ["BaseEnvironment", "EnvironmentBuildError", "Environments", "Prepared"]
