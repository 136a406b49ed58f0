# Commands for the template itself; the generated project has its own Makefile.
# Needs Python 3.11 or newer, git and make; the rest is fetched into .tools/ and .venv/.

PYTHON ?= python3
UV_VERSION := 0.13.9
BODY := <<cookiecutter.project_slug>>

export PATH := $(CURDIR)/.tools/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore
export UV_SYSTEM_CERTS := 1
export UV_PYTHON_DOWNLOADS := never
unexport VIRTUAL_ENV

.DEFAULT_GOAL := help
.PHONY: help bake demo bench inside test test-fast lint format lock clean tools

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

# Files in the body that git ignores, such as caches, would be baked too: remove them first.
bake: .venv/.ready ## Bake the default answers into build/
	@rm -rf build
	@git clean -fdXq -- '$(BODY)'
	@.venv/bin/cookiecutter . --no-input --default-config --output-dir build >/dev/null

demo: bake ## Bake the default answers and drill the service under load
	@$(MAKE) --no-print-directory -C build/example-service setup drill

# Runs in the baked project's Python. --only and --check: see docs/benchmarks.md
bench: bake ## Measure the lifecycle against a bare service: docs/benchmarks.md
	@.venv/bin/cookiecutter . --no-input --default-config --output-dir build/leader leader_election=yes >/dev/null
	@$(MAKE) --no-print-directory -C build/example-service setup .venv/.helm
	@.venv/bin/cookiecutter . --no-input --default-config --output-dir build/traced tracing=opentelemetry >/dev/null
	@.venv/bin/cookiecutter . --no-input --default-config --output-dir build/database database=postgresql >/dev/null
	@$(MAKE) --no-print-directory -C build/database/example-service setup
	@$(MAKE) --no-print-directory -C build/leader/example-service setup
	@$(MAKE) --no-print-directory -C build/traced/example-service setup
	@PYTHONPATH=build/example-service/src:build/example-service:. build/example-service/.venv/bin/python -m benchmarks $(ARGS)

inside: .venv/.ready ## Bake a project with the tests of the machinery into build/inside; ARGS="leader_election=yes"
	@rm -rf build/inside
	@.venv/bin/python -m tests.inside_project build/inside $(ARGS)

test: lint ## Lint, then run every test: the template's and those of generated projects
	@.venv/bin/python -m pytest -n auto -m "not slow"
	@.venv/bin/python -m pytest -m slow

test-fast: .venv/.ready ## The tests that take seconds
	@.venv/bin/python -m pytest -n auto -m "not slow"

lint: .venv/.ready ## Run ruff and mypy on the template, and ruff on the body
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check --no-cache '$(BODY)'
	@.venv/bin/mypy

format: .venv/.ready ## Fix what ruff can fix
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

lock: tools ## Update the versions in requirements-dev.txt
	@uv pip compile --quiet --upgrade --group dev --universal --python-version 3.11 --generate-hashes \
	  --custom-compile-command "make lock" --output-file requirements-dev.txt

clean: ## Remove everything that was made here
	@rm -rf build .venv .tools .pytest_cache .ruff_cache .mypy_cache
	@git clean -fdXq -- hooks tests '$(BODY)'

# uv gets the interpreter's own path: it does not find one behind pyenv's shims.
.venv/.ready: requirements-dev.txt | tools
	@uv venv --quiet --clear --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" .venv
	@uv pip sync --quiet --require-hashes --python .venv/bin/python requirements-dev.txt
	@touch $@

tools:
	@command -v git >/dev/null || { echo "git is missing: install it and try again." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo \
	  "$(PYTHON) is missing or older than 3.11: name another, as in 'make PYTHON=/opt/python3.13/bin/python3'." >&2; exit 1; }
	@command -v uv >/dev/null || $(PYTHON) -m pip install --quiet --target .tools uv==$(UV_VERSION) || { echo \
	  "uv could not be installed: '$(PYTHON) -m pip' must work, or put uv on the PATH." >&2; exit 1; }
