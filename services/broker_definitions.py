"""Writes RabbitMQ definitions: `python -m services.broker_definitions` for the services' users, exchanges and queues,
and `python -m services.broker_definitions subscriber NAME --tenant ID` for the user of a subscriber."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit
from uuid import UUID

import orjson

from shared import broker_users
from shared.broker_users import ADMINISTRATOR, User

PASSWORD = "ATELIER_SUBSCRIBER_PASSWORD"  # noqa: S105 - the name of a variable


def main() -> None:
    """Write the definitions to a file or to standard output; what is missing ends the program with its name."""
    parser = argparse.ArgumentParser(prog="python -m services.broker_definitions", description=__doc__)
    parser.add_argument("--output", type=Path, help="a file; standard output without it")
    kinds = parser.add_subparsers(dest="kind")
    one = kinds.add_parser("subscriber", help=f"one user that hears a tenant's events; {PASSWORD} is its password")
    one.add_argument("name", help="of the user; its queues begin with it and a dot")
    one.add_argument("--tenant", type=UUID, required=True)
    one.add_argument("--project", type=UUID, help="only this project of the tenant")
    one.add_argument("--vhost", default="atelier")
    args = parser.parse_args()
    if args.kind == "subscriber":
        try:
            user = broker_users.subscriber(args.name, _required(PASSWORD), tenant=args.tenant, project=args.project)
        except ValueError as error:
            sys.exit(str(error))
        text = orjson.dumps(broker_users.definitions(args.vhost, [user], with_topology=False))
    else:
        text = of_services()
    if args.output is None:
        sys.stdout.buffer.write(text + b"\n")
    else:
        args.output.write_bytes(text)


def of_services() -> bytes:
    """The definitions for the users in `ATELIER_AMQP_URL` (the administrator) and `ATELIER_<SERVICE>_AMQP_URL`."""
    administrator, vhost = _account("ATELIER_AMQP_URL")
    users = [User(name=administrator[0], password=administrator[1], permissions=ADMINISTRATOR, is_administrator=True)]
    for service in broker_users.SERVICES:
        variable = f"ATELIER_{service.upper()}_AMQP_URL"
        (name, password), other = _account(variable)
        if other != vhost:
            sys.exit(f"{variable} names the virtual host {other!r}, and ATELIER_AMQP_URL {vhost!r}: use the same")
        if name == administrator[0]:
            sys.exit(f"{variable} names the administrator's user: give the service one of its own")
        users.append(User(name=name, password=password, permissions=broker_users.PERMISSIONS[service]))
    return orjson.dumps(broker_users.definitions(vhost, users, with_topology=True))


def _account(variable: str) -> tuple[tuple[str, str], str]:
    """User and password, and virtual host, of an AMQP URL."""
    parts = urlsplit(_required(variable))
    if not parts.username or not parts.password or not parts.path[1:]:
        sys.exit(f"{variable} must be amqp://user:password@host:port/vhost")
    return (unquote(parts.username), unquote(parts.password)), unquote(parts.path[1:])


def _required(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        sys.exit(f"set {name}")
    return value


if __name__ == "__main__":
    main()
