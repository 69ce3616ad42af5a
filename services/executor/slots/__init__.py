"""A worker's processes: the supervisor's side of its slots, and what runs in them (DESIGN.md decision 14).

`supervisor` keeps the processes, `template` forks them, `slot` drives one run at a time in each, `pools` keeps kernels
ready that take long to start, `channel` carries what they tell each other.
"""
