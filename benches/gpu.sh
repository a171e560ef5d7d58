#!/usr/bin/env bash
# Measures GLIP-T on a GPU in one command: PyTorch eager, ONNX Runtime from Python and this crate, at
# fp32 and fp16, batch 1 and 8; prints a table and writes it to target/gpu/RESULTS.md. Before that, it
# runs the crate's tests that need a GPU (tests/gpu.rs).
#
#     benches/gpu.sh --venv .venv-gpu      makes a Python environment, then measures
#     PYTHON=python3 benches/gpu.sh        measures with an environment that is there
#
# It needs Linux, an NVIDIA driver (nvidia-smi), a Rust toolchain, and python3 with PyTorch for CUDA and
# the packages onnxruntime-gpu (1.25 or later, not beside onnxruntime, which takes its place), onnx and
# python/ of this repository. `--venv` installs all of the Python side, a large download.
#
# With `--tensorrt` it also needs the Python package tensorrt, of the version that ONNX Runtime was built
# for. All other options go to `python -m benches.gpu`, which --help describes. To try every step on a
# machine without a GPU, with a tiny model and few runs:
#
#     PYTHON=python3 benches/gpu.sh --device cpu --small --runs 2 --warm-up 1 --batches 1 2
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "error: $*" >&2
    exit 1
}

device=cuda:0
venv=
options=()
while [ $# -gt 0 ]; do
    case $1 in
        --venv) [ $# -gt 1 ] || fail "--venv needs a folder"; venv=$2; shift 2 ;;
        --device) [ $# -gt 1 ] || fail "--device needs cuda:N or cpu"; device=$2; shift 2 ;;
        *) options+=("$1"); shift ;;
    esac
done

command -v cargo >/dev/null || fail "cargo is not found: install Rust from https://rustup.rs"
if [ "$device" != cpu ]; then
    command -v nvidia-smi >/dev/null || fail "nvidia-smi is not found: install NVIDIA's driver, or try the steps with --device cpu --small"
    nvidia-smi --list-gpus | grep -q . || fail "nvidia-smi lists no GPU"
fi

python=${PYTHON:-python3}
if [ -n "$venv" ]; then
    if [ ! -x "$venv/bin/python" ]; then
        "$python" -m venv "$venv"
        # Not the extra `export`: its onnxruntime would take the place of onnxruntime-gpu.
        "$venv/bin/python" -m pip install --quiet ./python "onnx>=1.18,<2" "onnxruntime-gpu[cuda,cudnn]>=1.25,<2" \
            || { rm -rf "$venv"; fail "the Python packages cannot be installed, see above"; }
    fi
    python=$venv/bin/python
fi
command -v "$python" >/dev/null || fail "$python is not found: set PYTHON, or make an environment with --venv FOLDER"

"$python" -c "import torch, torchvision, transformers, onnx, onnxruntime" \
    || fail "$python lacks a package, see above: make an environment with --venv FOLDER"

export PYTHONPATH="$PWD/python:$PWD${PYTHONPATH:+:$PYTHONPATH}"
# ONNX Runtime's CUDA library looks for cuBLAS and cuDNN where the loader does; pip puts them elsewhere.
libraries=$("$python" -c '
import glob, sysconfig
packages = sysconfig.get_path("purelib")
print(":".join(sorted(glob.glob(packages + "/nvidia/*/lib") + glob.glob(packages + "/tensorrt_libs"))))')
export LD_LIBRARY_PATH="$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"

exec "$python" -m benches.gpu --device "$device" "${options[@]+"${options[@]}"}"
