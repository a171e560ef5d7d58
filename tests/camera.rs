//! What cameras give, against what OpenCV makes of it (`tests/fixtures/make_camera_buffers.py`).

#![allow(clippy::unwrap_used, clippy::panic)] // It is all tests.

use std::{fs::File, sync::Arc};

use glip::{
    Error, ErrorKind, ImageSize, PixelFormat, SourceImage,
    live::{Frame, FramePlane},
    parts::{Plane, YuvEncoding},
};
use ndarray::{Array1, Array3};
use ndarray_npy::NpzReader;

/// Bytes after each row that are no pixels. Half a row has half of these.
const PADDING: usize = 6;

/// A buffer with padded rows, the place of its second and third plane, and the picture in it.
struct Case {
    buffer: Vec<u8>,
    stride: usize,
    planes: Vec<(usize, usize)>,
    size: ImageSize,
    rgb: Array3<u8>,
}

impl Case {
    fn of(format: PixelFormat) -> Self {
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/camera_buffers.npz"
        );
        let mut arrays = NpzReader::new(File::open(file).unwrap()).unwrap();
        let packed: Array1<u8> = arrays.by_name(format.name()).unwrap();
        let rgb: Array3<u8> = arrays.by_name(&format!("{format}.rgb")).unwrap();
        let (height, width, _) = rgb.dim();
        let row = format.packed_stride(width as u32);
        // Bytes of a row, rows.
        let planes = match format {
            PixelFormat::Nv12 | PixelFormat::Nv21 => vec![(row, height), (row, height / 2)],
            PixelFormat::I420 => vec![(row, height), (row / 2, height / 2), (row / 2, height / 2)],
            _ => vec![(row, height)],
        };
        let (mut buffer, mut places) = (Vec::new(), Vec::new());
        let mut packed = packed.iter().copied();
        for (bytes, rows) in planes {
            let padding = PADDING * bytes / row;
            places.push((buffer.len(), bytes + padding));
            for _ in 0..rows {
                buffer.extend(packed.by_ref().take(bytes));
                buffer.extend(vec![0xa5; padding]);
            }
        }
        assert_eq!(packed.next(), None);
        Self {
            buffer,
            stride: row + PADDING,
            planes: places,
            size: ImageSize::new(width as u32, height as u32),
            rgb,
        }
    }

    fn image(&self, format: PixelFormat) -> SourceImage<'_> {
        SourceImage::from_buffer(self.size, self.stride, format, &self.buffer).unwrap()
    }
}

#[test]
fn every_format_is_read_as_opencv_reads_it() {
    let mut seen = 0;
    for format in PixelFormat::ALL {
        if format == PixelFormat::Rgb8 {
            continue; // what the others become
        }
        let case = Case::of(format);
        let most = if format.name().starts_with("bayer") {
            2
        } else {
            1
        };
        let image = case.image(format);
        let rgb = image.rgb();
        assert_eq!(rgb.len(), case.rgb.len());
        for (((y, x, c), &expected), &found) in case.rgb.indexed_iter().zip(&*rgb) {
            assert!(
                found.abs_diff(expected) <= most,
                "{format} at {x}, {y}, channel {c}: {found}, expected {expected}"
            );
        }
        let planes = case.planes.iter();
        let planes: Vec<_> = planes
            .map(|&(begin, stride)| Plane::new(&case.buffer[begin..], stride))
            .collect();
        let in_planes = SourceImage::from_planes(case.size, format, &planes).unwrap();
        assert_eq!(in_planes.rgb(), rgb, "{format}");
        seen += 1;
    }
    assert_eq!(seen, 14);
}

