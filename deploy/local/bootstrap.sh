#!/bin/sh
# Finds a Python of at least 3.11 and lets it prepare the environments (bootstrap.py). Downloads no interpreter.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
# The system's comes first: an interpreter in someone's home directory cannot be reached by unprivileged kernels.
for candidate in "${PYTHON:-}" /usr/bin/python3 python3 python3.13 python3.12 python3.11; do
    [ -n "$candidate" ] || continue
    if "$candidate" -I -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
        exec "$candidate" -I "$here/bootstrap.py" "$@"
    fi
done
echo "error: no Python 3.11 or newer was found; set PYTHON=/path/to/python3 or install Debian's python3" >&2
exit 1
