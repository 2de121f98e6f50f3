# What a newcomer types; .ci/run types the same.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO := demo
ANDROID := android_demo
APP_MODELS := $(addprefix $(ANDROID)/app/src/main/assets/models/,squeezenet_v1_1-224-int8.tflite mobilenet_v1_050-160-int8.tflite)

.DEFAULT_GOAL := help
.PHONY: help demo test test-android test-torch android-models check format report zoo clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "edgekit needs Python 3.10 or later")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[export,report,dev]'
	touch $@

demo: $(VENV)/.ready  ## export two networks, judge them, time them, print one table
	rm -f $(DEMO)/results.jsonl
	$(BIN)/edgekit export squeezenet_v1_1 mobilenet_v1_050 --recipe float32,int8 -o $(DEMO)
	$(BIN)/edgekit eval $(DEMO)/squeezenet_v1_1-224-int8.tflite --reference $(DEMO)/squeezenet_v1_1-224-float32.tflite -o $(DEMO)/results.jsonl > /dev/null
	$(BIN)/edgekit eval $(DEMO)/mobilenet_v1_050-160-int8.tflite --reference $(DEMO)/mobilenet_v1_050-160-float32.tflite -o $(DEMO)/results.jsonl > /dev/null
	$(BIN)/edgekit bench $(DEMO)/*.tflite -o $(DEMO)/results.jsonl > /dev/null
	$(BIN)/edgekit compare $(DEMO)/results.jsonl --markdown $(DEMO)/results.md --html $(DEMO)/results.html
	@echo "The same table: $(DEMO)/results.md and $(DEMO)/results.html"

test: $(VENV)/.ready  ## run the whole test suite
	$(BIN)/python -m pytest

$(APP_MODELS) &: | $(VENV)/.ready
	$(BIN)/edgekit export squeezenet_v1_1 mobilenet_v1_050 --recipe int8 -o $(dir $(firstword $(APP_MODELS)))

android-models: $(APP_MODELS)  ## put the demo app's two models into it

test-android: $(VENV)/.ready $(APP_MODELS)  ## check the demo app without a phone, and pack its APK
	$(BIN)/python tests/android/expected.py $(CURDIR)/build/android
	mvn --quiet --batch-mode --file $(ANDROID)/check/pom.xml test -Dedgekit.expected=$(CURDIR)/build/android
	EDGEKIT_REQUIRE_ANDROID=1 $(BIN)/python -m pytest tests/android
	$(BIN)/python $(ANDROID)/check/apk.py
	cd $(ANDROID)/check && $(abspath $(BIN)/python) -m unittest -v test_apk
	@ls -l $(ANDROID)/check/apk/target/edgekit-demo.apk

test-torch: $(VENV)/.ready  ## install PyTorch and onnx2tf's environment, run the tests that need them
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[export,report,dev,torch]'
	$(BIN)/edgekit interop setup
	EDGEKIT_REQUIRE_TORCH=1 $(BIN)/python -m pytest -m "torch or interop"

check: $(VENV)/.ready  ## style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.ready  ## mend style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

zoo: $(VENV)/.ready  ## build every published artifact into build/zoo and renew export/manifest.json
	$(BIN)/python export/build.py

report: $(VENV)/.ready  ## renew the report, its page and picture, and the README from the stored results
	$(BIN)/python benchmarks/report.py

clean:  ## remove everything that was made here
	rm -rf $(VENV) $(DEMO) $(ANDROID)/check/*/target build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
