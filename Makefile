# make demo | test | check | setup: each does all set-up it needs (system libraries, venv, pinned requirements).

PYTHON ?= python3
VENV   ?= .venv
JOBS   ?= 2
DEMO   ?= # flags of the demo, such as DEMO='--seed 1 -o out/other'

BIN     := $(VENV)/bin
STAMP   := $(VENV)/.requirements.sha256
SYSTEM_LIBRARIES := libusb-1.0-0 libgl1 libegl1 libx11-6 libidn2-0 libudev1

.PHONY: demo test check lint setup system clean

demo: setup
	$(BIN)/anim-real demo $(DEMO)

test: setup
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

check: lint test

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

setup: system
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; set PYTHON=python3.11"; exit 5; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@cat requirements.txt pyproject.toml | sha256sum | cmp -s - $(STAMP) || { \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . && \
	  cat requirements.txt pyproject.toml | sha256sum > $(STAMP); }

# open3d needs these; they are installed when that is allowed, else named with the exact command.
system:
	@command -v dpkg > /dev/null || { echo "No dpkg here: make sure open3d's system libraries are present ($(SYSTEM_LIBRARIES))"; exit 0; }; \
	missing=""; for name in $(SYSTEM_LIBRARIES); do \
	  dpkg -s $$name 2> /dev/null | grep -q '^Status: install ok installed' || missing="$$missing $$name"; done; \
	test -z "$$missing" && exit 0; \
	if [ "$$(id -u)" = 0 ]; then sudo=""; elif sudo -n true 2> /dev/null; then sudo="sudo"; \
	else echo "System libraries are missing. Run: sudo apt-get install -y$$missing"; exit 5; fi; \
	$$sudo apt-get update -qq && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq$$missing > /dev/null

clean:
	rm -rf $(VENV) out .pytest_cache .ruff_cache .hypothesis
