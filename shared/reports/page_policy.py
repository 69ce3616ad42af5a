"""What a report may load: what it carries itself, and nothing from anywhere else (Content-Security-Policy)."""

from __future__ import annotations

_RULES = {
    "default-src": "'none'",
    "script-src": "'unsafe-inline' 'unsafe-eval' blob:",  # the notebook's own scripts and ours are in the page
    "worker-src": "blob:",
    "style-src": "'unsafe-inline'",
    "img-src": "data: blob:",
    "media-src": "data: blob:",
    "font-src": "data:",
    "frame-src": "data: blob:",
    "connect-src": "data: blob:",
    "form-action": "'none'",
    "base-uri": "'none'",
}

POLICY = "; ".join(f"{what} {where}" for what, where in _RULES.items())
"""As the page says it of itself, for who opens it from a disk."""

SANDBOXED = f"sandbox allow-scripts allow-popups; {POLICY}; frame-ancestors 'none'"
"""As the API says it: besides, the page has an origin of its own, so that it acts in nobody's name."""
