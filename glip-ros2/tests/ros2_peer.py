"""The node `glip-ros2` among nodes of a real ROS 2, on one machine.

    source /opt/ros/jazzy/setup.bash       # or install/setup.bash of a workspace, with vision_msgs and glip_msgs in it
    python3 ros2_peer.py target/release/glip-ros2

The nodes around it are rclpy's, on the RMW that RMW_IMPLEMENTATION names: a camera, who wants detections, who sets parameters, who calls
the service. What the node finds in photographs must be what `glip ground`, beside it, finds in them. Needs Pillow.
"""

import argparse
import array
import contextlib
import multiprocessing
import os
import random
import signal
import tempfile
import threading
import time
from pathlib import Path

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from glip_msgs.srv import Ground
from photograph import HEIGHT, WIDTH, Photograph
from PIL import Image as Picture
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import GetParameters, ListParameters, SetParameters
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import QoSProfile, QoSReliabilityPolicy, qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image
from tested import SECOND, check, check_found, node, wait_for
from vision_msgs.msg import Detection2DArray

PROMPT = "coffee cup . cat . table"
ANOTHER = "table"
RELIABLE = QoSProfile(depth=10, reliability=QoSReliabilityPolicy.RELIABLE)


def nanoseconds(stamp) -> int:
    """A header's time as a number."""
    return stamp.sec * SECOND + stamp.nanosec


def stamped(message, frame_id: str) -> int:
    """Says in a message's header that it is of now; returns that time."""
    now = time.time_ns()
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(now, SECOND)
    message.header.frame_id = frame_id
    return now


