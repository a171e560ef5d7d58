//! Run lengths of 10,000 random masks, compared byte for byte with pycocotools'.
//!
//! `python python/tests/rle_digests.py tests/fixtures/golden/rle.json` made the digests, of a hundred masks each.

#![allow(clippy::unwrap_used)] // Clippy does not see that helpers of tests are tests.

mod common;

use std::fs;

use common::fixture;
use glip::{ImageSize, Mask, parts::Rle};
use sha2::{Digest, Sha256};

/// As the digests' program has them.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % limit
    }

    fn mask(&mut self) -> Mask {
        let [width, height, longest] = [80, 60, 300].map(|limit| 1 + self.below(limit));
        let mut value = self.below(2) == 1;
        let mut pixels = Vec::new();
        while pixels.len() < (width * height) as usize {
            let run = 1 + self.below(longest);
            pixels.extend((0..run).map(|_| value));
            value = !value;
        }
        let size = ImageSize::new(width as u32, height as u32);
        Mask::from_fn(size, |x, y| pixels[(y * size.width + x) as usize]).unwrap()
    }
}

#[test]
fn run_lengths_are_those_of_pycocotools() {
    let digests: Vec<String> =
        serde_json::from_slice(&fs::read(fixture("golden/rle.json")).unwrap()).unwrap();
    let mut numbers = Numbers(1);
    for (hundred, expected) in digests.iter().enumerate() {
        let mut digest = Sha256::new();
        for _ in 0..100 {
            let mask = numbers.mask();
            let text = mask.rle().to_compressed();
            let read = Rle::from_compressed(mask.size(), &text).unwrap();
            assert_eq!(Mask::from(&read), mask, "{text}");
            digest.update(text + "\n");
        }
        let found: String = digest
            .finalize()
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(
            &found,
            expected,
            "masks {} to {}",
            100 * hundred,
            100 * hundred + 99
        );
    }
    assert_eq!(digests.len(), 100);
}
