//! From an image and what was found in it to the image with that drawn on it.

use glip::{Detection, Detections, Mask, draw_detections, draw_masks, live::Frame, tracks::Track};
use image::RgbImage;

use crate::{
    error::Result,
    messages::{Header, Image},
};

/// The image with masks, if there are any, boxes and labels: `phrase #track score`.
pub(crate) fn message(
    header: Header,
    frame: &Frame,
    found: &Detections,
    tracks: &[Track],
    masks: Option<&[Mask]>,
) -> Result<Image> {
    let size = frame.size();
    let pixels = frame.image()?.rgb().into_owned();
    // As many bytes as an image of this size has.
    let mut picture = RgbImage::from_raw(size.width, size.height, pixels).unwrap_or_default();
    if let Some(masks) = masks {
        draw_masks(&mut picture, found, masks)?;
    }
    draw_detections(&mut picture, &labelled(found, tracks));
    Ok(Image {
        header,
        height: size.height,
        width: size.width,
        encoding: "rgb8".to_owned(),
        is_bigendian: 0,
        step: 3 * size.width,
        data: picture.into_raw(),
    })
}

/// Detections whose phrases say which track they are in.
fn labelled(found: &Detections, tracks: &[Track]) -> Detections {
    let mut labelled: Vec<Detection> = found.to_vec();
    for track in tracks {
        if let Some(detection) = labelled.get_mut(track.index) {
            detection.phrase += &format!(" #{}", track.id);
        }
    }
    labelled.into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use glip::{
        BBox, ImageSize, PixelFormat,
        tracks::{TrackOptions, Tracker},
    };

    use super::*;

    #[test]
    fn what_was_found_is_drawn_and_the_rest_is_as_it_was() {
        let size = ImageSize::new(320, 240);
        let frame = Frame::new(size, 3 * 320 + 8, PixelFormat::Bgr8, vec![7; 968 * 240]).unwrap();
        let bbox = BBox::new(100.0, 80.0, 200.0, 180.0).unwrap();
        let found = Detections::from_iter([Detection::new("cup", 0, 0.75, bbox)]);
        let header = Header {
            frame_id: "camera".to_owned(),
            ..Header::default()
        };
        let drawn = |tracks: &[Track], masks: Option<&[Mask]>| {
            message(header.clone(), &frame, &found, tracks, masks).unwrap()
        };
        let pixel =
            |image: &Image, x: usize, y: usize| image.data[3 * (320 * y + x)..][..3].to_vec();

        let plain = drawn(&[], None);
        assert_eq!((&plain.header, plain.step), (&header, 960));
        assert_eq!(
            (plain.encoding.as_str(), plain.data.len()),
            ("rgb8", 960 * 240)
        );
        assert_ne!(pixel(&plain, 100, 130), [7; 3]);
        for (x, y) in [(150, 130), (250, 130), (10, 10)] {
            assert_eq!(pixel(&plain, x, y), [7; 3], "{x}, {y}");
        }
        let mask = Mask::from_fn(size, |x, y| {
            (140..160).contains(&x) && (120..140).contains(&y)
        });
        let masked = drawn(&[], Some(&[mask.unwrap()]));
        assert_ne!(pixel(&masked, 150, 130), [7; 3]);

        let mut tracker = Tracker::new(TrackOptions::default()).unwrap();
        let tracks = tracker.update(&found, Duration::ZERO).unwrap();
        assert_eq!(labelled(&found, &tracks)[0].phrase, "cup #1");
        assert_ne!(drawn(&tracks, None).data, plain.data);
    }
}
