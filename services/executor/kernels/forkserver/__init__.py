"""The fork server: a program of its own, run by the kernels' interpreter. Standard library only, nothing of the worker.

It imports the notebook stack once, then forks a confined kernel for each request. It holds no credential: the worker
starts it with an empty environment and one socket (`wire` has the protocol).

Modules, from the ground up: `system` (system calls), `landlock`, `seccomp`, `cgroups`, `view` (what a kernel sees of
the file system), `confinement` (all of it in order), `probes` (does each layer really hold here), `keeper` (pid 1
beside each kernel), `preload` (imports, and how a fork becomes a kernel), `forking` (from a request to a keeper),
`footprint` (the watchdog), `survey` (what holds here, before the first kernel), `server` (the loop), `program` (the
beginning).
"""
