"""The reference's workflow from beginning to end, through HTTP only: `make demo`, or `python -m examples.demo --help`.

`api.py` speaks HTTP, `following.py` shows a run while it goes on, `showing.py` prints what came of it, `saving.py`
fetches the files, and `__main__.py` is the workflow.
"""
