# make demo, make test: each sets up all it needs in .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Test processes at once, by default for two cores: tests start processes of their own and wait for them.
WORKERS ?= 3
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --no-loadscope-reorder

.PHONY: demo test quick lint install packages clean

demo: $(VENV)/.installed
	$(BIN)/python -m compose.demo

test: packages $(VENV)/.installed-dev
	$(PYTEST)

quick: packages $(VENV)/.installed-dev
	$(PYTEST) -m "not slow"

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

install: $(VENV)/.installed

# What packages.txt names and the machine lacks: installed where this user may, named where not.
packages:
	@wanted=$$(sed 's/#.*//' packages.txt); \
	missing=$$(for one in $$wanted; do \
	  dpkg-query -W -f='$${db:Status-Status}\n' $$one 2>/dev/null | grep -qx installed || echo $$one; done); \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing" $$missing; \
	  export DEBIAN_FRONTEND=noninteractive; \
	  get="apt-get install -y -qq --no-install-recommends $$missing"; \
	  $$get >/dev/null 2>&1 || { apt-get update -qq && $$get >/dev/null; } && exit 0; \
	fi; \
	echo "missing:" $$missing "- tests that need them will fail; install them (packages.txt)"

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[hub,silo,client,examples]'
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed pyproject.toml constraints.txt
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[hub,silo,client,examples,dev]'
	touch $@

clean:
	rm -rf $(VENV) demo-run build *.egg-info
