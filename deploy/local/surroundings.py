"""The part of the caller's environment that processes of the stack may inherit."""

import os

OF_OTHERS = ("RABBITMQ_", "ERL_", "ELIXIR_", "PG", "RCLONE_", "AWS_", "MINIO_", "ATELIER_", "PYTEST_", "COV_")
"""Settings of a system service, of another stack or of a test run: they would change what is started here."""

UNWANTED = frozenset({
    "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKE_TERMOUT", "MAKE_TERMERR",  # of the make that called
    "PYTHONDONTWRITEBYTECODE",  # without .pyc files every start takes three times as long
    "PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONWARNINGS", "VIRTUAL_ENV", "CI", "NOTIFY_SOCKET",
})  # fmt: skip


def inherited() -> dict[str, str]:
    """The caller's environment without what belongs to others; proxies, certificates and package indexes stay."""
    kept = {
        name: value for name, value in os.environ.items() if name not in UNWANTED and not name.startswith(OF_OTHERS)
    }
    kept.setdefault("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    kept.setdefault("LANG", "C.UTF-8")
    return kept


def bare() -> dict[str, str]:
    """Enough of an environment for a server that needs none of the caller's settings."""
    return {"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
