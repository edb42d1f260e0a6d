# Two commands: `make run` serves the tiny profile on this machine, `make test` runs every test.
PYTHON ?= python3
BIN := .venv/bin
export OMP_NUM_THREADS ?= 2
# Threads that spin for each other crawl on a busy machine.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: run monitoring test fast check lint types imports format clean

run: .venv/runtime
	@$(BIN)/python -m serve.local

monitoring: .venv/dev
	@$(BIN)/python -m tools.monitoring

test: .venv/dev
	$(BIN)/python -m pytest -q $(ARGS)

fast: .venv/dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 -m "not ray and not slow" $(ARGS)

check: lint types imports

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/dev
	$(BIN)/pyright

imports: .venv/dev
	$(BIN)/lint-imports

format: .venv/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.venv/runtime: requirements-torch.lock requirements.lock
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -r requirements-torch.lock
	$(BIN)/python -m pip install -q --no-deps -r requirements.lock
	@touch $@

.venv/dev: .venv/runtime requirements-dev.lock
	$(BIN)/python -m pip install -q --no-deps -r requirements-dev.lock
	@touch $@

clean:
	rm -rf .venv var
