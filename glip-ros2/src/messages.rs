//! The messages of ROS 2 that the node reads and writes, as the fields of its interface files follow one another: that is how they
//! lie on the wire (CDR).

use ros2_client::Message;
use serde::{Deserialize, Serialize};
use serde_big_array::BigArray;

/// `builtin_interfaces/Time`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Time {
    pub(crate) sec: i32,
    pub(crate) nanosec: u32,
}

/// `std_msgs/Header`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) stamp: Time,
    pub(crate) frame_id: String,
}

/// `sensor_msgs/Image`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Image {
    pub(crate) header: Header,
    pub(crate) height: u32,
    pub(crate) width: u32,
    pub(crate) encoding: String,
    pub(crate) is_bigendian: u8,
    /// Bytes from one row to the next.
    pub(crate) step: u32,
    #[serde(with = "serde_bytes")]
    pub(crate) data: Vec<u8>,
}

/// `sensor_msgs/CompressedImage`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CompressedImage {
    pub(crate) header: Header,
    /// `jpeg`, `png`, or more words around one of them.
    pub(crate) format: String,
    #[serde(with = "serde_bytes")]
    pub(crate) data: Vec<u8>,
}

/// `vision_msgs/Detection2DArray`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Detection2DArray {
    pub(crate) header: Header,
    pub(crate) detections: Vec<Detection2D>,
}

/// `vision_msgs/Detection2D`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Detection2D {
    pub(crate) header: Header,
    pub(crate) results: Vec<ObjectHypothesisWithPose>,
    pub(crate) bbox: BoundingBox2D,
    /// The track's.
    pub(crate) id: String,
}

/// `vision_msgs/ObjectHypothesisWithPose`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ObjectHypothesisWithPose {
    pub(crate) hypothesis: ObjectHypothesis,
    pub(crate) pose: PoseWithCovariance,
}

/// `vision_msgs/ObjectHypothesis`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ObjectHypothesis {
    pub(crate) class_id: String,
    pub(crate) score: f64,
}

/// `geometry_msgs/PoseWithCovariance`. A picture says nothing of it: it is at the origin, unturned, and its covariance is zero, which
/// stands for unknown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PoseWithCovariance {
    pub(crate) position: [f64; 3],
    /// A quaternion: x, y, z, w.
    pub(crate) orientation: [f64; 4],
    #[serde(with = "BigArray")]
    pub(crate) covariance: [f64; 36],
}

impl Default for PoseWithCovariance {
    fn default() -> Self {
        Self {
            position: [0.0; 3],
            orientation: [0.0, 0.0, 0.0, 1.0],
            covariance: [0.0; 36],
        }
    }
}

/// `vision_msgs/BoundingBox2D`, in pixels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct BoundingBox2D {
    /// Of the centre.
    pub(crate) x: f64,
    pub(crate) y: f64,
    /// By how much the box is turned.
    pub(crate) theta: f64,
    pub(crate) size_x: f64,
    pub(crate) size_y: f64,
}

/// `diagnostic_msgs/DiagnosticArray`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DiagnosticArray {
    pub(crate) header: Header,
    pub(crate) status: Vec<DiagnosticStatus>,
}

/// `diagnostic_msgs/DiagnosticStatus`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DiagnosticStatus {
    /// 0 is well, 1 a warning, 2 an error.
    pub(crate) level: u8,
    pub(crate) name: String,
    pub(crate) message: String,
    pub(crate) hardware_id: String,
    pub(crate) values: Vec<KeyValue>,
}

/// `diagnostic_msgs/KeyValue`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyValue {
    pub(crate) key: String,
    pub(crate) value: String,
}

/// The request of `glip_msgs/Ground`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct GroundRequest {
    pub(crate) image: Image,
    pub(crate) prompt: String,
    /// The model's own, if it is not over 0.
    pub(crate) threshold: f32,
}

/// The response of `glip_msgs/Ground`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct GroundResponse {
    pub(crate) success: bool,
    /// Why nothing could be looked for.
    pub(crate) message: String,
    pub(crate) detections: Detection2DArray,
}

impl Message for Image {}
impl Message for CompressedImage {}
impl Message for Detection2DArray {}
impl Message for DiagnosticArray {}
impl Message for GroundRequest {}
impl Message for GroundResponse {}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use byteorder::LittleEndian;
    use serde::de::DeserializeOwned;

    use super::*;

    /// That a message is these bytes, which Cyclone DDS wrote for it (`tests/message_bytes.py`), and is read from them.
    #[track_caller]
    fn assert_bytes<M: Serialize + DeserializeOwned + PartialEq + Debug>(message: &M, hex: &str) {
        let bytes: Vec<u8> = hex
            .as_bytes()
            .chunks(2)
            .map(|digits| u8::from_str_radix(str::from_utf8(digits).unwrap(), 16).unwrap())
            .collect();
        let written = cdr_encoding::to_vec::<M, LittleEndian>(message).unwrap();
        assert_eq!(written, bytes);
        let (read, length) = cdr_encoding::from_bytes::<M, LittleEndian>(&bytes).unwrap();
        assert_eq!((&read, length), (message, bytes.len()));
    }

    fn header() -> Header {
        Header {
            stamp: Time {
                sec: 1_700_000_000,
                nanosec: 250_000_000,
            },
            frame_id: "camera".to_owned(),
        }
    }

    #[test]
    fn messages_are_read_and_written_as_others_do() {
        let image = Image {
            header: header(),
            height: 2,
            width: 1,
            encoding: "rgb8".to_owned(),
            is_bigendian: 0,
            step: 4,
            data: vec![1, 2, 3, 0, 5, 6, 7],
        };
        assert_bytes(&image, include_str!("messages/image.hex").trim());
        let request = GroundRequest {
            image,
            prompt: "cup . person".to_owned(),
            threshold: 0.5,
        };
        assert_bytes(&request, include_str!("messages/ground_request.hex").trim());
        let compressed = CompressedImage {
            header: header(),
            format: "jpeg".to_owned(),
            data: vec![255, 216, 255],
        };
        assert_bytes(
            &compressed,
            include_str!("messages/compressed_image.hex").trim(),
        );
        let detection = Detection2D {
            header: header(),
            results: vec![ObjectHypothesisWithPose {
                hypothesis: ObjectHypothesis {
                    class_id: "coffee cup".to_owned(),
                    score: 0.75,
                },
                pose: PoseWithCovariance::default(),
            }],
            bbox: BoundingBox2D {
                x: 10.5,
                y: 20.0,
                theta: 0.0,
                size_x: 30.0,
                size_y: 40.0,
            },
            id: "7".to_owned(),
        };
        let detections = Detection2DArray {
            header: header(),
            detections: vec![
                detection,
                Detection2D {
                    header: header(),
                    ..Detection2D::default()
                },
            ],
        };
        assert_bytes(&detections, include_str!("messages/detections.hex").trim());
        let response = GroundResponse {
            success: true,
            message: "none".to_owned(),
            detections,
        };
        assert_bytes(
            &response,
            include_str!("messages/ground_response.hex").trim(),
        );
        let diagnostics = DiagnosticArray {
            header: header(),
            status: vec![DiagnosticStatus {
                level: 1,
                name: "glip: detections".to_owned(),
                message: "no images".to_owned(),
                hardware_id: "cpu".to_owned(),
                values: vec![KeyValue {
                    key: "done".to_owned(),
                    value: "12".to_owned(),
                }],
            }],
        };
        assert_bytes(
            &diagnostics,
            include_str!("messages/diagnostics.hex").trim(),
        );
    }
}
