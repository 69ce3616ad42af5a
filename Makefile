# Everything a person or a CI job does with this checkout; `make` alone lists the targets.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup demo up down status key logs reset test test-long unit check image lint types format bench promises soak \
	parity-record kernels clean

PYTHON_IN_VENV := .venv/bin/python
STACK := $(PYTHON_IN_VENV) -m deploy.local
# Without .pyc files every start takes three times as long.
unexport PYTHONDONTWRITEBYTECODE

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install what the project needs into .venv and .venv-kernel (first of all targets, by itself)
	@deploy/local/bootstrap.sh

demo: setup ## run a notebook on an event log through the REST API (DATA=file.csv: your own log)
	@test -z "$(DATA)" || test -f "$(DATA)" || { echo "error: there is no file $(DATA)" >&2; exit 1; }
	@$(STACK) up
	@$(PYTHON_IN_VENV) -m examples.demo --env .atelier/dev.env --output demo-output $(if $(DATA),--data "$(DATA)")

up: setup ## start RabbitMQ, PostgreSQL, an S3 server and the services, privately, and say how to reach them
	@$(STACK) up

down: ## end every process of this checkout's stack; data stays
	@test ! -x $(PYTHON_IN_VENV) || $(STACK) down

status: ## show every component's state, pid, port, uptime and memory
	@test -x $(PYTHON_IN_VENV) || { echo "nothing is installed yet; run: make up"; exit 1; }
	@$(STACK) status

key: ## make an API key for the development project (role=viewer|runner|editor|admin, name=…)
	@test -x $(PYTHON_IN_VENV) || { echo "nothing is installed yet; run: make up"; exit 1; }
	@$(STACK) key $(if $(role),--role "$(role)") $(if $(name),--name "$(name)")

logs: ## show the logs, follow them on a terminal (service=NAME: only one)
	@test -x $(PYTHON_IN_VENV) || { echo "nothing is installed yet; run: make up"; exit 1; }
	@$(STACK) logs $(if $(service),--service "$(service)")

reset: ## end the stack and delete its data
	@test ! -x $(PYTHON_IN_VENV) || $(STACK) reset

# Two processes; tests/support/groups.py says what stays together and what begins first.
PYTEST := $(PYTHON_IN_VENV) -m pytest -n 2
test: setup kernels ## run the tests (ARGS="tests/unit -k name": some)
	@$(PYTHON_IN_VENV) -I deploy/local/debian.py rabbitmq postgresql curl chromium
	@deploy/k8s/tools/install.sh
	@$(PYTEST) --longest-s 15 $(ARGS)

test-long: setup kernels ## run everything: all cases, every kill, the image, 1,200 runs (up to 90 minutes; as root)
	@$(PYTHON_IN_VENV) -I deploy/local/debian.py rabbitmq postgresql curl chromium buildah debootstrap
	@deploy/k8s/tools/install.sh
	@ATELIER_LONG=1 $(PYTEST) -m "not image" $(ARGS)
	@$(PYTHON_IN_VENV) -m pytest -m image
	@$(PYTHON_IN_VENV) -m tests.bench.leaks

unit: setup ## run the tests that need no server, no R and no Java
	@$(PYTEST) tests/unit $(ARGS)

check: lint unit ## check style, format, types and layers, and run the unit tests: what to do before a commit

image: setup ## build the container image without Docker and run every service from it (needs root; minutes)
	@$(PYTHON_IN_VENV) -I deploy/local/debian.py buildah debootstrap
	@$(PYTHON_IN_VENV) -m pytest -m image

parity-record: setup ## record what papermill answers to the notebooks of tests/parity (ARGS="await": some)
	@$(PYTHON_IN_VENV) -m tests.parity.record $(ARGS)

lint: setup ## check style, format, types and the layers
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy
	@.venv/bin/lint-imports

types: setup ## check the types alone
	@.venv/bin/mypy

format: setup ## bring all Python files into shape
	@.venv/bin/ruff check --fix
	@.venv/bin/ruff format

ROWS := 10000000
bench: setup ## measure the speed targets (ARGS="rate": that group alone; ROWS=300000: data at a smaller size)
	@$(PYTHON_IN_VENV) -I deploy/local/debian.py rabbitmq postgresql
	@$(PYTHON_IN_VENV) -m tests.bench $(ARGS)
	@$(PYTHON_IN_VENV) -m tests.bench.lists
	@$(if $(ARGS),true,$(PYTHON_IN_VENV) -m tests.bench.data --rows $(ROWS))
	@$(if $(ARGS),true,$(PYTHON_IN_VENV) -m tests.bench.outputs)

promises: setup ## measure the promises: cancelling, a second preparation, neighbours (ARGS="abuse": that group alone)
	@$(PYTHON_IN_VENV) -I deploy/local/debian.py rabbitmq postgresql
	@$(PYTHON_IN_VENV) -m tests.bench.promises $(ARGS)

soak: setup ## run 1,200 executions and look what they leave behind (tens of minutes)
	@$(PYTHON_IN_VENV) -I deploy/local/debian.py rabbitmq postgresql
	@$(PYTHON_IN_VENV) -m tests.bench.leaks $(ARGS)

kernels: setup ## install the R and Scala kernels: Debian packages, and Toree with Spark into .venv-scala (minutes)
	@$(PYTHON_IN_VENV) -m deploy.local.languages

clean: reset ## end the stack and delete data, environments, caches and demo-output
	@rm -rf .venv .venv-kernel .venv-scala .atelier demo-output .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
