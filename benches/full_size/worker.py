"""Contenders as processes of their own: one request a line on stdin, one answer in JSON a line on stdout.

All stay loaded, so that each can run once a round, and none sees another's memory.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

REPOSITORY = Path(__file__).parents[2]


class WorkerError(RuntimeError):
    """A contender failed."""


class Worker:
    """The near end: starts the process and asks it."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str] | None = None):
        self.name = name
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
            env=os.environ | (environment or {}),
        )
        #: What the process says of itself once its model is loaded.
        self.loaded = self._answer()

    def ask(self, what: str, **arguments) -> dict:
        """Of a Python process."""
        return self.send(json.dumps({"what": what} | arguments))

    def send(self, line: str) -> dict:
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended: the missing answer tells
        return self._answer()

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _answer(self) -> dict:
        line = self._process.stdout.readline()
        if not line:
            raise WorkerError(f"{self.name} ended with exit status {self._process.wait()}: see its messages above")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(f"{self.name}: {answer['error']}")
        return answer


def serve(loaded: dict, handlers: dict[str, Callable[..., dict]]) -> None:
    """The far end, in a Python process: says what was loaded, then answers until stdin ends."""
    answers = take_stdout()

    def answer(content: dict) -> None:
        print(json.dumps(content), file=answers, flush=True)

    answer(loaded)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer(handlers[request.pop("what")](**request))
        except Exception as error:  # noqa: BLE001, whatever it is, the near end reports it
            answer({"error": f"{type(error).__name__}: {error}"})


def take_stdout() -> TextIO:
    """The standard output for answers alone: whatever a library prints goes to the standard error from now on."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers


def peak_memory() -> dict:
    """The most memory that this process ever held, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return {"bytes": 1024 * int(line.split()[1])}
    raise WorkerError("/proc/self/status does not tell the peak memory: this benchmark needs Linux")
