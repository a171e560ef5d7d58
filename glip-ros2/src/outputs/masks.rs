//! From the masks of detections to an image that says which pixel is whose.

use glip::{ImageSize, Mask};

use crate::messages::{Header, Image};

/// An image whose levels are the numbers of detections, counted from 1 as they are in the message of detections; 0 is nothing. Where
/// masks overlap, the better detection has the pixel. A byte has room for 255 of them: those after it are left out.
pub(crate) fn message(header: Header, size: ImageSize, masks: &[Mask]) -> Image {
    let (width, height) = (size.width as usize, size.height as usize);
    let mut data = vec![0; width * height];
    // The best last, so that it is on top.
    for (number, mask) in (1..=u8::MAX).zip(masks).rev() {
        for (y, row) in (0..).zip(data.chunks_exact_mut(width.max(1))) {
            for run in mask.runs(y) {
                row[run.start as usize..run.end as usize].fill(number);
            }
        }
    }
    Image {
        header,
        height: size.height,
        width: size.width,
        encoding: "mono8".to_owned(),
        is_bigendian: 0,
        step: size.width,
        data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_have_the_number_of_the_best_detection() {
        let size = ImageSize::new(4, 2);
        let from = |first| Mask::from_fn(size, move |x, _| x >= first).unwrap();
        let image = message(Header::default(), size, &[from(3), from(1)]);
        assert_eq!(image.data, [0, 2, 2, 1, 0, 2, 2, 1]);
        assert_eq!((image.width, image.height, image.step), (4, 2, 4));
        assert_eq!(image.encoding, "mono8");
    }

    #[test]
    fn more_masks_than_a_byte_counts_are_left_out() {
        let size = ImageSize::new(300, 1);
        let masks: Vec<Mask> = (0..300)
            .map(|place| Mask::from_fn(size, |x, _| x == place).unwrap())
            .collect();
        let image = message(Header::default(), size, &masks);
        let numbers = (1..=255).chain([0; 45]);
        assert!(image.data.iter().copied().eq(numbers));
        assert!(
            message(Header::default(), size, &[])
                .data
                .iter()
                .all(|level| *level == 0)
        );
    }
}
