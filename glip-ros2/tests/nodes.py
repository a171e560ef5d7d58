"""The nodes of Cyclone DDS around the one that is tested."""

import os
import time

# Before Cyclone is loaded: other machines have nothing to do with it.
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
    CycloneGroundRequest,
    CycloneGroundResponse,
    Detection2DArray,
    DiagnosticArray,
    GroundRequest,
    GroundResponse,
    Header,
    Image,
    Parameter,
    ParameterValue,
    SetParametersRequest,
    SetParametersResponse,
    Time,
)
from photograph import HEIGHT, WIDTH, Photograph
from tested import SECOND, check, wait_for

RELIABLE = Qos(Policy.Reliability.Reliable(duration(seconds=1)), Policy.History.KeepLast(200))


def ros_time(nanoseconds: int) -> Time:
    """A time as headers have it."""
    return Time(nanoseconds // SECOND, nanoseconds % SECOND)


def nanoseconds(stamp: Time) -> int:
    """A header's time as a number."""
    return stamp.sec * SECOND + stamp.nanosec


def image_of(photograph: Photograph, encoding: str, frame_id: str) -> Image:
    """A photograph as cameras publish it, but for the stamp."""
    data = photograph.encoded(encoding)
    return Image(Header(ros_time(0), frame_id), HEIGHT, WIDTH, encoding, 0, len(data) // HEIGHT, data)


def taken(reader: DataReader) -> list:
    """The messages that have come. What is no message says that a writer has gone."""
    return [sample for sample in reader.take(1000) if not isinstance(sample, InvalidSample)]


class Participant:
    """Whatever takes part in a domain."""

    def __init__(self, domain: int):
        self.participant = DomainParticipant(domain)

    def writer(self, name: str, kind: type) -> DataWriter:
        """Of a topic, reliable."""
        return DataWriter(self.participant, Topic(self.participant, name, kind), qos=RELIABLE)

    def reader(self, name: str, kind: type) -> DataReader:
        """Of a topic, reliable."""
        return DataReader(self.participant, Topic(self.participant, name, kind), qos=RELIABLE)


class Peers(Participant):
    """The other nodes: a camera, whoever wants detections and diagnostics, and a setter of parameters."""

    def __init__(self, domain: int):
        super().__init__(domain)
        self.images = self.writer("rt/camera/image_raw", Image)
        self.compressed = self.writer("rt/camera/compressed", CompressedImage)
        self.detections = self.reader("rt/detections", Detection2DArray)
        self.diagnostics = self.reader("rt/diagnostics", DiagnosticArray)
        self.requests = self.writer("rq/glip/set_parametersRequest", SetParametersRequest)
        self.responses = self.reader("rr/glip/set_parametersReply", SetParametersResponse)

    def photograph(self, photograph: Photograph, encoding: str, frame_id: str) -> int:
        """Publishes an image; returns its stamp."""
        image = image_of(photograph, encoding, frame_id)
        now = time.time_ns()
        image.header.stamp = ros_time(now)
        self.images.write(image)
        return now

    def found(self) -> dict[int, Detection2DArray]:
        """The detections that have come, by the stamp of their image."""
        return {nanoseconds(message.header.stamp): message for message in taken(self.detections)}

    def set_parameter(self, name: str, value: ParameterValue) -> tuple[bool, str]:
        """Sets a parameter of the node, as `ros2 param set` does."""
        wait_for(lambda: matched(self.requests) and matched(self.responses), "service of parameters")
        self.requests.write(SetParametersRequest([Parameter(name, value)]))
        [response] = wait_for(lambda: taken(self.responses), "answer of set_parameters")
        [result] = response.results
        return result.successful, result.reason


class Asker(Participant):
    """Who asks the service, as nodes of rmw_fastrtps_cpp do: messages do not say who asks."""

    KINDS = (GroundRequest, GroundResponse)

    def __init__(self, domain: int):
        super().__init__(domain)
        request, response = self.KINDS
        self.requests = self.writer("rq/glip/groundRequest", request)
        self.responses = self.reader("rr/glip/groundReply", response)
        wait_for(lambda: matched(self.requests) and matched(self.responses), "service")

    def ask(self, request: GroundRequest) -> GroundResponse:
        """What the service answers."""
        self.requests.write(request)
        [response] = wait_for(lambda: taken(self.responses), "answer of the service")
        return response


class CycloneAsker(Asker):
    """Who asks the service, as nodes of rmw_cyclonedds_cpp do: messages say who asks, and for the how manieth time."""

    KINDS = (CycloneGroundRequest, CycloneGroundResponse)

    def ask(self, request: GroundRequest) -> GroundResponse:
        """What the service answers."""
        who = (0x0123_4567_89AB_CDEF, 7)
        answer = super().ask(CycloneGroundRequest(*who, request.image, request.prompt, request.threshold))
        check((answer.client, answer.sequence) == who, f"an answer is for {answer.client:x}, {answer.sequence}")
        return GroundResponse(answer.success, answer.message, answer.detections)


def matched(entity: DataWriter | DataReader) -> bool:
    """Whether there is somebody at the other end."""
    is_writer = isinstance(entity, DataWriter)
    status = entity.get_publication_matched_status() if is_writer else entity.get_subscription_matched_status()
    return status.current_count > 0
