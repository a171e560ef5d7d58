"""The node `glip-ros2` among nodes of another implementation of DDS, Cyclone, over loopback.

    python peer.py target/debug/glip-ros2 --frames 200

It is a camera and a subscriber: what the node finds in photographs must be what `glip ground` finds in them.
"""

import argparse
import itertools
import multiprocessing
import os
import random
import signal
import statistics
import time
from pathlib import Path

from messages import (
    CompressedImage,
    Detection2DArray,
    GroundRequest,
    GroundResponse,
    Header,
    Image,
    ParameterValue,
)
from nodes import Asker, CycloneAsker, Peers, image_of, matched, nanoseconds, ros_time, taken
from photograph import HEIGHT, ROOT, WIDTH, Photograph, numbered
from PIL import Image as Picture
from tested import SECOND, check, check_found, node, wait_for

PROMPT = "coffee cup . cat . table"
ANOTHER = "table"
SEGMENTER = ROOT / "tests/fixtures/golden/segmenter/sam"  # of random weights
STRING = 4  # a type of rcl_interfaces/ParameterType
DOUBLE = 3


def ready(peers: Peers, publish) -> Detection2DArray:
    """Publishes an image until detections of one come: nodes do not learn of one another all at once."""
    sent, came = set(), {}

    def found() -> Detection2DArray | None:
        if not sent or time.time_ns() - max(sent) > 0.5 * SECOND:
            sent.add(publish())
        came.update(peers.found())
        return next((came[stamp] for stamp in sent if stamp in came), None)

    return wait_for(found, "detections")


def at_a_rate(peers: Peers, photographs: dict, expected: dict, frames: int, rate: float) -> None:
    """Every image has its result, or a newer one came; none is wrong. The prompt changes half way."""
    sent, gone, found, settled, changed = {}, {}, {}, set(), 0
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
        stamp = peers.photograph(photographs[name], encoding, name)
        sent[stamp], gone[stamp] = name, time.time_ns()
        while time.monotonic() < start + (number + 1) * period:
            found |= peers.found()
            time.sleep(0.0005)
    last = max(sent)
    wait_for(lambda: found.update(peers.found()) or last in found, "result of the last image")
    found = {stamp: message for stamp, message in found.items() if stamp >= min(sent)}  # not those before
    check(set(found) <= set(sent), "there are detections of images that were not sent")
    check(list(found) == sorted(found), "detections are not in the order of their images")
    for stamp, message in found.items():
        name = sent[stamp]
        check(message.header.frame_id == name, f"frame_id {message.header.frame_id} for {name}")
        if stamp < changed and stamp not in settled:
            continue  # it was on its way when the prompt was changed: it may be of either
        prompt = PROMPT if stamp < changed else ANOTHER
        check_found(message, expected[name, prompt], f"{name}, {prompt!r}")
    print(f"{frames} images at {rate:g} a second: {len(found)} looked at, none wrong", flush=True)
    report_latencies(peers, {stamp: (gone[stamp], message) for stamp, message in found.items()})
    # On a machine that is busy with something else, it need not keep up.
    latency = statistics.median(message.sample_info.source_timestamp - stamp for stamp, message in found.items())
    possible = min(frames, frames / rate / (latency / SECOND))
    check(2 * len(found) >= possible, f"of {frames} images {len(found)} were looked at, {possible:.0f} could have been")


def report_latencies(peers: Peers, found: dict) -> None:
    """Prints how long it took from an image to its detections, and how much of it is not the detector's: DDS on both sides."""
    taken(peers.diagnostics)
    [status] = wait_for(lambda: taken(peers.diagnostics), "diagnostics")[0].status
    detector = next(float(value.value) for value in status.values if value.key == "total p50 (ms)")

    def ms(start_and_end: list) -> list:
        return sorted((end - start) / 1e6 for start, end in start_and_end)

    camera = ms([(stamp, gone) for stamp, (gone, _) in found.items()])
    node = ms([(gone, message.sample_info.source_timestamp) for gone, message in found.values()])
    whole = ms([(stamp, message.sample_info.source_timestamp) for stamp, (_, message) in found.items()])
    print(
        f"from an image to its detections p50 {statistics.median(whole):.1f} ms, p99 {whole[int(0.99 * len(whole))]:.1f} ms; "
        f"of p50, the camera takes {statistics.median(camera):.1f} ms to send it, the detector {detector:.1f} ms, "
        f"and the node adds {statistics.median(node) - detector:.1f} ms",
        flush=True,
    )


def tracks(peers: Peers, photograph: Photograph) -> None:
    """What stays where it is keeps its id."""
    ids = set()
    for _ in range(5):
        stamp = peers.photograph(photograph, "rgb8", "still")
        message = wait_for(lambda stamp=stamp: peers.found().get(stamp), "detections of a still picture")
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
    ages = [(message.sample_info.source_timestamp - stamp) / 1e6 for stamp, message in found.items()]
    ends = [message.sample_info.source_timestamp for message in found.values()]
    pace = statistics.median((after - before) / 1e6 for before, after in itertools.pairwise(ends))
    # One is looked at and one waits, whatever the machine does; were there a queue, they would get older and older.
    check(statistics.median(ages) < 3 * pace + 100, f"results come every {pace:.0f} ms, and are of {ages} ms ago")
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
        message = wait_for(lambda: peers.found().get(stamp), "detections")
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
            return any(message.header.frame_id == name for message in peers.found().values())

        wait_for(came, "detections of a camera in another process")
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    print("a camera was killed and came back", flush=True)


def compressed(peers: Peers, photograph: Photograph) -> int:
    """Publishes an image in PNG, whose pixels are the same, so that the same is to be found; returns its stamp."""
    stamp = time.time_ns()
    header = Header(ros_time(stamp), "compressed")
    peers.compressed.write(CompressedImage(header, "png", photograph.file.read_bytes()))
    return stamp


