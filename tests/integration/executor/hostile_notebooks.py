"""Notebooks that mean harm, as a table: what each does, and how its run must end. Bounded: a hole must not take down
the machine that tests it.

A notebook that gets hold of what it must not have prints `ESCAPED` and what it was; no run may print that. `@CANARY@`
is a file of the worker's folder, `@PORTS@` the ports of the broker, the database, the object store and the services,
`@OTHER@` the run folder of another run, `@PIDS@` the processes of the stack, `@FLOOD@` how many messages are too many.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

MEMORY_MB, PROCESSES, DISK_MB, FILES, FILE_MB, CPU_S, OPEN_FILES = 500, 100, 150, 3_000, 60, 12, 512
"""Limits of the kernels that these notebooks run in."""

ENVIRONMENT = {
    "ATELIER_ISOLATION_MINIMUM": "strong",
    "ATELIER_KERNEL_MEMORY_MB": str(MEMORY_MB),
    "ATELIER_KERNEL_PROCESSES": str(PROCESSES),
    "ATELIER_KERNEL_DISK_MB": str(DISK_MB),
    "ATELIER_KERNEL_FILES": str(FILES),
    "ATELIER_KERNEL_FILE_MB": str(FILE_MB),
    "ATELIER_KERNEL_CPU_SECONDS": str(CPU_S),
    "ATELIER_KERNEL_OPEN_FILES": str(OPEN_FILES),
}


@dataclass(frozen=True, kw_only=True)
class Hostile:
    """One notebook and its end. `error` is a pair: the error's type (a pattern) and a part of its message."""

    name: str
    cells: list[str]
    error: tuple[str, str] | None = None
    failed: int | None = None
    """The cell to blame, counted from 0; without it the last one when there is an error."""
    warning: str | None = None
    """A part of a warning that the run must carry."""
    says: str | None = None
    """A part of what the cells must print."""
    ends_somehow: bool = False
    """Which end it comes to depends on the versions of the libraries; it must be one, and not the worker's fault."""
    request: dict[str, Any] = field(default_factory=dict)


SAVE = """
import json, os, pathlib
OUT = pathlib.Path(os.environ['ATELIER_RUN_DIR'], 'outputs')
count = 0
def record(raw=None, **members):
    global count
    count += 1
    path = OUT / '.atelier' / f'{count:06d}.json'
    text = raw if raw is not None else json.dumps({'schemaVersion': 1, 'createdAt': '2024-01-01T00:00:00Z', **members})
    path.with_suffix('.tmp').write_text(text)
    path.with_suffix('.tmp').rename(path)
"""
"""Writes records as the SDK does, and as it never would."""

SYSTEM_CALL = """
import ctypes, os, platform
C = ctypes.CDLL(None, use_errno=True)
def call(name, x86, arm, *arguments):
    number = x86 if platform.machine() == 'x86_64' else arm
    ctypes.set_errno(0)
    result = C.syscall(number, *arguments)
    print('ESCAPED' if result >= 0 else 'refused', name, result, ctypes.get_errno())
"""
"""Tries system calls that the C library has no function for."""

TRY = """
def attempt(what, action):
    try:
        found = action()
    except (OSError, ValueError, LookupError) as error:
        print('refused', what, type(error).__name__)
    else:
        print('ESCAPED', what, str(found)[:100])
"""

FLOOD = 20_000
"""Messages of a flood: twice what a cell may send. Without an end the processor time that they take could be the limit
that is reached first, where many wait for the processors."""

LIMIT = {"cellTimeout": 3}
"""For cells that would go on for ever."""