def image_of(photograph: Photograph, encoding: str) -> Image:
    """A photograph as cameras publish it."""
    data = array.array("B", photograph.encoded(encoding))
    return Image(height=HEIGHT, width=WIDTH, encoding=encoding, step=len(data) // HEIGHT, data=data)


def compressed_of(photograph: Photograph) -> CompressedImage:
    """A photograph as a file, whose pixels are the same."""
    return CompressedImage(format="png", data=array.array("B", photograph.file.read_bytes()))


class Peer:
    """A node of ROS, and the messages that came to it."""

    def __init__(self, name: str):
        self.node = rclpy.create_node(name)
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.came = {}
        self.spinning = threading.Thread(target=self.spin, daemon=True)
        self.spinning.start()

    def spin(self) -> None:
        """Takes messages, until the end."""
        with contextlib.suppress(ExternalShutdownException):
            self.executor.spin()

    def end(self) -> None:
        """Takes no more."""
        self.executor.shutdown()
        self.spinning.join()

    def listen(self, topic: str, kind: type) -> list:
        """What comes on a topic, from now on."""
        came = self.came.setdefault(topic, [])
        self.node.create_subscription(kind, topic, came.append, RELIABLE)
        return came

    def call(self, service: str, kind: type, request):
        """What a service answers."""
        client = self.node.create_client(kind, service)
        wait_for(client.service_is_ready, f"service {service}")
        future = client.call_async(request)
        wait_for(future.done, f"answer of {service}")
        self.node.destroy_client(client)
        return future.result()

    def found(self, publisher, message, frame_id: str) -> Detection2DArray:
        """Publishes an image until detections of one come: best effort may lose it."""
        sent = set()

        def came() -> Detection2DArray | None:
            if not sent or time.time_ns() - max(sent) > SECOND:
                sent.add(stamped(message, frame_id))
                publisher.publish(message)
            return next((one for one in self.came["/detections"] if nanoseconds(one.header.stamp) in sent), None)

        result = wait_for(came, f"detections of {frame_id}")
        check(result.header.frame_id == frame_id, f"frame_id {result.header.frame_id!r} for {frame_id!r}")
        return result


def images(peer: Peer, topic: str, qos: QoSProfile, photographs: dict, expected: dict) -> None:
    """What is found is what is there, in every encoding and with the camera's stamp and frame."""
    publisher = peer.node.create_publisher(Image, topic, qos)
    for name, photograph in photographs.items():
        for encoding in ["rgb8", "bgr8", "bgra8"]:
            found = peer.found(publisher, image_of(photograph, encoding), f"{name} {encoding}")
            check_found(found, expected[name, PROMPT], f"{name}, {encoding}")
    peer.node.destroy_publisher(publisher)
    print(f"images of a camera with {qos.reliability.name} are looked at", flush=True)


def graph(peer: Peer, image_topic: str) -> None:
    """The node is seen as one of ROS's, with the types and the QoS of its topics, and its services."""
    names = [("glip", "/")]
    wait_for(lambda: set(names) <= set(peer.node.get_node_names_and_namespaces()), "node /glip")
    for endpoints, topic, kind, reliability in [
        (peer.node.get_publishers_info_by_topic, "/detections", "vision_msgs/msg/Detection2DArray", "RELIABLE"),
        (peer.node.get_publishers_info_by_topic, "/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", "RELIABLE"),
        (peer.node.get_subscriptions_info_by_topic, image_topic, "sensor_msgs/msg/Image", "BEST_EFFORT"),
    ]:
        of_node = wait_for(
            lambda endpoints=endpoints, topic=topic: [one for one in endpoints(topic) if one.node_name == "glip"],
            f"{topic} of /glip",
        )
        seen = [(one.topic_type, one.qos_profile.reliability.name) for one in of_node]
        check(seen == [(kind, reliability)], f"{topic} is seen as {seen}")
    services = dict(peer.node.get_service_names_and_types_by_node(*names[0]))
    check(services.get("/glip/ground") == ["glip_msgs/srv/Ground"], f"/glip/ground is none of {services}")
    check("/glip/set_parameters" in services, f"/glip/set_parameters is none of {services}")
    print("the node is seen, with its topics and services", flush=True)


def parameters(peer: Peer, topic: str, photograph: Photograph, expected: dict) -> None:
    """They are listed, told and set; what cannot be is refused with words, and changes nothing."""
    publisher = peer.node.create_publisher(Image, topic, RELIABLE)
    image = image_of(photograph, "rgb8")
    listed = peer.call("/glip/list_parameters", ListParameters, ListParameters.Request()).result.names
    check({"prompt", "threshold", "model"} <= set(listed), f"parameters are {listed}")

    def prompt() -> str:
        [value] = peer.call("/glip/get_parameters", GetParameters, GetParameters.Request(names=["prompt"])).values
        return value.string_value

    def set_to(name: str, value: ParameterValue) -> tuple[bool, str]:
        request = SetParameters.Request(parameters=[Parameter(name=name, value=value)])
        [result] = peer.call("/glip/set_parameters", SetParameters, request).results
        return result.successful, result.reason

    string, double = ParameterType.PARAMETER_STRING, ParameterType.PARAMETER_DOUBLE
    for name, value, word in [
        ("prompt", ParameterValue(type=string, string_value=""), "no phrases"),
        ("threshold", ParameterValue(type=double, double_value=7.0), "score_threshold"),
        ("model", ParameterValue(type=string, string_value="/no/such/folder"), "/no/such/folder"),
        ("no_such", ParameterValue(type=double, double_value=7.0), "no_such"),
    ]:
        successful, reason = set_to(name, value)
        check(not successful and word in reason, f"{name}: {successful}, {reason!r} has no {word!r}")
    for text in [ANOTHER, PROMPT]:
        successful, reason = set_to("prompt", ParameterValue(type=string, string_value=text))
        check(successful and prompt() == text, f"prompt {text!r}: {successful}, {reason!r}, is {prompt()!r}")
        check_found(peer.found(publisher, image, text), expected["coffee", text], text)
    peer.node.destroy_publisher(publisher)
    print("parameters are listed, told, set and refused", flush=True)


def diagnostics(peer: Peer, topic: str) -> None:
    """A second without images is told, and an image that cannot be read."""
    publisher = peer.node.create_publisher(Image, topic, RELIABLE)
    came = peer.listen("/diagnostics", DiagnosticArray)

    def told(level: bytes, word: str) -> bool:
        statuses = [status for message in came for status in message.status if status.name == "glip: detections"]
        return any(status.level == level and word in status.message for status in statuses)

    wait_for(lambda: told(DiagnosticStatus.WARN, f"no images on {topic}"), "diagnostics of no images")
    unreadable = Image(height=2, width=2, encoding="32FC1", step=8, data=array.array("B", bytes(16)))
    wait_for(lambda: publisher.get_subscription_count() > 0, "subscription to images")

    def refused() -> bool:
        publisher.publish(unreadable)
        time.sleep(0.5)
        return told(DiagnosticStatus.ERROR, '"32FC1"')

    wait_for(refused, "diagnostics of an encoding that is not read")
    peer.node.destroy_publisher(publisher)
    print("diagnostics say what is wrong", flush=True)


def service(peer: Peer, photograph: Photograph, expected: list[dict]) -> None:
    """Who sends an image and what to look for gets what `glip ground` finds, or hears why not."""
    image = image_of(photograph, "rgb8")
    stamp = stamped(image, "service")
    response = peer.call("/glip/ground", Ground, Ground.Request(image=image, prompt=PROMPT))
    check(response.success, response.message)
    header = response.detections.header
    check((nanoseconds(header.stamp), header.frame_id) == (stamp, "service"), f"{header} is not the image's")
    check_found(response.detections, expected, "service")
    refused = peer.call("/glip/ground", Ground, Ground.Request(image=image, prompt=""))
    check(not refused.success and "no phrases" in refused.message, f"the service says {refused.message!r}")
    print("the service answers", flush=True)


def camera(domain: int, topic: str, file: str) -> None:
    """A camera in a process of its own, to be killed."""
    rclpy.init(domain_id=domain)
    publisher = rclpy.create_node("camera").create_publisher(Image, topic, qos_profile_sensor_data)
    image = image_of(Photograph(Picture.open(file).tobytes(), Path(file)), "rgb8")
    while True:
        stamped(image, f"camera {os.getpid()}")
        publisher.publish(image)
        time.sleep(0.2)


def killed_and_back(peer: Peer, domain: int, topic: str, photograph: Photograph) -> None:
    """A camera that is killed and started again is looked at again."""
    context = multiprocessing.get_context("spawn")
    for _ in range(2):
        process = context.Process(target=camera, args=(domain, topic, str(photograph.file)), daemon=True)
        process.start()
        name = f"camera {process.pid}"
        wait_for(
            lambda name=name: any(one.header.frame_id == name for one in peer.came["/detections"]),
            "detections of a camera in another process",
        )
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    print("a camera was killed and came back", flush=True)


def compressed(peer: Peer, topic: str, photograph: Photograph, expected: list[dict]) -> None:
    """Compressed images are looked at, and who subscribes sees what was found drawn on them."""
    publisher = peer.node.create_publisher(CompressedImage, topic, qos_profile_sensor_data)
    image = compressed_of(photograph)
    check_found(peer.found(publisher, image, "compressed"), expected, "compressed")
    annotated = peer.listen("/glip/annotated", Image)

    def drawn() -> Image | None:
        peer.found(publisher, image, "annotated")
        time.sleep(0.5)
        return next((one for one in annotated if one.header.frame_id == "annotated"), None)

    picture = wait_for(drawn, "annotated image")
    form = (picture.encoding, picture.width, picture.height)
    check(form == ("rgb8", WIDTH, HEIGHT), f"the annotated image is {form}")
    check(picture.data.tobytes() != photograph.rgb, "nothing is drawn on the annotated image")
    print("compressed images are looked at, and drawn on", flush=True)


def main() -> None:
    """All of it, in a domain of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("node", type=Path, help="the command glip-ros2, beside which glip is")
    arguments = parser.parse_args()
    glip = arguments.node.with_name("glip")
    domain = random.randrange(1, 100)  # other tests may run on this machine
    rclpy.init(domain_id=domain)
    rmw = rclpy.get_rmw_implementation_identifier()
    print(f"{os.environ.get('ROS_DISTRO', 'ROS')}, {rmw}, domain {domain}", flush=True)
    peer = Peer("peer")
    peer.listen("/detections", Detection2DArray)
    topic = "/camera/image_raw"
    with tempfile.TemporaryDirectory() as folder:
        photographs = {name: Photograph.read(name, Path(folder)) for name in ["coffee", "cat"]}
        expected = {
            (name, prompt): photograph.ground(glip, prompt)
            for name, photograph in photographs.items()
            for prompt in [PROMPT, ANOTHER]
        }
        coffee = photographs["coffee"]
        with node(arguments.node, domain, topic, PROMPT, "--rmw", rmw):
            images(peer, topic, qos_profile_sensor_data, photographs, expected)
            images(peer, topic, RELIABLE, photographs, expected)
            graph(peer, topic)
            diagnostics(peer, topic)
            service(peer, coffee, expected["coffee", PROMPT])
            if rmw == "rmw_cyclonedds_cpp":
                print("parameters are not tried: the node has them as rmw_fastrtps_cpp calls them", flush=True)
            else:
                parameters(peer, topic, coffee, expected)
            killed_and_back(peer, domain, topic, coffee)
        with node(arguments.node, domain, topic, PROMPT, "--rmw", rmw, "--reliable"):
            images(peer, topic, RELIABLE, photographs, expected)
        compressed_topic = "/camera/image_raw/compressed"
        options = ["--rmw", rmw, "--compressed", "--annotated", "~/annotated"]
        with node(arguments.node, domain, compressed_topic, PROMPT, *options):
            compressed(peer, compressed_topic, coffee, expected["coffee", PROMPT])
    peer.end()
    rclpy.shutdown()


if __name__ == "__main__":
    main()