def check_interface() -> None:
    """The package that nodes of ROS build has the service as it is called here."""
    text = (ROOT / "glip-ros2/glip_msgs/srv/Ground.srv").read_text()
    parts = [[line.split() for line in part.splitlines() if line and line[0] != "#"] for part in text.split("---\n")]
    for fields, message in zip(parts, [GroundRequest, GroundResponse], strict=True):
        names = [name for _, name in fields]
        check(names == list(message.__annotations__), f"Ground.srv has {names}")


def service(asker: Asker, photograph: Photograph, expected: list[dict]) -> None:
    """Who sends an image and what to look for gets what `glip ground` finds, or hears why not."""

    def ask(prompt: str, threshold: float, encoding: str = "rgb8") -> GroundResponse:
        image = image_of(photograph, "rgb8", "service")
        image.encoding = encoding
        return asker.ask(GroundRequest(image, prompt, threshold))

    response = ask(PROMPT, 0.0)
    check(response.success and response.detections.header.frame_id == "service", f"{response}")
    check_found(response.detections, expected, "service")
    check(not ask(PROMPT, 1.0).detections.detections, "the service finds something with threshold 1")
    for response, word in [(ask("", 0.0), "no phrases"), (ask("cup", 0.0, "32FC1"), "32FC1")]:
        says = not response.success and word in response.message
        check(says, f"the service says {response.message!r} in place of {word!r}")
    print("the service answers", flush=True)


def pictures(peers: Peers, photograph: Photograph, expected: list[dict]) -> None:
    """Who subscribes to masks and to the annotated image gets what `glip ground --segmenter` finds, and sees it drawn."""
    masks, annotated = peers.reader("rt/masks", Image), peers.reader("rt/glip/annotated", Image)
    wait_for(lambda: matched(masks) and matched(annotated), "publishers of pictures")
    sent, came = set(), {}

    def came_both() -> bool:
        # The node has to know of who subscribes, too: until then it makes none.
        if not sent or time.time_ns() - max(sent) > 0.5 * SECOND:
            sent.add(compressed(peers, photograph))
        came.update({image.encoding: image for reader in [masks, annotated] for image in taken(reader)})
        return len(came) == 2

    wait_for(came_both, "pictures")
    for encoding, channels in [("mono8", 1), ("rgb8", 3)]:
        image = came[encoding]
        header, form = image.header, (image.encoding, image.width, image.height, image.step)
        is_of_one = nanoseconds(header.stamp) in sent and header.frame_id == "compressed"
        check(is_of_one, f"{encoding}: {header} is of no image")
        check(form == (encoding, WIDTH, HEIGHT, channels * WIDTH), f"{form} is not {encoding}")

    levels, numbers = bytes(came["mono8"].data), numbered(expected)
    wrong = sum(a != b for a, b in zip(levels, numbers, strict=True))
    check(set(levels) == set(numbers), f"masks have the levels {set(levels)} for {set(numbers)}")
    check(wrong < 0.001 * len(levels), f"{wrong} pixels of masks are others'")

    drawn = bytes(came["rgb8"].data)
    pixels = range(WIDTH * HEIGHT)
    is_changed = [drawn[3 * at : 3 * at + 3] != photograph.rgb[3 * at : 3 * at + 3] for at in pixels]
    x1, y1, _, y2 = (round(edge) for edge in expected[0]["bbox"])
    edge = [is_changed[y * WIDTH + min(max(x1, 0), WIDTH - 1)] for y in range(max(y1, 0), min(y2, HEIGHT))]
    check(sum(edge) > 0.95 * len(edge), "the left edge of the best box is not drawn")
    inside = [is_changed[at] for at in pixels if levels[at]]
    check(sum(inside) > 0.9 * len(inside), "masks are not drawn")
    outside = [is_changed[at] for at in pixels if not levels[at]]
    check(sum(outside) < 0.5 * len(outside), "more is drawn than boxes, labels and masks")
    print("masks are published, and drawn with boxes", flush=True)


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
        (name, prompt): photograph.ground(glip, prompt)
        for name, photograph in photographs.items()
        for prompt in [PROMPT, ANOTHER]
    }
    check(all(expected[name, PROMPT] for name in photographs), f"there is nothing to find: {expected}")
    peers = Peers(domain)
    check_interface()
    coffee = photographs["coffee"]
    with node(arguments.node, domain, "/camera/image_raw", PROMPT, "--reliable", "--rmw", "rmw_fastrtps_cpp"):
        ready(peers, lambda: peers.photograph(coffee, "rgb8", "first"))
        at_a_rate(peers, photographs, expected, arguments.frames, arguments.rate)
        tracks(peers, coffee)
        too_fast(peers, photographs, 2 * arguments.frames)
        parameters(peers, coffee)
        diagnostics(peers)
        service(Asker(domain), coffee, expected["coffee", PROMPT])
        killed_and_back(peers, domain, coffee)
    options = [
        "--segmenter",
        SEGMENTER,
        "--masks",
        "/masks",
        "--annotated",
        "~/annotated",
        "--rmw",
        "rmw_cyclonedds_cpp",
    ]
    with node(arguments.node, domain, "/camera/compressed", PROMPT, "--compressed", *options):
        check_found(ready(peers, lambda: compressed(peers, coffee)), expected["coffee", PROMPT], "compressed")
        print("compressed images are looked at", flush=True)
        pictures(peers, coffee, coffee.ground(glip, PROMPT, "--segmenter", SEGMENTER))
        service(CycloneAsker(domain), coffee, expected["coffee", PROMPT])


if __name__ == "__main__":
    main()
