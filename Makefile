# `make demo` and `make test` do everything that a fresh checkout needs: a Rust toolchain and python3
# with pip are enough. `make check` is what a change must pass.

PYTHON ?= python3
RUNTIME = .onnxruntime/libonnxruntime.so
VENV = .venv
GOLDEN = $(addprefix target/golden/,glip_a_small/glip.json glip_t_small/glip.json)
PICTURES = node_modules/@iconify-json/noto/icons.json
EXPORTER = $(wildcard python/glip_torch/*.py python/glip_torch/export/*.py)
# Tests against exported models run once those exist.
EXPORTED = $(if $(wildcard $(firstword $(GOLDEN))),-- --include-ignored)

DEMO_PICTURES = astronaut cat coffee
DEMO_PROMPT = "woman . cat . coffee cup . table . bicycle . piano"

# The library's features that change what it does; glip-tools has them all.
FEATURES = glip-rs/draw,glip-rs/yaml,glip-rs/captions,glip-rs/tracks,glip-rs/share-ort
# With `cuda`, as on a machine that has none: what is asked for and missing must be an error or logged.
TEST = cargo test --workspace --features $(FEATURES),glip-rs/cuda

.PHONY: runtime demo test fast check style lint msrv deny package public-api public-api-update semver smoke fuzz sanitize bench bench-glip-t bench-gdino bench-sizes golden \
	python-test label-readers-test pictures install-capi capi-header capi-test ros2-test
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

# Asks the model in the box for one list of phrases in three photographs, and draws what it found in each.
demo: runtime
	cargo build --release --example ground
	mkdir -p target
	@for picture in $(DEMO_PICTURES); do \
		echo "examples/images/$$picture.jpg"; \
		cargo run --quiet --release --example ground -- examples/images/$$picture.jpg $(DEMO_PROMPT) \
			--draw target/demo-$$picture.png || exit 1; \
	done
	@echo "the photographs with the boxes are $(DEMO_PICTURES:%=target/demo-%.png)"

# The whole workspace at once, so that what its crates share is built once.
test: runtime
	$(TEST)
ifneq ($(EXPORTED),)
	$(TEST) --test golden $(EXPORTED)
endif

# What most mistakes fail, in a minute or two: formatting, clippy, unit tests.
fast: style runtime
	$(TEST) --lib --bins

style:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --features $(FEATURES) -- -D warnings

# What a change must pass: lints and tests of both sides, the golden models included.
check: lint msrv python-test golden
	$(MAKE) test

# Also each feature alone, and the documentation.
# Not --all-features: `download-binaries` fetches another ONNX Runtime while building.
lint: style
	cargo clippy --no-default-features -- -D warnings
	for feature in nano draw yaml captions tracks cuda tensorrt coreml directml openvino; do \
		cargo clippy --features $$feature -- -D warnings || exit 1; \
	done
	cargo clippy -p glip-tools --no-default-features -- -D warnings
	cargo clippy -p glip-capi --no-default-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --workspace --features $(FEATURES)

# The oldest compiler that Cargo.toml promises.
msrv:
	.ci/msrv

# Licences, sources and advisories of what the crates depend on.
deny:
	@if command -v cargo-deny >/dev/null; then \
		cargo deny check licenses bans sources && \
		{ cargo deny check advisories || echo "advisories were not checked, or there are some: see above"; }; \
	else \
		echo "cargo-deny is missing: licences and advisories of dependencies are not checked"; \
	fi

# The crates as they would be published.
package: runtime
	.ci/package

# Whether the library's public API is the one in tests/public-api.txt; `make public-api-update` keeps what it is now.
public-api:
	.ci/public-api

public-api-update:
	.ci/public-api --update

# Breaking changes since a commit: make semver BASE=v0.1.0
BASE = HEAD~1
semver:
	@if command -v cargo-semver-checks >/dev/null; then \
		cargo semver-checks --workspace --baseline-rev $(BASE); \
	else \
		echo "cargo-semver-checks is missing: breaking changes since $(BASE) are not listed"; \
	fi

# Every example and benchmark in its smallest form: that they run, not how fast.
SMOKE = target/smoke
smoke: runtime $(VENV)
	mkdir -p $(SMOKE)
	cargo run --release --example compose -- examples/images/coffee.jpg $(DEMO_PROMPT)
	cargo run --release --example custom_postprocess -- examples/images/coffee.jpg cup $(SMOKE)/map.png
	cargo run --release --example segment -- examples/images/coffee.jpg $(DEMO_PROMPT) tests/fixtures/golden/segmenter/sam $(SMOKE)/masks.png
	cargo run --release --example ground -- examples/images/coffee.jpg $(DEMO_PROMPT) --segmenter tests/fixtures/golden/segmenter/sam --json $(SMOKE)/masks.json
	cargo run --release --example video_frames -- examples/images $(DEMO_PROMPT)
	cargo run --release --example live -- examples/images $(DEMO_PROMPT) --frames 6 --then "dog . cup" --deadline 60000
	cargo run --release --example tracks -- examples/images $(DEMO_PROMPT) $(SMOKE)/tracks
	cargo run --release --example server -- --smoke
	cargo bench --bench pipeline --bench host -- --test
	cargo bench --bench robot -- soak --seconds 2
	cargo bench --bench robot -- neighbour --seconds 0.5
	cargo bench --bench robot -- latency --frames 5
	cargo bench --bench robot -- latency --frames 5 --cores 0 --no-spinning
	cargo bench --bench segmenter -- tests/fixtures/golden/segmenter/sam --boxes 20 --runs 1
	cargo bench --bench workloads -- --size 256x384 --batch 2 --runs 1 --warm-up 0 \
		components reuse ground vocabulary names batch pipelined callers load
	$(VENV)/bin/python python/tools/evaluation_speed.py --images 20 --rounds 1
	$(MAKE) bench-glip-t ARGS="--model glip-small --runs 1 --tokens 10 --out $(SMOKE)/RESULTS.md"
	$(MAKE) bench-gdino ARGS="--model gdino-small --runs 1 --tokens 10 --out $(SMOKE)/RESULTS.md"
	$(MAKE) bench-sizes ARGS="--model glip-small --rounds 1 --runs 1 --out $(SMOKE)/RESULTS.md --plot $(SMOKE)/sizes.svg"
	PYTHON=$(VENV)/bin/python benches/gpu.sh --device cpu --small --runs 1 --warm-up 0 --batches 1 2 \
		--precisions fp16 --stages correctness speed profile gdino

# The library for C and C++, with its headers, for CMake and pkg-config: make install-capi PREFIX=/usr/local, with
# CAPI_OPTIONS="--features cuda" for a GPU.
install-capi:
	glip-capi/install $(abspath $(PREFIX)) $(CAPI_OPTIONS)

# Its header, made of its source; a test compares them.
capi-header:
	GLIP_UPDATE_HEADER=1 cargo test -p glip-capi --test header

# The library for C and C++ as others have it, in projects elsewhere. CMake comes from Python's registry where there is none.
CMAKE := $(or $(shell command -v cmake),target/tools/cmake/bin/cmake)
capi-test: runtime $(CMAKE)
	CMAKE=$(abspath $(CMAKE)) ORT_DYLIB_PATH=$(abspath $(RUNTIME)) glip-capi/test-installed

target/tools/cmake/bin/cmake:
	rm -rf target/tools/cmake
	$(PYTHON) -m venv target/tools/cmake
	target/tools/cmake/bin/python -m pip install --quiet "cmake>=3.16"

# The node of ROS 2 among nodes of another implementation of DDS, over loopback: this many images.
ROS2_FRAMES ?= 200
ROS2_VENV = target/ros2-test/venv
ros2-test: runtime $(ROS2_VENV)
	cargo build --release -p glip-ros2 -p glip-tools
	ORT_DYLIB_PATH=$(abspath $(RUNTIME)) $(ROS2_VENV)/bin/python glip-ros2/tests/peer.py \
		$(or $(CARGO_TARGET_DIR),target)/release/glip-ros2 --frames $(ROS2_FRAMES)

$(ROS2_VENV):
	rm -rf $(ROS2_VENV).partial
	$(PYTHON) -m venv $(ROS2_VENV).partial
	$(ROS2_VENV).partial/bin/python -m pip install --quiet cyclonedds==11.0.1 pillow
	mv $(ROS2_VENV).partial $(ROS2_VENV)

# Hostile bytes for everything that reads what strangers send (fuzz/README.md), this many seconds in all.
FUZZ_SECONDS ?= 60
fuzz: runtime
	@if cargo +nightly --version >/dev/null 2>&1; then \
		fuzz/run --seconds $(FUZZ_SECONDS); \
	else \
		echo "a nightly compiler is missing: seeds are changed at random"; \
		cargo run -p glip-fuzz --bin replay -- --seconds $$(($(FUZZ_SECONDS) / 20)); \
	fi

# The tests that cross into ONNX Runtime, under AddressSanitizer.
sanitize: runtime
	@if cargo +nightly --version >/dev/null 2>&1; then \
		fuzz/sanitize; \
	else \
		echo "a nightly compiler is missing: no tests under AddressSanitizer"; \
	fi

bench: runtime
	cargo bench --bench pipeline

# Full-size GLIP-T, and Grounding DINO tiny, against PyTorch, ONNX Runtime and the machine's limit, into benches/RESULTS.md.
# With options: make bench-glip-t ARGS="--runs 9"; ARGS=--help lists them. On a small model, within minutes and without
# touching the results: make bench-gdino ARGS="--model gdino-small --tokens 10 --runs 1".
bench-glip-t: MODEL = glip-t
bench-gdino: MODEL = gdino-t
bench-glip-t bench-gdino: $(VENV)
	$(VENV)/bin/python -m pip install --quiet --editable "./python[bench]"
	$(VENV)/bin/python -m benches.full_size --model $(MODEL) $(ARGS)

# What an image's size costs, and with photographs what is found at each: make bench-sizes ARGS="--photos ANNOTATIONS IMAGES"
bench-sizes: $(VENV)
	$(VENV)/bin/python -m pip install --quiet --editable "./python[bench]"
	$(VENV)/bin/python -m benches.sizes $(ARGS)

# An environment for the Python side. PyTorch is a large download, so it is kept.
$(VENV):
	$(PYTHON) -m venv $(VENV).partial
	$(VENV).partial/bin/python -m pip install --quiet --editable "./python[test]"
	mv $(VENV).partial $(VENV)

# The pictures of everyday things that scenes are drawn with. Without npm, tests that need them are skipped.
pictures: $(PICTURES)
$(PICTURES):
	if command -v npm >/dev/null; then \
		npm install --silent --no-save --no-package-lock --no-audit --no-fund @iconify-json/noto@1.2.9; \
	else \
		echo "npm is missing: no pictures of everyday things"; \
	fi

# Builds the command `glip` too, whose output some of the tests read.
python-test: $(VENV) pictures runtime
	cargo build -p glip-tools
	cd python && ../$(VENV)/bin/python -m ruff format --check --config pyproject.toml . ../benches
	cd python && ../$(VENV)/bin/python -m ruff check --config pyproject.toml . ../benches
	cd python && ../$(VENV)/bin/python -m pytest -q

# What `glip label` writes, read by the programs it is for. They are large and hold back other packages' versions.
label-readers-test: $(VENV) runtime
	cargo build -p glip-tools
	$(VENV)/bin/python -m pip install --quiet --editable "./python[test,label-readers]"
	cd python && ../$(VENV)/bin/python -m pytest -q tests/test_labels.py

# Exports the checkpoints that the golden numbers belong to, for `make test` to run them.
golden: $(GOLDEN)
target/golden/%/glip.json: python/tests/golden/%/model.pth $(EXPORTER) | $(VENV)
	$(VENV)/bin/python -m glip_torch.export $< $(@D) --overwrite \
		--vocab python/tests/golden/vocab.txt --text-heads 4 --licence MIT