#[test]
fn frames_are_the_same_in_one_piece_and_in_planes() {
    for format in PixelFormat::ALL {
        if format == PixelFormat::Rgb8 {
            continue; // there is no case of it
        }
        let case = Case::of(format);
        let encoding = YuvEncoding::Bt709Full;
        let image = case.image(format).with_yuv_encoding(encoding);
        let bytes = case.buffer.clone();
        let in_one_piece = Frame::new(case.size, case.stride, format, bytes).unwrap();
        let in_planes = |plane: &dyn Fn(usize, usize) -> FramePlane| {
            let planes = case
                .planes
                .iter()
                .map(|&(begin, stride)| plane(begin, stride));
            Frame::from_planes(case.size, format, planes).unwrap()
        };
        let shared = Arc::new(case.buffer.clone());
        let of_one_buffer =
            |begin, stride| FramePlane::new(Arc::clone(&shared), stride).with_offset(begin);
        let apart = |begin, stride| FramePlane::new(case.buffer[begin..].to_vec(), stride);
        for frame in [in_one_piece, in_planes(&of_one_buffer), in_planes(&apart)] {
            let frame = frame.with_yuv_encoding(encoding);
            assert_eq!(frame.image().unwrap().rgb(), image.rgb(), "{format}");
        }
    }
}

#[test]
fn frames_in_planes_that_do_not_fit_are_errors() {
    let plane = |rows: usize| FramePlane::new(vec![0; 4 * rows], 4);
    let frame = |width, format, planes: &[FramePlane]| {
        let size = ImageSize::new(width, 4);
        Frame::from_planes(size, format, planes.iter().cloned()).map(|_| ())
    };
    let nv12 = |planes: &[FramePlane]| frame(4, PixelFormat::Nv12, planes);
    assert!(nv12(&[plane(4), plane(2)]).is_ok());
    let wrong = [
        vec![],
        vec![plane(9)],
        vec![plane(4), plane(2), plane(2)],
        vec![plane(4); 4],
    ];
    for planes in wrong {
        let count = planes.len();
        let error = nv12(&planes).unwrap_err();
        assert!(
            matches!(error, Error::BufferPlanes { expected: 2, found, .. } if found == count),
            "{count}: {error}"
        );
    }
    let error = frame(4, PixelFormat::I420, &vec![plane(4); 4]).unwrap_err();
    assert!(
        matches!(
            error,
            Error::BufferPlanes {
                expected: 3,
                found: 4,
                ..
            }
        ),
        "{error}"
    );
    let error = frame(3, PixelFormat::Nv12, &[plane(4), plane(2)]).unwrap_err();
    assert!(
        matches!(error, Error::BufferSize { width: 3, .. }),
        "{error}"
    );
    // One byte too few; none at all, beyond the end.
    for (offset, left) in [(1, 7), (9, 0), (usize::MAX, 0)] {
        let error = nv12(&[plane(4), plane(2).with_offset(offset)]).unwrap_err();
        assert!(
            matches!(error, Error::BufferBytes { plane: "chroma", expected: 8, found, .. } if found == left),
            "{error}"
        );
    }
    let narrow = FramePlane::new(vec![0; 16], 3);
    let error = nv12(&[narrow, plane(2)]).unwrap_err();
    assert!(
        matches!(error, Error::BufferStride { plane: "luma", .. }),
        "{error}"
    );
}

#[test]
fn rows_of_rgb_may_be_padded() {
    let bgr = Case::of(PixelFormat::Bgr8);
    let as_rgb = bgr.image(PixelFormat::Rgb8);
    let turned: Vec<u8> = as_rgb
        .rgb()
        .chunks(3)
        .flat_map(|p| [p[2], p[1], p[0]])
        .collect();
    assert_eq!(*bgr.image(PixelFormat::Bgr8).rgb(), turned);
}

#[test]
fn levels_of_12_bits_are_shifted() {
    let levels = [0x0fff_u16, 0x0800, 0x0017, 0xffff].map(u16::to_le_bytes);
    let read = |shift| {
        let format = PixelFormat::Mono16 { shift };
        let size = ImageSize::new(4, 1);
        let image = SourceImage::from_buffer(size, 8, format, levels.as_flattened());
        image.map(|image| image.rgb().iter().copied().step_by(3).collect::<Vec<_>>())
    };
    assert_eq!(read(4).unwrap(), [255, 128, 1, 255]);
    assert_eq!(read(8).unwrap(), [15, 8, 0, 255]);
    let error = read(9).unwrap_err();
    assert!(matches!(error, Error::InvalidOption { .. }), "{error}");
}