NOTEBOOKS = [
    # Using up the machine.
    Hostile(
        name="fork bomb",
        cells=[
            r"""
import os, time
for _ in range(2000):
    if os.fork() == 0:
        time.sleep(60); os._exit(0)
""",
        ],
        error=("BlockingIOError", "Resource temporarily unavailable"),
    ),
    Hostile(
        name="thread bomb",
        cells=[
            r"""
import threading, time
for _ in range(2000): threading.Thread(target=time.sleep, args=(60,)).start()
""",
        ],
        error=("RuntimeError", "can't start new thread"),
    ),
    Hostile(
        name="memory hog",
        cells=[
            "x = 1",
            r"""
hog = []
while True: hog.append(bytearray(10_000_000))
""",
        ],
        error=("DeadKernelError", "memory limit of 0.5 GB reached in cell-002"),
    ),
    Hostile(
        name="memory hog by one allocation",
        cells=[
            r"""
hog = bytearray(4_000_000_000)
for i in range(0, len(hog), 4096): hog[i] = 1
""",
        ],
        error=("DeadKernelError", "memory limit of 0.5 GB reached in cell-001"),
    ),
    Hostile(
        name="filling /dev/shm",
        cells=[
            r"""
with open('/dev/shm/x', 'wb') as file:
    for _ in range(50): file.write(bytes(1_000_000))
for i in range(40):
    with open(f'/dev/shm/{i}', 'wb') as file: file.write(bytes(50_000_000))
""",
        ],
        error=("DeadKernelError", "memory limit of 0.5 GB reached in cell-001"),
    ),
    Hostile(
        name="filling /tmp",
        cells=[
            r"""
for i in range(40):
    with open(f'/tmp/{i}', 'wb') as file: file.write(bytes(50_000_000))
""",
        ],
        error=("OSError", "No space left on device"),
    ),
    Hostile(
        name="disk filler",
        cells=[
            "x = 1",
            r"""
import time
for i in range(12):
    open(f'{i}', 'wb').write(bytes(50_000_000)); time.sleep(0.3)
""",
        ],
        error=("DeadKernelError", "disk limit of 0.15 GB reached in cell-002"),
    ),
    Hostile(
        name="disk filler by a background process",
        cells=[
            r"""
import subprocess; subprocess.Popen(['sh', '-c', 'for i in 1 2 3 4 5 6; do head -c 50000000 /dev/zero > $i; done'])
""",
            "import time; time.sleep(30)",
        ],
        error=("DeadKernelError", "disk limit of 0.15 GB reached in cell-002"),
    ),
    Hostile(
        name="disk filler in a flash",
        cells=[
            "for i in range(4): open(f'{i}', 'wb').write(bytes(50_000_000))",
            "print('never')",
        ],
        error=("DeadKernelError", "disk limit of 0.15 GB reached in cell-001"),
        failed=0,
    ),
    Hostile(
        name="one huge file",
        cells=[
            r"""
with open('x', 'wb') as file:
    while True: file.write(bytes(1_000_000))
""",
        ],
        error=("OSError", "File too large"),
    ),
    Hostile(
        name="sparse huge file",
        cells=[
            r"""
import os
os.truncate(os.open('x', os.O_CREAT | os.O_RDWR), 10**12)
""",
        ],
        error=("OSError", "File too large"),
    ),
    Hostile(
        name="sparse files saved as models",
        cells=[
            SAVE
            + r"""
for i in range(20):
    (OUT / f'{i}.pkl').touch(); os.truncate(OUT / f'{i}.pkl', 50_000_000)
    record(kind='model', name=f'm{i}', file=f'{i}.pkl')
""",
        ],
        warning="saved files are larger",
    ),
    Hostile(
        name="100,000 output files",
        cells=[
            r"""
import os
for i in range(100_000): open(os.environ['ATELIER_RUN_DIR'] + f'/outputs/{i}', 'w')
""",
        ],
        error=("DeadKernelError", "limit of 3000 files reached in cell-001"),
    ),
    Hostile(
        name="thousands of records",
        cells=[
            SAVE + "for i in range(2_100): record(kind='value', name=f'v{i}', value=i)",
        ],
        warning="Only the first",
    ),
    Hostile(
        name="folders nested for ever",
        cells=[
            r"""
import os
for _ in range(3000): os.mkdir('d'); os.chdir('d')
""",
        ],
        error=("DeadKernelError", "nested"),
    ),
    Hostile(
        name="processor hog in many processes",
        cells=[
            r"""
import os, time
for _ in range(6):
    if os.fork() == 0:
        while True: pass
time.sleep(600)
""",
        ],
        error=("DeadKernelError", "CPU time limit of 12 seconds reached in cell-001"),
        request={"timeout": 120},
    ),
    Hostile(
        name="open files without end",
        cells=[
            r"""
keep = []
while True: keep.append(open('/dev/null'))
""",
        ],
        ends_somehow=True,  # `Too many open files`, if the kernel can say so without any left to itself
        request=LIMIT,
    ),
    Hostile(
        name="infinite output",
        cells=[
            "import time\nfor _ in range(100_000): print('x' * 1000)\nwhile True: time.sleep(1)",
        ],
        error=("OutputLimitError", "reached in cell-001"),
    ),
    Hostile(
        name="infinite display updates",
        cells=[
            r"""
import time
from IPython.display import display
handle = display('x', display_id=True)
for _ in range(@FLOOD@): handle.update('x' * 1000)
while True: time.sleep(1)
""",
        ],
        error=("OutputLimitError", "reached in cell-001"),
    ),
    Hostile(
        name="much output in every cell",
        cells=["print('x' * 19_000_000)"] * 12,
        request={"errorPolicy": "continue"},
        error=("OutputLimitError", "for all cells of a run was reached in cell-011"),
        failed=10,
    ),
    Hostile(
        name="infinite clearing",
        cells=[
            r"""
import time
from IPython.display import clear_output
for _ in range(@FLOOD@): clear_output(); print('x' * 1000)
while True: time.sleep(1)
""",
        ],
        error=("OutputLimitError", "reached in cell-001"),
    ),
    Hostile(
        name="infinite progress",
        cells=[
            r"""
import time
from IPython.display import publish_display_data as p
for _ in range(@FLOOD@): p({'application/vnd.atelier.progress+json': {'fraction': 0.5, 'message': 'x' * 10_000}})
while True: time.sleep(1)
""",
        ],
        error=("OutputLimitError", "reached in cell-001"),
    ),
    Hostile(
        name="comm flood",
        cells=[
            r"""
import time
from comm import create_comm
for _ in range(@FLOOD@): create_comm(target_name='x' * 1000, data={'state': {'a': 'x' * 10_000}})
while True: time.sleep(1)
""",
        ],
        error=("OutputLimitError", "reached in cell-001"),
    ),
    Hostile(
        name="giant MIME bundle",
        cells=[
            r"""
from IPython.display import publish_display_data as p
p({'text/html': 'x' * 60_000_000})
""",
        ],
        error=("OutputLimitError", "reached in cell-001"),
    ),
    Hostile(
        name="a message larger than any",
        cells=[
            r"""
from IPython.display import publish_display_data as p
p({'text/html': 'x' * 70_000_000})
import time
while True: time.sleep(1)
""",
        ],
        error=("OutputLimitError", "limit of 64 MB for one output was reached in cell-001"),
    ),
    Hostile(
        name="a flood that hears no interrupt",
        cells=[
            r"""
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
from IPython.display import publish_display_data as p
while True: p({'text/html': 'x' * 5_000_000})
""",
        ],
        error=("OutputLimitError", "reached in cell-001"),
    ),
    # Not coming to an end.
    Hostile(
        name="a loop in C that hears no interrupt",
        cells=[
            "sum(range(10**15))",
        ],
        error=("TimeoutError", "cell's time limit of 3 seconds was reached in cell-001"),
        request=LIMIT,
    ),
    Hostile(
        name="ignoring interrupts",
        cells=[
            r"""
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
while True: pass
""",
        ],
        error=("TimeoutError", "cell's time limit of 3 seconds was reached in cell-001"),
        request=LIMIT,
    ),
    Hostile(
        name="swallowing interrupts",
        cells=[
            r"""
import time
while True:
    try: time.sleep(60)
    except BaseException: pass
""",
        ],
        error=("TimeoutError", "cell's time limit of 3 seconds was reached in cell-001"),
        request=LIMIT,
    ),
    Hostile(
        name="standing still",
        cells=[
            "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
        ],
        error=("TimeoutError", "cell's time limit of 3 seconds was reached in cell-001"),
        request=LIMIT,
    ),
    Hostile(
        name="waiting for input",
        cells=[
            "input('password? ')",
        ],
        error=("StdinNotImplementedError", "input"),
    ),
    Hostile(
        name="closing the ZeroMQ sockets",
        cells=[
            r"""
import gc, zmq
for s in [o for o in gc.get_objects() if isinstance(o, zmq.Socket)]: s.close(0)
""",
        ],
        error=("TimeoutError", "reached in cell-001"),
        request=LIMIT,
    ),
    Hostile(
        name="replacing sys.stdout and the shell",
        cells=[
            r"""
import sys
class Deaf:
    def __getattr__(self, name): raise RuntimeError(name)
sys.stdout = sys.stderr = Deaf()
""",
            "get_ipython().run_cell = get_ipython().run_cell_async = None",
            "print('never')",
        ],
        ends_somehow=True,
        request=LIMIT,
    ),
    Hostile(
        name="threads that outlive their cell",
        cells=[
            r"""
import threading
def talk():
    while True: print('x' * 100)
for _ in range(3): threading.Thread(target=talk, daemon=True).start()
""",
            "import time; time.sleep(0.5); print('still here')",
        ],
    ),
    Hostile(
        name="daemon processes",
        cells=[
            r"""
import multiprocessing, time
multiprocessing.Process(target=time.sleep, args=(600,), daemon=True).start()
""",
        ],
    ),
    Hostile(
        name="setsid escape",
        cells=[
            r"""
import os
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execvp('sleep', ['sleep', '987654'])
        os._exit(0)
""",
        ],
    ),
    Hostile(
        name="os._exit",
        cells=[
            "import os; os._exit(3)",
        ],
        error=("DeadKernelError", "os._exit called"),
    ),
    Hostile(
        name="segmentation fault",
        cells=[
            "import ctypes; ctypes.string_at(0)",
        ],
        error=("DeadKernelError", "killed by signal 11"),
    ),
    Hostile(
        name="abort with a core dump",
        cells=[
            r"""
import os, resource
print(resource.getrlimit(resource.RLIMIT_CORE)); os.abort()
""",
        ],
        error=("DeadKernelError", "killed by signal 6"),
    ),
    Hostile(
        name="killing the parent, pid 1 and everybody",
        cells=[
            r"""
import os, signal
for pid in (os.getppid() or 1, 1, -1, *@PIDS@):  # a parent outside of the view is 0, which stands for one's own group
    for number in (9, 15, 2, 19):
        try: os.kill(pid, number)
        except (OSError, KeyboardInterrupt): pass
""",
            "print('alive')",
        ],
        says="alive",
    ),
    # Reading what is not its own.
    Hostile(
        name="other runs' folders",
        cells=[
            TRY
            + r"""
import os, glob
for p in ('@OTHER@', '@CANARY@'):
    attempt(p, lambda: os.listdir(p) if os.path.isdir(p) else open(p).read())
if os.listdir(os.path.dirname('@CANARY@')) != ['runs']:  # nothing but the way to its own folder
    print('ESCAPED', os.listdir(os.path.dirname('@CANARY@')))
for p in glob.glob(os.environ['ATELIER_RUN_DIR'] + '/../*'):
    if os.path.abspath(p) != os.path.abspath(os.environ['ATELIER_RUN_DIR']): print('ESCAPED', p)
""",
        ],
    ),
    Hostile(
        name="the executor's environment and files by /proc",
        cells=[
            TRY
            + r"""
import os
for pid in [1, os.getppid(), *@PIDS@]:
    for name in ('environ', 'mem', 'maps', 'root/@CANARY@', 'cwd/pyproject.toml'):
        attempt(f'{pid} {name}', lambda: open(f'/proc/{pid}/{name}', 'rb').read(1) and 'read')
if len([n for n in os.listdir('/proc') if n.isdigit()]) > 2: print('ESCAPED processes')
for name in ('/proc/kcore', '/proc/sysrq-trigger', '/etc/shadow', '/root/.ssh', '/proc/sys/kernel/core_pattern'):
    attempt(name, lambda: open(name, 'r+b'))
""",
        ],
    ),
    Hostile(
        name="ptrace and the memory of others",
        cells=[
            SYSTEM_CALL
            + r"""
call('ptrace', 101, 117, 16, 1, 0, 0)
call('attach', 101, 117, 16, os.getppid(), 0, 0)
call('process_vm_readv', 310, 270, 1, 0, 0, 0, 0, 0)
call('pidfd_getfd', 438, 438, 3, 0, 0)
call('kcmp', 312, 272, 1, 2, 0, 0, 0)
""",
        ],
    ),
    Hostile(
        name="ports of the broker, the database and the object store",
        cells=[
            TRY
            + r"""
import socket
for port in @PORTS@:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        for family, host in ((socket.AF_INET, '127.0.0.1'), (socket.AF_INET6, '::1')):
            attempt(port, lambda: socket.socket(family, kind).connect((host, port)))
import glob
for path in glob.glob('/tmp/.s.PGSQL*') + glob.glob('/run/**/*.sock', recursive=True): print('ESCAPED', path)
""",
        ],
    ),
    Hostile(
        name="raw, packet and netlink sockets",
        cells=[
            TRY
            + r"""
import socket
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_PACKET, socket.AF_NETLINK, 40, 38, 44):
    for kind in (socket.SOCK_RAW, socket.SOCK_DGRAM, socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
        attempt(f'{family} {kind}', lambda: socket.socket(family, kind))
""",
        ],
    ),
    # Escaping.
    Hostile(
        name="namespaces, mounts and roots",
        cells=[
            SYSTEM_CALL
            + r"""
call('unshare user', 272, 97, 0x10000000)
call('unshare mount', 272, 97, 0x20000)
call('clone user', 56, 220, 0x10000011, 0, 0, 0, 0)
call('clone3', 435, 435, 0, 0)
call('mount', 165, 40, b'x', b'/tmp', b'tmpfs', 0, 0)
call('umount', 166, 39, b'/proc', 0)
call('chroot', 161, 51, b'.')
call('pivot_root', 155, 41, b'.', b'.')
call('fsopen', 430, 430, b'ext4', 0)
call('open_tree', 428, 428, -100, b'/', 0)
call('move_mount', 429, 429, 0, 0, 0, 0, 0)
call('setns', 308, 268, 0, 0)
call('mount_setattr', 442, 442, -100, b'/', 0, 0, 0)
""",
        ],
    ),
    Hostile(
        name="doors of the kernel: io_uring, bpf, keyctl, userfaultfd and others",
        cells=[
            SYSTEM_CALL
            + r"""
call('io_uring', 425, 425, 8, ctypes.create_string_buffer(120))
call('bpf', 321, 280, 0, 0, 0)
call('keyctl', 250, 219, 0, -3, 1)
call('add_key', 248, 217, b'user', b'a', b'b', 1, -3)
call('userfaultfd', 323, 282, 1)
call('perf_event_open', 298, 241, 0, 0, -1, -1, 0)
call('fanotify_init', 300, 262, 0, 0)
call('kexec_load', 246, 104, 0, 0, 0, 0)
call('init_module', 175, 105, 0, 0, b'')
call('open_by_handle_at', 304, 265, 0, 0, 0)
call('syslog', 103, 116, 3, 0, 0)
call('reboot', 169, 142, 0, 0, 0, 0)
call('swapon', 167, 224, b'x', 0)
""",
        ],
    ),
    Hostile(
        name="changing the clock and the host's name",
        cells=[
            TRY
            + SYSTEM_CALL
            + r"""
import socket, time
attempt('clock', lambda: time.clock_settime(time.CLOCK_REALTIME, 0))
call('settimeofday', 164, 170, ctypes.create_string_buffer(16), 0)
call('clock_adjtime', 305, 266, 0, ctypes.create_string_buffer(b'\x01' * 208))
attempt('hostname', lambda: socket.sethostname('x'))
""",
        ],
    ),
    Hostile(
        name="device files",
        cells=[
            TRY
            + r"""
import os, stat
for kind, major, minor in ((stat.S_IFBLK, 254, 0), (stat.S_IFBLK, 8, 0), (stat.S_IFCHR, 1, 1)):
    attempt('mknod', lambda: os.mknod('disk', 0o600 | kind, os.makedev(major, minor)))
for name in ('/dev/sda', '/dev/vda', '/dev/mem', '/dev/kmsg', '/dev/kvm', '/dev/fuse', '/dev/tty'):
    attempt(name, lambda: open(name, 'rb'))
""",
        ],
    ),
    Hostile(
        name="becoming another user",
        cells=[
            TRY
            + SYSTEM_CALL
            + r"""
import subprocess
if open('/proc/self/uid_map').read().split()[2] != '1':
    attempt('setuid', lambda: os.setuid(0)); attempt('setgid', lambda: os.setgid(0))
    attempt('groups', lambda: os.setgroups([0]))
call('setns', 308, 268, 0, 0)
for command in (['su', '-c', 'echo ESCAPED', 'root'], ['sudo', '-n', 'echo', 'ESCAPED']):
    try: print(subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL).stdout)
    except OSError as error: print(error)
""",
        ],
    ),
    Hostile(
        name="changing its own limits",
        cells=[
            TRY
            + r"""
import resource, os, glob
for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE, resource.RLIMIT_CPU):
    attempt(kind, lambda: resource.setrlimit(kind, (2**40, 2**40)))
for path in glob.glob('/sys/fs/cgroup/**/*', recursive=True): attempt(path, lambda: open(path, 'w'))
attempt('nice', lambda: os.nice(-20))
attempt('priority', lambda: os.setpriority(os.PRIO_PROCESS, 0, -20))
attempt('realtime', lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)))
attempt('oom', lambda: open('/proc/self/oom_score_adj', 'w').write('-1000'))
attempt('oom', lambda: open('/proc/1/oom_score_adj', 'w').write('-1000'))
""",
        ],
    ),
    Hostile(
        name="writing to the environment's packages",
        cells=[
            TRY
            + r"""
import os, numpy, sys
for place in (os.path.dirname(numpy.__file__) + '/x', sys.prefix + '/x', numpy.__file__, sys.executable,
              os.environ['ATELIER_RUN_DIR'] + '/run.json', os.environ['ATELIER_RUN_DIR'] + '/x', '/usr/bin/x',
              '/etc/passwd'):
    attempt(place, lambda: open(place, 'a'))
import py_compile
attempt('pyc', lambda: os.rename(numpy.__file__, numpy.__file__ + 'x'))
""",
        ],
    ),
    Hostile(
        name="patching the kernel's own code",
        cells=[
            r"""
import builtins, json, orjson, zmq, ipykernel.ipkernel, pandas
builtins.atelier_was_here = True
pandas.DataFrame.sum = lambda *a, **k: 'ESCAPED'
zmq.Socket.atelier_was_here = True
json.dumps = lambda *a, **k: 'ESCAPED'
orjson.dumps = lambda *a, **k: b'ESCAPED'
""",
        ],
        error=("KernelMessageError", "what is no message of its protocol in cell-001"),
    ),
    Hostile(
        name="System V and POSIX objects left behind",
        cells=[
            r"""
import ctypes, multiprocessing.shared_memory as m
C = ctypes.CDLL(None)
print(C.shmget(0x41544c, 4096, 0o1666), C.semget(0x41544c, 1, 0o1666), C.msgget(0x41544c, 0o1666))
m.SharedMemory('atelier_left', create=True, size=4096)
""",
        ],
    ),
    # What the worker reads.
    Hostile(
        name="links in the outputs folder",
        cells=[
            SAVE
            + r"""
for i, target in enumerate(('/etc/passwd', '@CANARY@', '/proc/self/environ', '../run.json', '.')):
    os.symlink(target, OUT / f'{i}.html'); record(kind='report', name=f'r{i}', file=f'{i}.html')
os.symlink('/etc', OUT / 'folder'); record(kind='report', name='passwd', file='folder/passwd')
try: os.link(os.environ['ATELIER_RUN_DIR'] + '/run.json', OUT / 'h.html')
except OSError as error: print(error)
record(kind='report', name='hard', file='h.html')
""",
        ],
        warning="could not be read",
    ),
    Hostile(
        name="swapping a saved file for a link while it is stored",
        cells=[
            SAVE
            + r"""
import threading
for i in range(20):
    (OUT / f'{i}.html').write_text('x' * 100_000)
    os.symlink('@CANARY@', OUT / f'{i}.link')
def swap():
    while True:
        for i in range(20):
            try:
                for old, new in (('link', 'swap'), ('html', 'link'), ('swap', 'html')):
                    os.rename(OUT / f'{i}.{old}', OUT / f'{i}.{new}')
            except OSError: pass
threading.Thread(target=swap, daemon=True).start()
for i in range(20): record(kind='report', name=f'r{i}', file=f'{i}.html')
""",
            "import time; time.sleep(2)",
        ],
        request={"outputOptions": {"saveIntermediateResults": True}},
    ),
    Hostile(
        name="pipes, sockets and folders as saved files",
        cells=[
            SAVE
            + r"""
import socket
os.mkfifo(OUT / 'a.html'); os.mkdir(OUT / 'b.html'); socket.socket(socket.AF_UNIX).bind(str(OUT / 'c.html'))
for name in 'abc': record(kind='report', name=name, file=f'{name}.html')
os.mkfifo(OUT / '.atelier' / '000100.json'); os.mkdir(OUT / '.atelier' / '000101.json')
""",
        ],
        warning="could not be read",
    ),
    Hostile(
        name="the records' folder replaced",
        cells=[
            SAVE
            + r"""
import shutil
shutil.rmtree(OUT / '.atelier'); os.symlink('/etc', OUT / '.atelier')
""",
            "os.unlink(OUT / '.atelier'); os.mkfifo(OUT / '.atelier')",
            "os.unlink(OUT / '.atelier'); os.rmdir(OUT); os.symlink('/', OUT)",
        ],
        error=("PermissionError", "outputs"),
    ),
    Hostile(
        name="fake records",
        cells=[
            SAVE
            + r"""
for raw in ('', '{', '[]', 'null', '[' * 100_000, '{"kind": "model"}', '\udc80', '\x00'):
    try: record(raw=raw)
    except UnicodeError: pass
for file in ('/etc/passwd', '../run.json', '..', '', '.', 'a\x00b', 'x' * 5000, 'missing.html',
             '../../../../../etc/passwd'):
    record(kind='report', name='r', file=file)
record(kind='model', name='m', file='m.pkl', accuracy=float('nan'), metrics={'a': float('inf')})
record(kind='value', name='\ud800', value='\ud800')
record(kind='value', name='a\x00b', value={'a\x00': '\x00'})
record(kind='value', name='big', value=10**400)
record(kind='admin', name='x', value=1)
""",
        ],
        warning="could not be read",
    ),
    Hostile(
        name="deep JSON in records and outputs",
        cells=[
            SAVE
            + r"""
for depth in (90, 200, 300, 900, 1100, 5000):
    record(raw='{"kind": "value", "name": "deep", "value": ' + '[' * depth + ']' * depth + '}')
""",
            r"""
from IPython.display import publish_display_data as p
deep = []
for _ in range(300): deep = [deep]
p({'application/json': deep})
""",
            r"""
for _ in range(500): deep = [deep]
p({'application/json': deep})
""",
        ],
        warning="could not be read",
    ),
    Hostile(
        name="deeper JSON than a message may have",
        cells=[
            r"""
from IPython.display import publish_display_data as p
import sys
sys.setrecursionlimit(100_000)
deep = []
for _ in range(20_000): deep = [deep]
p({'application/json': deep})
""",
            "print('on')",
        ],
        ends_somehow=True,
        request=LIMIT,
    ),
    Hostile(
        name="names that clash and names that hurt",
        cells=[
            SAVE
            + r"""
for i, name in enumerate(('same', 'same', '../../x', 'a\nb', '\x1b[31mred', '<script>alert(1)</script>',
                          'a\r\nSet-Cookie: x=1', 'CON', '.', 'x' * 200, 'ä' * 200, '"', 'a/b')):
    (OUT / f'{i}.html').write_text(f'<p>{i}</p>'); record(kind='report', name=name, file=f'{i}.html')
for i, name in enumerate((b'a\nb.html', b'\xff\xfe.html', b'\x1b[0m.html', b' .html', b'-rf.html')):
    open(os.fsencode(OUT) + b'/' + name, 'w').write('x')
    record(raw=json.dumps({'kind': 'report', 'name': f'n{i}', 'file': os.fsdecode(name)}))
""",
        ],
    ),
    Hostile(
        name="tables that are none, and tables that explode",
        cells=[
            SAVE
            + r"""
import pyarrow as pa, pyarrow.parquet as pq, numpy as np
(OUT / 'x.parquet').write_bytes(b'PAR1' + bytes(1000) + b'PAR1')
record(kind='enriched_dataset', name='none', file='x.parquet', newColumns=['a'])
column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(100_000, 'int32')), pa.array(['x' * 10_000]))
pq.write_table(pa.table({'a': column}), OUT / 'bomb.parquet')
record(kind='enriched_dataset', name='bomb', file='bomb.parquet', newColumns=['a'])
""",
        ],
        warning="could not be",
    ),
    Hostile(
        name="huge tracebacks",
        cells=[
            r"""
def f(n): return f(n + 1) if n < 100_000 else None
try: f(0)
except RecursionError as error: print('deep')
""",
            "raise ValueError('x' * 30_000_000)",
        ],
        error=("OutputLimitError", "reached in cell-002"),
    ),
    Hostile(
        name="a large traceback that is within the limit",
        cells=[
            "raise ValueError('x' * 3_000_000)",
        ],
        error=("ValueError", "xxx"),
    ),
    Hostile(
        name="control characters and scripts in outputs and errors",
        cells=[
            r"""
print('\x00\x1b]0;owned\x07\x1b[2J<script>alert(1)</script>\ud800\udcff')
""",
            r"""
from IPython.display import HTML, display
display(HTML('<script>alert(1)</script>\x00'))
try: display(HTML('\ud800'))
except UnicodeError: print('refused')
print('\x00' * 1000)
""",
            r"""
raise type('E\x00\x1b[31m<script>', (Exception,), {})('\x00\ud800\x1b[2J</script>')
""",
        ],
        error=("E", ""),
    ),
    Hostile(
        name="forged messages",
        cells=[
            r"""
from ipykernel.kernelapp import IPKernelApp
k = get_ipython().kernel
def forge(kind, content, **more): k.session.send(k.iopub_socket, kind, content, parent=k.get_parent(), **more)
print('before')
forge('stream', {'name': 'stdout', 'text': 5})
forge('stream', {})
forge('stream', {'name': 7, 'text': 'x'})
forge('error', {'ename': 1, 'evalue': None, 'traceback': 3})
forge('error', {})
forge('display_data', {'data': [1], 'metadata': 7})
forge('display_data', {'data': {'image/png': 5, 'text/plain': None}, 'metadata': {}})
forge('execute_result', {})
forge('nonsense', {'a': 1})
forge('comm_open', {'data': 5})
forge('comm_msg', {})
forge('clear_output', {'wait': 'x'})
forge('update_display_data', {'transient': {'display_id': ['x']}, 'data': 1, 'metadata': 2})
forge('status', {})
forge('execute_input', {'execution_count': 'x'})
""",
            "print('after')",
        ],
        ends_somehow=True,
        request=LIMIT,
    ),
    Hostile(
        name="a forged end, and a cell that goes on",
        cells=[
            r"""
k = get_ipython().kernel
k.session.send(k.iopub_socket, 'status', {'execution_state': 'idle'}, parent=k.get_parent())
shell = k.shell_stream if hasattr(k, 'shell_stream') else k.shell_streams[0]
k.session.send(shell, 'execute_reply', {'status': 'ok', 'execution_count': 1}, parent=k.get_parent())
import time
while True: time.sleep(1)
""",
            "print('never')",
        ],
        error=("TimeoutError", "reached in cell-001"),
        failed=0,
        request=LIMIT,
    ),
    Hostile(
        name="rubbish on every socket",
        cells=[
            r"""
import gc, os, zmq
for s in [o for o in gc.get_objects() if isinstance(o, zmq.Socket)]:
    for parts in ([b''], [b'x', os.urandom(5000)], [b'<IDS|MSG>', b'', b'{', b'{', b'{', b'{']):
        try: zmq.Socket.send_multipart(s, parts, zmq.NOBLOCK)
        except Exception as error: pass
""",
            "print('after')",
        ],
        ends_somehow=True,
        request=LIMIT,
    ),
    Hostile(
        name="files that come and go while results are collected",
        cells=[
            r"""
import os, pathlib, subprocess, sys
program = '''
import os, shutil
OUT = os.environ['ATELIER_RUN_DIR'] + '/outputs/'
while True:
    for i in range(20): open(f'{OUT}f{i}', 'w').write('x' * 50_000)
    os.mkdir(OUT + 'd'); open(OUT + 'd/x', 'w'); shutil.rmtree(OUT + 'd'); os.symlink('/etc', OUT + 'd')
    for name in ('d', *(f'f{i}' for i in range(20))): os.unlink(OUT + name)
'''
pathlib.Path(os.environ['ATELIER_RUN_DIR'], 'outputs', 'kept.txt').write_text('kept')
subprocess.Popen([sys.executable, '-c', program])
""",
            "import time; time.sleep(0.3)",
        ],
    ),
    Hostile(
        name="folders that nobody may enter",
        cells=[
            r"""
import os
for name in ('work', 'outputs', 'tmp', 'home'):
    base = os.environ['ATELIER_RUN_DIR'] + '/' + name
    os.makedirs(base + '/locked/inner'); open(base + '/locked/inner/x', 'w').write('x')
    os.chmod(base + '/locked/inner', 0); os.chmod(base + '/locked', 0)
    os.chmod(base, 0)
""",
        ],
    ),
]
"""In an order that reads well; each runs by itself."""
