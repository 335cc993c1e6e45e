# Every target creates the virtual environment if it is missing or out of date.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test test-all check bench bench-big-models bench-cluster bench-delivery bench-discord \
	bench-engine bench-lora bench-making-of bench-mutations bench-noise bench-precision bench-queue bench-storage \
	bench-tower bench-vectors \
	bench-web chaos \
	chaos-cluster format clean soak

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 18

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Marble needs Python 3.11 or newer; say which with PYTHON=…")'
	@$(PYTHON) -m venv $(VENV)
	@echo 'Installing Marble and its dependencies into $(VENV); this takes a minute or two …'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@# spandrel requires torchvision, which Marble does not need (see engine/finish/upscale.py).
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-deps spandrel
	@touch $(READY)

demo: $(READY)  ## install everything and draw a first picture with the bundled model
	$(BIN)/marble imagine "a marble scholar holding a book" --seed 1

# One process a processor, at most eight, each with up to 1.5 GB; PYTEST_XDIST_AUTO_NUM_WORKERS=3
# starts three.
PARALLEL := --numprocesses logical --maxprocesses 8 --dist worksteal

test: $(READY)  ## run the tests, without those that are slow and rarely break
	$(BIN)/python -m pytest $(PARALLEL) -m 'not slow'

test-all: $(READY)  ## run all tests
	$(BIN)/python -m pytest $(PARALLEL)

check: $(READY)  ## check format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: bench-engine bench-queue bench-storage bench-lora bench-discord  ## run all benchmarks

bench-big-models: $(READY)  ## measure the memory of loading networks of true size (writes 12 GB and deletes them)
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m tests.bench.big_models $(or $(FOLDER),/tmp)

bench-cluster: $(READY)  ## measure 1 to 16 engines that only take time, choosing among 1,000, and two at real work
	$(BIN)/python -m tests.bench.cluster

bench-delivery: $(READY)  ## measure the way from a picture's last step to the message that shows it
	$(BIN)/python -m tests.bench.delivery

bench-discord: $(READY)  ## measure 1,000 Discord commands by 200 people at once, also at COMMIT=…
	MARBLE_BENCH=1 $(BIN)/python -m pytest -q -s tests/bots/discord/test_load.py
	$(BIN)/python -m tests.bench.discord $(COMMIT)

bench-engine: $(READY)  ## compare the speed with diffusers' own pipeline
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m tests.bench.engine

bench-lora: $(READY)  ## measure switching LoRAs (writes 2 GB and deletes them)
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m tests.bench.lora

bench-making-of: $(READY)  ## measure where words' heat lies, and what taps cost jobs without: COMMIT=…
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m tests.bench.making_of $(COMMIT)

bench-mutations: $(READY)  ## read 600,000 files that are changed at random: COUNT=60000 SEED=…
	$(BIN)/python -m tests.bench.mutations --count $(or $(COUNT),600000) $(if $(SEED),--seed $(SEED))

bench-noise: $(READY)  ## measure what the noise of a step costs a job of 16 pictures
	$(BIN)/python -m tests.bench.noise

bench-precision: $(READY)  ## compare a network in each precision with fp32
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m tests.bench.precision

bench-queue: $(READY)  ## measure ordering 10,000 waiting jobs
	$(BIN)/python -m tests.bench.queue

bench-storage: $(READY)  ## measure the database: jobs, history and search
	$(BIN)/python -m tests.bench.storage

bench-tower: $(READY)  ## measure which of 100 pictures a caption finds, by the bundled towers
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m tests.starter.finding

bench-vectors: $(READY)  ## measure searches by meaning among 1,000,000 pictures, and jobs beside indexing (takes minutes and 6 GB of disk)
	$(BIN)/python -m tests.bench.vectors $(if $(ROWS),--rows $(ROWS)) $(if $(JOBS),--jobs)

bench-web: $(READY)  ## measure the web page with 200 people's live progress over 1,000,000 jobs (takes minutes)
	$(BIN)/python -m tests.bench.web

chaos: $(READY)  ## test a service under random faults: SECONDS=600 SEED=…
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m tests.chaos --seconds $(or $(SECONDS),600) $(if $(SEED),--seed $(SEED))

chaos-cluster: $(READY)  ## test a service that draws on a Ray cluster, whose machines break: SECONDS=600 SEED=…
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m tests.chaos --cluster --seconds $(or $(SECONDS),600) $(if $(SEED),--seed $(SEED))

soak: $(READY)  ## run 10,000 jobs through a service with an instant engine
	$(BIN)/python -m tests.bench.soak

format: $(READY)  ## format the code and fix what lint can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove the virtual environment and caches (never the data folder)
	rm -rf $(VENV) *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
