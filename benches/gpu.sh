#!/usr/bin/env bash
# Measures GLIP-T and Grounding DINO tiny on a GPU in one command: PyTorch, ONNX Runtime from Python and this
# crate, in stages of a few minutes that say what they find as they go; the tables go to target/gpu/RESULTS.md.
#
#     benches/gpu.sh --venv .venv-gpu          makes a Python environment, then measures
#     PYTHON=python3 benches/gpu.sh            measures with an environment that is there
#     benches/gpu.sh --stages speed profile    two stages alone; --help names all
#
# It needs Linux, an NVIDIA driver (nvidia-smi), a Rust toolchain, and python3 with PyTorch for CUDA and
# the packages onnxruntime-gpu (1.25 or later, not beside onnxruntime, which takes its place), onnx and
# python/ of this repository. `--venv` installs all of the Python side, a large download.
#
# For a GPU that is there for minutes, or on a machine without Rust, build the programs before, elsewhere
# (which needs no GPU), and take them along with the repository:
#
#     benches/gpu.sh --device cpu --build prebuilt
#     benches/gpu.sh --prebuilt prebuilt
#
# The stage `tensorrt` also needs the Python package tensorrt, of the version that ONNX Runtime was built
# for. To try every step on a machine without a GPU, with tiny models and few runs:
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

case " ${options[*]-} " in
    *" --prebuilt "*) ;;
    *) command -v cargo >/dev/null || fail "cargo is not found: install Rust from https://rustup.rs, or give --prebuilt" ;;
esac
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
