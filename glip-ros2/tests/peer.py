"""The node `glip-ros2` among nodes of another implementation of DDS, Cyclone, over loopback.

    python peer.py target/debug/glip-ros2 --frames 200

It is a camera and a subscriber: what the node finds in photographs must be what `glip ground` finds in them.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

# Before Cyclone is loaded. Frames come in fragments, for which the kernel's default buffers are small.
os.environ["CYCLONEDDS_URI"] = """<CycloneDDS><Domain id="any">
  <General><Interfaces><NetworkInterface name="lo" multicast="true"/></Interfaces></General>
</Domain></CycloneDDS>"""

from cyclonedds.core import Policy, Qos
from cyclonedds.domain import DomainParticipant
from cyclonedds.internal import InvalidSample
from cyclonedds.pub import DataWriter
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic
from cyclonedds.util import duration
from messages import (
    CompressedImage,
    Detection2DArray,
    DiagnosticArray,
    Header,
    Image,
    Parameter,
    ParameterValue,
    SetParametersRequest,
    SetParametersResponse,
    Time,
)
from PIL import Image as Picture

ROOT = Path(__file__).parents[2]
SIZE = (640, 480)
PROMPT = "coffee cup . cat . table"
ANOTHER = "table"
RELIABLE = Qos(Policy.Reliability.Reliable(duration(seconds=1)), Policy.History.KeepLast(200))
SECOND = 1_000_000_000
STRING = 4  # a type of rcl_interfaces/ParameterType
DOUBLE = 3
PATIENCE = 30  # seconds that something may take on a machine that is busy


@dataclass
class Photograph:
    """A picture in the forms that cameras give, and what is to be found in it."""

    rgb: bytes
    file: Path

    @classmethod
    def read(cls, name: str, folder: Path) -> "Photograph":
        """A photograph of the examples, in the camera's size."""
        with Picture.open(ROOT / f"examples/images/{name}.jpg") as picture:
            picture = picture.convert("RGB").resize(SIZE)
        file = folder / f"{name}.png"
        picture.save(file)
        return cls(picture.tobytes(), file)

    def encoded(self, encoding: str) -> bytes:
        """Its pixels in an encoding of ROS."""
        if encoding == "rgb8":
            return self.rgb
        picture = Picture.frombytes("RGB", SIZE, self.rgb)
        red, green, blue = picture.split()
        if encoding == "bgr8":
            return Picture.merge("RGB", (blue, green, red)).tobytes()
        alpha = Picture.new("L", SIZE, 0)
        return Picture.merge("RGBA", (blue, green, red, alpha)).tobytes()

    def expected(self, glip: Path, prompt: str) -> list[tuple]:
        """What the command `glip ground` finds in it."""
        command = [glip, "ground", self.file, prompt, "--json"]
        found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        return [(one["phrase"], one["score"], *one["bbox"]) for one in found["detections"]]


