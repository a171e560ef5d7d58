"""Writes the bytes of messages, as Cyclone DDS has them on the wire, for the tests of src/messages.rs."""

from pathlib import Path

from cyclonedds.idl import IdlStruct
from messages import (
    BoundingBox2D,
    CompressedImage,
    Detection2D,
    Detection2DArray,
    DiagnosticArray,
    DiagnosticStatus,
    GroundRequest,
    GroundResponse,
    Header,
    Image,
    KeyValue,
    ObjectHypothesis,
    ObjectHypothesisWithPose,
    Point2D,
    Pose2D,
    Time,
)

FOLDER = Path(__file__).parents[1] / "src/messages"
HEADER = Header(Time(1_700_000_000, 250_000_000), "camera")
CUP = Detection2D(
    HEADER,
    [ObjectHypothesisWithPose(ObjectHypothesis("coffee cup", 0.75))],
    BoundingBox2D(Pose2D(Point2D(10.5, 20.0), 0.0), 30.0, 40.0),
    "7",
)
NOTHING = Detection2D(HEADER, [], BoundingBox2D(Pose2D(Point2D(0.0, 0.0), 0.0), 0.0, 0.0), "")
IMAGE = Image(HEADER, 2, 1, "rgb8", 0, 4, [1, 2, 3, 0, 5, 6, 7])
DETECTIONS = Detection2DArray(HEADER, [CUP, NOTHING])
MESSAGES = {
    "image": IMAGE,
    "compressed_image": CompressedImage(HEADER, "jpeg", [255, 216, 255]),
    "detections": DETECTIONS,
    "ground_request": GroundRequest(IMAGE, "cup . person", 0.5),
    "ground_response": GroundResponse(True, "none", DETECTIONS),
    "diagnostics": DiagnosticArray(
        HEADER, [DiagnosticStatus(1, "glip: detections", "no images", "cpu", [KeyValue("done", "12")])]
    ),
}

assert IMAGE.serialize() == IdlStruct.serialize(IMAGE), "images are written otherwise"
for name, message in MESSAGES.items():
    # After the four bytes that say which encoding follows; DDS pads to four bytes, and says by how much.
    header, body = message.serialize()[:4], message.serialize()[4:]
    body = body[: len(body) - (header[3] & 3)]
    (FOLDER / f"{name}.hex").write_text(body.hex() + "\n")
