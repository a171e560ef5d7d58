"""The messages of ROS 2 that the node reads and writes, for Cyclone DDS."""

from dataclasses import dataclass, field

from cyclonedds.idl import IdlStruct
from cyclonedds.idl.types import array, float32, float64, int32, int64, sequence, uint8, uint32, uint64


def message(name: str) -> str:
    """The name by which DDS knows a message of ROS 2, such as `std_msgs/Header`."""
    package, kind = name.split("/")
    return f"{package}::msg::dds_::{kind}_"


@dataclass
class Time(IdlStruct, typename=message("builtin_interfaces/Time")):
    sec: int32
    nanosec: uint32


@dataclass
class Header(IdlStruct, typename=message("std_msgs/Header")):
    stamp: Time
    frame_id: str


@dataclass
class Image(IdlStruct, typename=message("sensor_msgs/Image")):
    header: Header
    height: uint32
    width: uint32
    encoding: str
    is_bigendian: uint8
    step: uint32
    data: sequence[uint8]

    def serialize(self, **options) -> bytes:
        """As Cyclone does it, which takes 100 ms for a camera's image, byte by byte: pixels come last, after their number."""
        pixels, self.data = bytes(self.data), b""
        head = bytearray(super().serialize(**options))
        self.data = pixels
        head[-4:] = len(pixels).to_bytes(4, "little")
        return bytes(head) + pixels


@dataclass
class CompressedImage(IdlStruct, typename=message("sensor_msgs/CompressedImage")):
    header: Header
    format: str
    data: sequence[uint8]


@dataclass
class ObjectHypothesis(IdlStruct, typename=message("vision_msgs/ObjectHypothesis")):
    class_id: str
    score: float64


@dataclass
class Point(IdlStruct, typename=message("geometry_msgs/Point")):
    x: float64 = 0.0
    y: float64 = 0.0
    z: float64 = 0.0


@dataclass
class Quaternion(IdlStruct, typename=message("geometry_msgs/Quaternion")):
    x: float64 = 0.0
    y: float64 = 0.0
    z: float64 = 0.0
    w: float64 = 1.0


@dataclass
class Pose(IdlStruct, typename=message("geometry_msgs/Pose")):
    position: Point = field(default_factory=Point)
    orientation: Quaternion = field(default_factory=Quaternion)


@dataclass
class PoseWithCovariance(IdlStruct, typename=message("geometry_msgs/PoseWithCovariance")):
    pose: Pose = field(default_factory=Pose)
    covariance: array[float64, 36] = field(default_factory=lambda: [0.0] * 36)


@dataclass
class ObjectHypothesisWithPose(IdlStruct, typename=message("vision_msgs/ObjectHypothesisWithPose")):
    hypothesis: ObjectHypothesis
    pose: PoseWithCovariance = field(default_factory=PoseWithCovariance)


@dataclass
class Point2D(IdlStruct, typename=message("vision_msgs/Point2D")):
    x: float64
    y: float64


@dataclass
class Pose2D(IdlStruct, typename=message("vision_msgs/Pose2D")):
    position: Point2D
    theta: float64


@dataclass
class BoundingBox2D(IdlStruct, typename=message("vision_msgs/BoundingBox2D")):
    center: Pose2D
    size_x: float64
    size_y: float64


@dataclass
class Detection2D(IdlStruct, typename=message("vision_msgs/Detection2D")):
    header: Header
    results: sequence[ObjectHypothesisWithPose]
    bbox: BoundingBox2D
    id: str


@dataclass
class Detection2DArray(IdlStruct, typename=message("vision_msgs/Detection2DArray")):
    header: Header
    detections: sequence[Detection2D]


@dataclass
class KeyValue(IdlStruct, typename=message("diagnostic_msgs/KeyValue")):
    key: str
    value: str


@dataclass
class DiagnosticStatus(IdlStruct, typename=message("diagnostic_msgs/DiagnosticStatus")):
    level: uint8
    name: str
    message: str
    hardware_id: str
    values: sequence[KeyValue]


@dataclass
class DiagnosticArray(IdlStruct, typename=message("diagnostic_msgs/DiagnosticArray")):
    header: Header
    status: sequence[DiagnosticStatus]


@dataclass
class ParameterValue(IdlStruct, typename=message("rcl_interfaces/ParameterValue")):
    type: uint8 = 0
    bool_value: bool = False
    integer_value: int64 = 0
    double_value: float64 = 0.0
    string_value: str = ""
    byte_array_value: sequence[uint8] = field(default_factory=list)
    bool_array_value: sequence[bool] = field(default_factory=list)
    integer_array_value: sequence[int64] = field(default_factory=list)
    double_array_value: sequence[float64] = field(default_factory=list)
    string_array_value: sequence[str] = field(default_factory=list)


@dataclass
class Parameter(IdlStruct, typename=message("rcl_interfaces/Parameter")):
    name: str
    value: ParameterValue


@dataclass
class SetParametersResult(IdlStruct, typename=message("rcl_interfaces/SetParametersResult")):
    successful: bool
    reason: str


@dataclass
class SetParametersRequest(IdlStruct, typename="rcl_interfaces::srv::dds_::SetParameters_Request_"):
    parameters: sequence[Parameter]


@dataclass
class SetParametersResponse(IdlStruct, typename="rcl_interfaces::srv::dds_::SetParameters_Response_"):
    results: sequence[SetParametersResult]


@dataclass
class GroundRequest(IdlStruct, typename="glip_msgs::srv::dds_::Ground_Request_"):
    image: Image
    prompt: str
    threshold: float32


@dataclass
class GroundResponse(IdlStruct, typename="glip_msgs::srv::dds_::Ground_Response_"):
    success: bool
    message: str
    detections: Detection2DArray


@dataclass
class CycloneGroundRequest(IdlStruct, typename="glip_msgs::srv::dds_::Ground_Request_"):
    """The same as nodes of rmw_cyclonedds_cpp send it: after who asks, and for the how manieth time."""

    client: uint64
    sequence: int64
    image: Image
    prompt: str
    threshold: float32


@dataclass
class CycloneGroundResponse(IdlStruct, typename="glip_msgs::srv::dds_::Ground_Response_"):
    """The same as nodes of rmw_cyclonedds_cpp expect it."""

    client: uint64
    sequence: int64
    success: bool
    message: str
    detections: Detection2DArray
