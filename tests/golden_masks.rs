//! Masks against pycocotools, and small maps of logits against PyTorch (`tests/fixtures/make_masks.py`).

#![allow(clippy::unwrap_used, clippy::panic)] // It is all tests.

use std::fs::File;

use glip::{
    ImageSize, Mask,
    parts::{ImageGeometry, Rle},
    postprocess::{upsample_logits, upsample_mask},
};
use ndarray::{Array1, Array2};
use ndarray_npy::{NpzReader, ReadableElement};

struct Golden(NpzReader<File>);

impl Golden {
    fn open() -> Self {
        Self(NpzReader::new(File::open("tests/fixtures/golden/masks.npz").unwrap()).unwrap())
    }

    fn list<T: ReadableElement + Clone>(&mut self, name: &str) -> Vec<T> {
        let list: Array1<T> = self.0.by_name(name).unwrap();
        list.to_vec()
    }

    fn array<T: ReadableElement>(&mut self, name: &str) -> Option<Array2<T>> {
        self.0.by_name(name).ok()
    }

    fn text(&mut self, name: &str) -> String {
        String::from_utf8(self.list(name)).unwrap()
    }

    /// The masks in order.
    fn masks(&mut self) -> Vec<Mask> {
        (0..)
            .map_while(|index| self.array::<u8>(&format!("mask.{index}")))
            .map(|bitmap| Mask::from_bitmap(bitmap.mapv(|pixel| pixel != 0).view()).unwrap())
            .collect()
    }
}

#[test]
fn run_lengths_areas_and_boxes_are_pycocotools() {
    let mut golden = Golden::open();
    let masks = golden.masks();
    assert!(masks.len() > 50, "{} masks", masks.len());
    for (index, mask) in masks.iter().enumerate() {
        let name = format!("mask.{index}");
        let counts: Vec<u32> = golden.list(&format!("{name}.counts"));
        let compressed = golden.text(&format!("{name}.compressed"));
        let rle = mask.rle();
        assert_eq!(rle.counts(), counts, "{name}");
        assert_eq!(rle.to_compressed(), compressed, "{name}");
        let read = Rle::from_compressed(mask.size(), &compressed).unwrap();
        assert_eq!(Mask::from(&read), *mask, "{name}");

        let area: Vec<u32> = golden.list(&format!("{name}.area"));
        assert_eq!(mask.area(), u64::from(area[0]), "{name}");
        // Without a pixel, pycocotools gives a box of zeros.
        let bbox = mask.bbox().map_or([0.0; 4], |bbox| bbox.xywh());
        assert_eq!(
            bbox.to_vec(),
            golden.list::<f32>(&format!("{name}.bbox")),
            "{name}"
        );
    }
}

#[test]
fn overlaps_and_unions_are_pycocotools() {
    let mut golden = Golden::open();
    let masks = golden.masks();
    let mut compared = 0;
    for (index, pair) in masks.windows(2).enumerate() {
        if pair[0].size() != pair[1].size() {
            continue;
        }
        let iou: Vec<f64> = golden.list(&format!("mask.{index}.iou"));
        assert_eq!(
            pair[0].iou(&pair[1]).unwrap(),
            iou[0] as f32,
            "mask {index}"
        );
        let union = pair[0].union(&pair[1]).unwrap();
        let expected = golden.text(&format!("mask.{index}.union"));
        assert_eq!(union.rle().to_compressed(), expected, "mask {index}");
        compared += 1;
    }
    assert!(compared > 40, "{compared} pairs");
}

#[test]
fn logits_are_upsampled_as_pytorch_does_it() {
    let mut golden = Golden::open();
    let mut compared = 0;
    while let Some(logits) = golden.array::<f32>(&format!("logits.{compared}")) {
        let name = format!("logits.{compared}");
        let sizes: Vec<u32> = golden.list(&format!("{name}.sizes"));
        let size = |index: usize| ImageSize::new(sizes[2 * index], sizes[2 * index + 1]);
        let geometry = ImageGeometry {
            original: size(0),
            resized: size(1),
            padded: size(2),
        };
        let expected: Array2<f32> = golden.array(&format!("{name}.large")).unwrap();
        let large = upsample_logits(logits.view(), &geometry).unwrap();
        assert_eq!(large.dim(), expected.dim(), "{name}");
        for (place, &value) in large.indexed_iter() {
            let expected = expected[place];
            assert!(
                (value - expected).abs() < 1e-5,
                "{name} {place:?}: {value}, not {expected}"
            );
        }
        let mask = upsample_mask(logits.view(), &geometry).unwrap();
        // Where rounding cannot decide.
        for ((y, x), &logit) in expected
            .indexed_iter()
            .filter(|(_, logit)| logit.abs() > 1e-5)
        {
            assert_eq!(
                mask.contains(x as u32, y as u32),
                logit > 0.0,
                "{name} {x} {y}"
            );
        }
        compared += 1;
    }
    assert_eq!(compared, 7);
}
