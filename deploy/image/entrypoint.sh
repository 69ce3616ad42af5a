#!/bin/sh
# Starts the process named by the arguments and becomes it, so that SIGTERM reaches it directly.
set -eu

case "${1:-}" in
    gateway | catalog | executor | artifacts | migrate | broker_definitions) ;;
    *)
        cat >&2 <<'USAGE'
usage: atelier SERVICE [ARGUMENT...]

  gateway                the public REST API
  gateway create-key     makes an API key and prints it
  catalog                notebooks, versions, templates, schedules
  executor control       executions: commands, reads, sweeper
  executor worker        runs notebooks
  artifacts              datasets and results
  migrate                brings the database schemas up to date, then ends
  broker_definitions     prints RabbitMQ definitions: users, exchanges, queues

Settings are read from the environment; see docs/deploy.md.
USAGE
        exit 64 # EX_USAGE
        ;;
esac

service=$1
shift
cd /opt/atelier/app
exec /opt/atelier/venv/bin/python -m "services.$service" "$@"
