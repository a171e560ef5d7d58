//! From what was found in a frame to the message of it.

use glip::{Detection, Detections, tracks::Track};

use crate::messages::{
    BoundingBox2D, Detection2D, Detection2DArray, Header, ObjectHypothesis,
    ObjectHypothesisWithPose,
};

/// The message of what was found in the image with this header.
pub(crate) fn message(header: Header, found: &Detections, tracks: &[Track]) -> Detection2DArray {
    let id = |index| tracks.iter().find(|track| track.index == index);
    let detections = found.iter().enumerate().map(|(index, found)| Detection2D {
        header: header.clone(),
        results: vec![hypothesis(found)],
        bbox: bounding_box(found),
        id: id(index).map_or_else(String::new, |track| track.id.to_string()),
    });
    Detection2DArray {
        detections: detections.collect(),
        header,
    }
}

fn hypothesis(found: &Detection) -> ObjectHypothesisWithPose {
    ObjectHypothesisWithPose {
        hypothesis: ObjectHypothesis {
            class_id: found.phrase.clone(),
            score: found.score.into(),
        },
        ..ObjectHypothesisWithPose::default()
    }
}

/// In ROS a box is where its centre is.
fn bounding_box(found: &Detection) -> BoundingBox2D {
    let bbox = &found.bbox;
    let [x1, y1, x2, y2] = [bbox.x1(), bbox.y1(), bbox.x2(), bbox.y2()].map(f64::from);
    BoundingBox2D {
        x: (x1 + x2) / 2.0,
        y: (y1 + y2) / 2.0,
        theta: 0.0,
        size_x: x2 - x1,
        size_y: y2 - y1,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use glip::{
        BBox,
        tracks::{TrackOptions, Tracker},
    };

    use super::*;

    #[test]
    fn boxes_have_centres_and_tracks_ids() {
        let detection = |phrase: &str, score, x| {
            let bbox = BBox::new(x, 20.0, x + 30.0, 60.0).unwrap();
            Detection::new(phrase, 0, score, bbox)
        };
        let found =
            Detections::from_iter([detection("cup", 0.75, 10.0), detection("cat", 0.25, 200.0)]);
        let mut tracker = Tracker::new(TrackOptions::default().with_start_score(0.5)).unwrap();
        let tracks = tracker.update(&found, Duration::ZERO).unwrap();
        let header = Header {
            frame_id: "camera".to_owned(),
            ..Header::default()
        };

        let message = message(header.clone(), &found, &tracks);
        assert_eq!(message.header, header);
        let [cup, cat] = &message.detections[..] else {
            panic!("{message:?}");
        };
        let expected = BoundingBox2D {
            x: 25.0,
            y: 40.0,
            theta: 0.0,
            size_x: 30.0,
            size_y: 40.0,
        };
        assert_eq!((&cup.header, &cup.bbox), (&header, &expected));
        assert_eq!((cup.id.as_str(), cat.id.as_str()), ("1", ""));
        let [result] = &cup.results[..] else {
            panic!("{cup:?}");
        };
        assert_eq!(result.hypothesis.class_id, "cup");
        assert!((result.hypothesis.score - 0.75).abs() < 1e-6);
    }
}
