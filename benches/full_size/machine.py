"""What the numbers were measured on."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import onnxruntime

from .worker import REPOSITORY

#: Instruction sets that decide how fast matrix products are.
INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile")


def description() -> list[str]:
    """Lines for the head of a report."""
    cpu = _cpu_information()
    instructions = [name for name in INSTRUCTIONS if name in cpu.get("flags", "").split()]
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    processor = (
        f"{cpu.get('model name', platform.processor())} "
        f"(family {cpu.get('cpu family', '?')}, model {cpu.get('model', '?')})"
    )
    hardware = [f"{len(os.sched_getaffinity(0))} cores", *instructions, *_caches(), f"{memory / 2**30:.0f} GiB memory"]
    packages = [f"{package} {version(package)}" for package in ("torch", "torchvision", "transformers")]
    # The package onnxruntime-gpu has the same module.
    packages.append(f"onnxruntime {onnxruntime.__version__}")
    system = [f"{platform.system()} {platform.release()}", f"Python {platform.python_version()}", *packages]
    return [", ".join([processor, *hardware]), ", ".join([*system, _output("rustc", "--version").split(" (")[0]])]


def commit() -> str:
    """The commit that is checked out, and whether it is all of what was measured."""
    revision = _output("git", "rev-parse", "--short=10", "HEAD")
    changed = _output("git", "status", "--porcelain", "--untracked-files=no", "--", ".", ":!benches/RESULTS.md")
    return revision + (" with uncommitted changes" if changed else "")


def _cpu_information() -> dict[str, str]:
    first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def _caches() -> list[str]:
    caches = []
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        kind, level, size = ((folder / name).read_text().strip() for name in ("type", "level", "size"))
        if kind != "Instruction":
            caches.append(f"L{level} {size.replace('K', ' KiB')}")
    return caches


def _output(*command: str) -> str:
    try:
        result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return f"{command[0]} unknown"  # a machine that was given the programs built
    return result.stdout.strip() if result.returncode == 0 else "unknown"