#[test]
fn the_encoding_of_yuv_can_be_said() {
    // 16 is black in the limited range.
    let buffer = [16, 235, 16, 235, 128, 128];
    let size = ImageSize::new(2, 2);
    let image = SourceImage::from_buffer(size, 2, PixelFormat::Nv12, &buffer).unwrap();
    let levels = |image: &SourceImage<'_>| (image.rgb()[0], image.rgb()[3]);
    assert_eq!(levels(&image), (0, 255));
    let full = image.with_yuv_encoding(YuvEncoding::Bt709Full);
    assert_eq!(levels(&full), (16, 235));
}

#[test]
fn buffers_that_do_not_fit_say_what_would() {
    use PixelFormat::{BayerRggb8, Bgr8, I420, Nv12, Uyvy, Yuyv};
    let cases = [
        (
            Bgr8,
            (10, 4),
            29,
            200,
            "take at least 30 bytes a row for 10 pixels, and the stride is 29",
        ),
        (Bgr8, (10, 4), 32, 125, "take 126 bytes, 125 are there"),
        (Nv12, (10, 4), 9, 200, "luma of nv12 take at least 10 bytes"),
        (
            Nv12,
            (10, 4),
            12,
            69,
            "the chroma of a nv12 image of 10 x 4 pixels with a stride of 12 take 22 bytes, 21",
        ),
        (
            I420,
            (10, 4),
            12,
            70,
            "chroma V of a i420 image of 10 x 4 pixels with a stride of 6 take 11 bytes, 10",
        ),
        (
            Nv12,
            (11, 4),
            12,
            200,
            "cannot be 11 x 4 pixels: its sides are even",
        ),
        (
            I420,
            (10, 5),
            12,
            200,
            "leave out the last column or row and keep the stride",
        ),
        (
            Yuyv,
            (11, 4),
            24,
            200,
            "cannot be 11 x 4 pixels: its widths are even",
        ),
        (Uyvy, (10, 4), 19, 200, "take at least 20 bytes"),
        (BayerRggb8, (1, 4), 19, 200, "sides are 2 or more"),
        (
            Bgr8,
            (u32::MAX, u32::MAX),
            usize::MAX,
            8,
            "take 18446744073709551615 bytes",
        ),
    ];
    for (format, size, stride, bytes, expected) in cases {
        let buffer = vec![0; bytes];
        let error = SourceImage::from_buffer(size.into(), stride, format, &buffer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Image);
        let message = error.to_string();
        assert!(
            message.contains(expected),
            "{expected:?} is not in: {message}"
        );
    }
    let planes = [Plane::new(&[0; 64], 8)];
    let error = SourceImage::from_planes((8, 8).into(), Nv12, &planes).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("nv12 image has 2 planes, 1 were given"),
        "{error}"
    );
}

/// Whatever is accepted can be read.
#[test]
fn no_buffer_makes_it_panic() {
    let bytes = [7; 64];
    let mut accepted = 0;
    for format in PixelFormat::ALL {
        for (width, height) in (0..6).flat_map(|width| (0..6).map(move |height| (width, height))) {
            for (stride, length) in
                (0..20).flat_map(|stride| [0, 1, 5, 24, 64].map(|length| (stride, length)))
            {
                let size = ImageSize::new(width, height);
                let buffer = &bytes[..length];
                if let Ok(image) = SourceImage::from_buffer(size, stride, format, buffer) {
                    assert_eq!(image.rgb().len(), (3 * width * height) as usize);
                    accepted += 1;
                }
            }
        }
    }
    assert!(accepted > 1000, "{accepted}");
}

#[test]
fn formats_have_the_names_of_ros() {
    for format in PixelFormat::ALL {
        assert_eq!(format.name().parse::<PixelFormat>().unwrap(), format);
    }
    for (name, expected) in [
        ("yuv422", PixelFormat::Uyvy),
        ("yuv422_yuy2", PixelFormat::Yuyv),
        ("8UC3", PixelFormat::Bgr8),
    ] {
        assert_eq!(name.parse::<PixelFormat>().unwrap(), expected);
    }
    let error = "rgb16".parse::<PixelFormat>().unwrap_err();
    assert!(error.to_string().contains("\"rgb16\""), "{error}");
}
