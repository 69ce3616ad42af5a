"""The command line of the native stack: `python -m deploy.local up|down|status|logs|reset`; the Makefile calls it."""

import argparse
import os
import sys
import time
from pathlib import Path

from deploy.local import debian, dev_access, following, isolation
from deploy.local.component import Component, StartFailed
from deploy.local.debian import PackagesMissing
from deploy.local.dev_access import ApiRefused
from deploy.local.external import External
from deploy.local.folder import ROOT, StackBusy
from deploy.local.ports import NoFreePort
from deploy.local.processes import memory_bytes
from deploy.local.services import KERNEL_PYTHON, MINIMUM
from deploy.local.stack import Stack

FOLDER = ROOT / ".atelier"
NEEDS = {"rabbitmq": "rabbitmq", "postgres": "postgresql"}  # component: what debian.py calls its package


def main() -> int:
    """Runs one command; its exit code is 0, or 1 with the reason on standard error."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the stack lives (default: .atelier)")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start what does not run, and say how to reach it")
    commands.add_parser("down", help="end every process of the stack")
    commands.add_parser("status", help="show every component")
    commands.add_parser("reset", help="end the stack and delete its data")
    commands.add_parser("guard", help="end and delete the stack when standard input ends (used by tests)")
    logs = commands.add_parser("logs", help="show the logs; follow them on a terminal")
    logs.add_argument("--service", default="", help="only this component")
    logs.add_argument("--lines", type=int, default=20, help="of each log, to begin with")
    logs.add_argument("--follow", action="store_true", default=sys.stdout.isatty(), help="go on until interrupted")
    key = commands.add_parser("key", help="make an API key for the development tenant and project, and print it")
    key.add_argument("--role", default="admin", choices=("viewer", "runner", "editor", "admin"))
    key.add_argument("--name", default="development", help="who or what uses the key; shows as createdBy")
    args = parser.parse_args()
    try:
        stack = Stack(args.folder, external=External.from_environment())
        match args.command:
            case "up":
                return _up(stack)
            case "down":
                return _down(stack, reset=False)
            case "reset":
                return _down(stack, reset=True)
            case "key":
                print(dev_access.new_key(stack, role=args.role, name=args.name))
                return 0
            case "status":
                return _status(stack)
            case "guard":
                sys.stdin.read()
                stack.delete()
                return 0
            case _:
                return following.show(stack.folder, args.service, args.lines, follow=args.follow)
    except (StartFailed, StackBusy, NoFreePort, PackagesMissing, ApiRefused, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        if isinstance(error, StartFailed):
            print("try: make logs; after a repair, make up goes on where it stopped", file=sys.stderr)
        return 1
    except BrokenPipeError:
        following.close_output()
        return 0
    except KeyboardInterrupt:
        print("interrupted; 'make up' goes on, 'make down' ends what runs", file=sys.stderr)
        return 130


def _up(stack: Stack) -> int:
    began = time.monotonic()
    with stack.folder.lock(lambda text: print(text, flush=True)):
        if not stack.is_up():
            needed = [NEEDS[name] for name in stack.servers if name in NEEDS and not stack.servers[name].is_running()]
            debian.ensure(needed)
            print(f"starting Atelier in {stack.folder.path}", flush=True)
            stack.up(report=_progress)
        access = dev_access.ensure(stack)
    path = stack.folder.path / "dev.env"
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    print(f"""\
Atelier is up ({time.monotonic() - began:.1f} s)
  base URL   {access.url}
  docs       {access.url}/docs
  tenant     {access.tenant}
  project    {access.project}
  API key    {access.api_key}
  dataset    {access.dataset}  (a simulation)
  in a shell: . {shown}""")
    if MINIMUM not in os.environ and (warning := isolation.allowed(KERNEL_PYTHON).warning):
        print(warning, file=sys.stderr)
    return 0


def _progress(name: str, seconds: float, text: str) -> None:
    """One line a component; written at once, because several threads report."""
    sys.stdout.write(f"  {name:<12}{seconds:6.1f} s  {text}\n")
    sys.stdout.flush()


def _down(stack: Stack, *, reset: bool) -> int:
    began = time.monotonic()
    with stack.folder.lock(lambda text: print(text, flush=True)):
        running = [name for name, component in stack.components.items() if component.is_running()]
        if reset:
            stack.delete()
        else:
            stack.down()
    what = f"ended {', '.join(running)} in {time.monotonic() - began:.1f} s" if running else "nothing was running"
    print(what + ("; all data is deleted" if reset else ""))
    return 0


def _status(stack: Stack) -> int:
    """Prints the table. The exit code is 0 when everything runs, else 1."""
    print(f"{'component':<12}{'state':<10}{'pid':>8}{'port':>7}{'up':>10}{'memory':>10}")
    for name, component in stack.components.items():
        print(_row(name, component))
    for name, given in (
        ("rabbitmq", stack.external.amqp_url),
        ("postgres", stack.external.postgres_dsn),
        ("s3", stack.external.s3),
    ):
        if given:
            print(f"{name:<12}{'given':<10}")
    return 0 if all(component.is_running() for component in stack.components.values()) else 1


def _row(name: str, component: Component) -> str:
    record = component.record
    if record is None:
        return f"{name:<12}{'stopped':<10}{'-':>8}{component.port:>7}{'-':>10}{'-':>10}"
    state = "running" if component.is_current() else "outdated"
    memory = f"{memory_bytes(record) / 1024**2:.0f} MB"
    return f"{name:<12}{state:<10}{record.pid:>8}{component.port:>7}{_span(record.seconds_up()):>10}{memory:>10}"


def _span(seconds: float) -> str:
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