def ros_time(nanoseconds: int) -> Time:
    """A time as headers have it."""
    return Time(nanoseconds // SECOND, nanoseconds % SECOND)


def nanoseconds(stamp: Time) -> int:
    """A header's time as a number."""
    return stamp.sec * SECOND + stamp.nanosec


def taken(reader: DataReader) -> list:
    """The messages that have come. What is no message says that a writer has gone."""
    return [sample for sample in reader.take(1000) if not isinstance(sample, InvalidSample)]


class Peers:
    """The other nodes: a camera, whoever wants detections and diagnostics, and a setter of parameters."""

    def __init__(self, domain: int):
        self.participant = DomainParticipant(domain)
        self.images = self.writer("rt/camera/image_raw", Image)
        self.compressed = self.writer("rt/camera/compressed", CompressedImage)
        self.detections = self.reader("rt/detections", Detection2DArray)
        self.diagnostics = self.reader("rt/diagnostics", DiagnosticArray)
        self.requests = self.writer("rq/glip/set_parametersRequest", SetParametersRequest)
        self.responses = self.reader("rr/glip/set_parametersReply", SetParametersResponse)

    def writer(self, name: str, kind: type) -> DataWriter:
        """Of a topic, reliable."""
        return DataWriter(self.participant, Topic(self.participant, name, kind), qos=RELIABLE)

    def reader(self, name: str, kind: type) -> DataReader:
        """Of a topic, reliable."""
        return DataReader(self.participant, Topic(self.participant, name, kind), qos=RELIABLE)

    def photograph(self, photograph: Photograph, encoding: str, frame_id: str) -> int:
        """Publishes an image; returns its stamp."""
        now = time.time_ns()
        data = photograph.encoded(encoding)
        step = len(data) // SIZE[1]
        header = Header(ros_time(now), frame_id)
        self.images.write(Image(header, SIZE[1], SIZE[0], encoding, 0, step, data))
        return now

    def found(self) -> dict[int, tuple[Detection2DArray, int]]:
        """The detections that have come, by the stamp of their image, and when they were seen."""
        messages = taken(self.detections)
        return {nanoseconds(message.header.stamp): (message, time.time_ns()) for message in messages}

    def set_parameter(self, name: str, value: ParameterValue) -> tuple[bool, str]:
        """Sets a parameter of the node, as `ros2 param set` does."""
        self.requests.write(SetParametersRequest([Parameter(name, value)]))
        responses = wait_for(lambda: self.responses.take(1), "an answer of set_parameters")
        [result] = responses[0].results
        return result.successful, result.reason


def wait_for(what, name: str):
    """What a function returns once it is true."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if result := what():
            return result
        time.sleep(0.005)
    sys.exit(f"FAILED: no {name} within {PATIENCE} seconds")


def matched(writer: DataWriter) -> bool:
    """Whether somebody subscribes."""
    return writer.get_publication_matched_status().current_count > 0


def check(holds: bool, what: str) -> None:
    """Ends the test if something does not hold."""
    if not holds:
        sys.exit(f"FAILED: {what}")


def check_found(message: Detection2DArray, expected: list[tuple], where: str) -> None:
    """That a message says what `glip ground` says: as many, the same names, scores and boxes within a pixel."""
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


@contextlib.contextmanager
def node(binary: Path, domain: int, image: str, *options: str):
    """The node, as long as it is needed; it must end in order."""
    topics = ["--image", image, "--detections", "/detections", "--prompt", PROMPT]
    process = subprocess.Popen([binary, *topics, "--domain", str(domain), *options])
    try:
        yield process
        check(process.poll() is None, f"the node ended by itself, with {process.returncode}")
        process.send_signal(signal.SIGTERM)
        check(process.wait(PATIENCE) == 0, f"the node ended with {process.returncode} on SIGTERM")
    finally:
        process.kill()


def at_a_rate(peers: Peers, photographs: dict, expected: dict, frames: int, rate: float) -> None:
    """Every image has its result, or a newer one came; none is wrong. The prompt changes half way."""
    sent, found, settled, changed = {}, {}, set(), 0
    period = 1 / rate
    start = time.monotonic()
    for number in range(frames):
        if number == frames // 2:
            settled = set(found)
            successful, reason = peers.set_parameter("prompt", ParameterValue(STRING, string_value=ANOTHER))
            check(successful, f"the prompt was not changed: {reason}")
            changed = time.time_ns()
            start = time.monotonic() - number * period  # the camera had a pause
        name = list(photographs)[number % len(photographs)]
        encoding = ["rgb8", "bgr8", "bgra8"][number % 3]
        sent[peers.photograph(photographs[name], encoding, name)] = name
        while time.monotonic() < start + (number + 1) * period:
            found |= peers.found()
            time.sleep(0.0005)
    last = max(sent)
    wait_for(lambda: found.update(peers.found()) or last in found, "result of the last image")
    check(set(found) <= set(sent), "there are detections of images that were not sent")
    check(list(found) == sorted(found), "detections are not in the order of their images")
    for stamp, (message, _) in found.items():
        name = sent[stamp]
        check(message.header.frame_id == name, f"frame_id {message.header.frame_id} for {name}")
        if stamp < changed and stamp not in settled:
            continue  # it was on its way when the prompt was changed: it may be of either
        prompt = PROMPT if stamp < changed else ANOTHER
        check_found(message, expected[name, prompt], f"{name}, {prompt!r}")
    latencies = sorted((seen - stamp) / 1e6 for stamp, (_, seen) in found.items())
    print(
        f"{frames} images at {rate:g} a second: {len(found)} looked at, none wrong; from image to detections, in this script: "
        f"p50 {statistics.median(latencies):.1f} ms, p99 {latencies[int(0.99 * len(latencies))]:.1f} ms",
        flush=True,
    )
    check(2 * len(found) >= frames, f"of {frames} images {len(found)} were looked at")


def tracks(peers: Peers, photograph: Photograph) -> None:
    """What stays where it is keeps its id."""
    ids = set()
    for _ in range(5):
        stamp = peers.photograph(photograph, "rgb8", "still")
        message, _ = wait_for(lambda stamp=stamp: peers.found().get(stamp), "detections of a still picture")
        ids.add(tuple(detection.id for detection in message.detections))
    check(len(ids) == 1 and all(ids.pop()), f"ids of what stays are {ids}")
    print("what stays keeps its id", flush=True)


def too_fast(peers: Peers, photographs: dict, frames: int) -> None:
    """More images than can be looked at: the newest wins, and results are of what was there a moment ago."""
    sent, found = [], {}
    for number in range(frames):
        sent.append(peers.photograph(list(photographs.values())[number % len(photographs)], "rgb8", "fast"))
        found |= peers.found()
        time.sleep(0.003)
    wait_for(lambda: found.update(peers.found()) or sent[-1] in found, "result of the last image")
    check(len(found) < frames, "an image every 3 ms was looked at: the test is too slow for this machine")
    ages = [(seen - stamp) / 1e6 for stamp, (_, seen) in found.items()]
    half = len(ages) // 2
    check(
        statistics.median(ages[half:]) < 2 * statistics.median(ages[:half]) + 100,
        f"results get older and older: {ages}",
    )
    print(f"{frames} images as fast as they go: {len(found)} looked at, at most {max(ages):.0f} ms old", flush=True)


def parameters(peers: Peers, photograph: Photograph) -> None:
    """Values that cannot be are refused with words, and change nothing; a threshold works at once."""
    for name, value, word in [
        ("prompt", ParameterValue(STRING, string_value=""), "no phrases"),
        ("threshold", ParameterValue(DOUBLE, double_value=7.0), "score_threshold"),
        ("model", ParameterValue(STRING, string_value="/no/such/folder"), "/no/such/folder"),
        ("no_such", ParameterValue(DOUBLE, double_value=7.0), "no_such"),
    ]:
        successful, reason = peers.set_parameter(name, value)
        check(not successful and word in reason, f"{name}: {successful}, {reason!r} has no {word!r}")

    def count() -> int:
        stamp = peers.photograph(photograph, "rgb8", "threshold")
        message, _ = wait_for(lambda: peers.found().get(stamp), "detections")
        return len(message.detections)

    check(count() > 0, "a refused parameter changed what is found")
    check(peers.set_parameter("threshold", ParameterValue(DOUBLE, double_value=1.0))[0], "threshold 1 was refused")
    check(count() == 0, "something is found with threshold 1")
    check(peers.set_parameter("threshold", ParameterValue(DOUBLE, double_value=0.5))[0], "threshold 0.5 was refused")
    check(count() > 0, "nothing is found with threshold 0.5")
    print("parameters are set and refused", flush=True)


def diagnostics(peers: Peers) -> None:
    """A second without images is told, an image that cannot be read as well, and one that can."""
    taken(peers.diagnostics)

    def status(word: str) -> bool:
        statuses = [status for message in taken(peers.diagnostics) for status in message.status]
        return any(word in status.message and status.name == "glip: detections" for status in statuses)

    wait_for(lambda: status("no images on /camera/image_raw"), "diagnostics of no images")
    peers.images.write(Image(Header(ros_time(time.time_ns()), "depth"), 2, 2, "32FC1", 0, 8, bytes(16)))
    wait_for(lambda: status('"32FC1"'), "diagnostics of an encoding that is not read")
    print("diagnostics say what is wrong", flush=True)


def camera(domain: int, file: str) -> None:
    """A camera in a process of its own, to be killed."""
    peers = Peers(domain)
    photograph = Photograph(Picture.open(file).tobytes(), Path(file))
    while True:
        peers.photograph(photograph, "rgb8", f"camera {os.getpid()}")
        time.sleep(0.1)


def killed_and_back(peers: Peers, domain: int, photograph: Photograph) -> None:
    """A camera that is killed and started again is looked at again."""
    context = multiprocessing.get_context("spawn")
    for _ in range(2):
        process = context.Process(target=camera, args=(domain, str(photograph.file)), daemon=True)
        process.start()
        name = f"camera {process.pid}"

        def came(name=name) -> bool:
            return sum(message.header.frame_id == name for message, _ in peers.found().values())

        wait_for(came, "detections of a camera in another process")
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    print("a camera was killed and came back", flush=True)


def compressed(peers: Peers, photograph: Photograph) -> None:
    """Images in PNG are the same pixels, so the same is found."""
    stamp = time.time_ns()
    header = Header(ros_time(stamp), "compressed")
    peers.compressed.write(CompressedImage(header, "png", photograph.file.read_bytes()))
    message, _ = wait_for(lambda: peers.found().get(stamp), "detections of a compressed image")
    return message


def main() -> None:
    """All of it, in a domain of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("node", type=Path, help="the command glip-ros2, beside which glip is")
    parser.add_argument("--frames", type=int, default=50, help="images at a rate that it keeps up with [50]")
    parser.add_argument("--rate", type=float, default=10, help="images a second [10]")
    parser.add_argument("--folder", type=Path, default=ROOT / "target/ros2-test", help="for files")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    glip = arguments.node.with_name("glip")
    domain = random.randrange(1, 200)  # other tests may run on this machine

    photographs = {name: Photograph.read(name, arguments.folder) for name in ["coffee", "cat"]}
    expected = {
        (name, prompt): photograph.expected(glip, prompt)
        for name, photograph in photographs.items()
        for prompt in [PROMPT, ANOTHER]
    }
    check(all(expected[name, PROMPT] for name in photographs), f"there is nothing to find: {expected}")
    peers = Peers(domain)
    with node(arguments.node, domain, "/camera/image_raw", "--reliable"):
        for writer in [peers.images, peers.requests]:
            wait_for(lambda writer=writer: matched(writer), "subscription")
        coffee = photographs["coffee"]
        at_a_rate(peers, photographs, expected, arguments.frames, arguments.rate)
        tracks(peers, coffee)
        too_fast(peers, photographs, 2 * arguments.frames)
        parameters(peers, coffee)
        diagnostics(peers)
        killed_and_back(peers, domain, coffee)
    with node(arguments.node, domain, "/camera/compressed", "--compressed"):
        wait_for(lambda: matched(peers.compressed), "subscription to compressed images")
        check_found(compressed(peers, coffee), expected["coffee", PROMPT], "compressed")
        print("compressed images are looked at", flush=True)


if __name__ == "__main__":
    main()
