# `make demo` and `make test` do everything that a fresh checkout needs: a Rust toolchain and python3
# with pip are enough. `make check` is what a change must pass.

PYTHON ?= python3
RUNTIME = .onnxruntime/libonnxruntime.so
GOLDEN = $(addprefix target/golden/,glip_a_small/glip.json glip_t_small/glip.json)
# Tests against exported models run once those exist.
EXPORTED = $(if $(wildcard $(firstword $(GOLDEN))),-- --include-ignored)

.PHONY: runtime test check bench golden
runtime: $(RUNTIME)

# The Python wheel is the one package of ONNX Runtime that every platform's registry client fetches.
# The link comes last, so that an interrupted download is not taken for a finished one.
$(RUNTIME):
	rm -rf .onnxruntime
	$(PYTHON) -m pip download --quiet --no-deps --only-binary :all: --python-version 3.12 \
		--dest .onnxruntime "onnxruntime>=1.25,<2"
	$(PYTHON) -m zipfile -e .onnxruntime/onnxruntime-*.whl .onnxruntime
	rm .onnxruntime/onnxruntime-*.whl
	cd .onnxruntime && ln -sf $$(ls onnxruntime/capi/libonnxruntime.*[0-9]* | head -n 1) libonnxruntime.so

test: runtime
	cargo test
ifneq ($(EXPORTED),)
	cargo test --test golden $(EXPORTED)
endif

# Exports the checkpoints that the golden numbers belong to. Needs the packages of python/.
golden: $(GOLDEN)
target/golden/%/glip.json: python/tests/golden/%/model.pth
	PYTHONPATH=python $(PYTHON) -m glip_torch.export $< $(@D) \
		--vocab python/tests/golden/vocab.txt --text-heads 4 --licence MIT

# Not --all-features: `download-binaries` fetches another ONNX Runtime while building.
check: runtime
	cargo fmt --check
	cargo clippy --all-targets --features draw -- -D warnings
	cargo clippy --no-default-features -- -D warnings
	for feature in draw cuda tensorrt coreml directml openvino; do \
		cargo clippy --features $$feature -- -D warnings || exit 1; \
	done
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --features draw
	cargo test --features draw

bench: runtime
	cargo bench
