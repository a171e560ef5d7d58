"""The node that is tested, whoever its peers are, and what it must find."""

import contextlib
import signal
import subprocess
import sys
import time
from pathlib import Path

SECOND = 1_000_000_000  # nanoseconds
PATIENCE = 30  # seconds that something may take on a machine that is busy


def wait_for(what, name: str):
    """What a function returns once it is true."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if result := what():
            return result
        time.sleep(0.005)
    sys.exit(f"FAILED: no {name} within {PATIENCE} seconds")


def check(holds: bool, what: str) -> None:
    """Ends the test if something does not hold."""
    if not holds:
        sys.exit(f"FAILED: {what}")


@contextlib.contextmanager
def node(binary: Path, domain: int, image: str, prompt: str, *options: str | Path):
    """The node, as long as it is needed; it must end in order."""
    topics = ["--image", image, "--detections", "/detections", "--prompt", prompt]
    process = subprocess.Popen([binary, *topics, "--domain", str(domain), *options])
    try:
        yield process
        check(process.poll() is None, f"the node ended by itself, with {process.returncode}")
        process.send_signal(signal.SIGTERM)
        check(process.wait(PATIENCE) == 0, f"the node ended with {process.returncode} on SIGTERM")
    finally:
        process.kill()


def check_found(message, expected: list[dict], where: str) -> None:
    """That a message says what `glip ground` says: as many, the same names, scores and boxes within a pixel."""
    expected = [(one["phrase"], one["score"], *one["bbox"]) for one in expected]
    found = []
    for detection in message.detections:
        [result] = detection.results
        box = detection.bbox
        (x, y), (width, height) = (box.center.position.x, box.center.position.y), (box.size_x, box.size_y)
        corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        found.append((result.hypothesis.class_id, result.hypothesis.score, *corners))
        check(detection.header == message.header, f"{where}: {detection.header} is not the image's header")
    check([one[0] for one in found] == [one[0] for one in expected], f"{where}: {found} for {expected}")
    for one, other in zip(found, expected, strict=True):
        check(abs(one[1] - other[1]) < 0.01, f"{where}: score {one} for {other}")
        near = all(abs(a - b) < 1 for a, b in zip(one[2:], other[2:], strict=True))
        check(near, f"{where}: box {one} for {other}")
