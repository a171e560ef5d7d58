//! Bits one after another, 64 to a word.

use std::{iter, ops::Range};

const WORD: usize = u64::BITS as usize;

/// `len` bits. Those of the last word beyond them are 0, so that words can be compared and counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bits {
    len: usize,
    words: Vec<u64>,
}

impl Bits {
    pub(super) fn zeros(len: usize) -> Self {
        let words = vec![0; len.div_ceil(WORD)];
        Self { len, words }
    }

    pub(super) fn collect(len: usize, mut bits: impl Iterator<Item = bool>) -> Self {
        let mut collected = Self::zeros(len);
        for (index, word) in collected.words.iter_mut().enumerate() {
            let in_word = (len - index * WORD).min(WORD);
            for (place, bit) in bits.by_ref().take(in_word).enumerate() {
                *word |= u64::from(bit) << place;
            }
        }
        collected
    }

    pub(super) fn get(&self, index: usize) -> bool {
        index < self.len && self.words[index / WORD] >> (index % WORD) & 1 == 1
    }

    /// Sets those of a range, which ends within.
    pub(super) fn set(&mut self, range: Range<usize>) {
        let mut at = range.start;
        while at < range.end {
            let shift = at % WORD;
            let count = (range.end - at).min(WORD - shift);
            self.words[at / WORD] |= lowest(count) << shift;
            at += count;
        }
    }

    /// Flips those of the 64 bits from `index` on that are set in `word`.
    pub(super) fn flip(&mut self, index: usize, word: u64) {
        let (at, shift) = (index / WORD, index % WORD);
        self.words[at] ^= word << shift;
        if shift > 0
            && let Some(next) = self.words.get_mut(at + 1)
        {
            *next ^= word >> (WORD - shift);
        }
    }

    /// In rows of `width`, flips every bit below a set one, from the second row down: where bits told the changes
    /// from row to row, they tell what changed.
    pub(super) fn sum_down(&mut self, width: usize) {
        for row in (width..self.len).step_by(width) {
            for x in (0..width).step_by(WORD) {
                let above = self.word_at(row - width + x) & lowest(width - x);
                self.flip(row + x, above);
            }
        }
    }

    pub(super) fn ones(&self) -> u64 {
        self.words.iter().copied().map(ones).sum()
    }

    /// How many bits are set in both; both are of one length.
    pub(super) fn ones_in_both(&self, other: &Self) -> u64 {
        let words = self.words.iter().zip(&other.words);
        words.map(|(a, b)| ones(a & b)).sum()
    }

    /// The bits that are set in either; both are of one length.
    pub(super) fn or(&self, other: &Self) -> Self {
        let words = self.words.iter().zip(&other.words);
        Self {
            len: self.len,
            words: words.map(|(a, b)| a | b).collect(),
        }
    }

    /// The ranges of set bits within `within`, each as long as it can be.
    pub(super) fn runs(&self, within: Range<usize>) -> impl Iterator<Item = Range<usize>> + '_ {
        let mut at = within.start;
        iter::from_fn(move || {
            let start = self.first(at..within.end, true)?;
            at = self.first(start..within.end, false).unwrap_or(within.end);
            Some(start..at)
        })
    }

    /// The first bit in a range that is `wanted`.
    fn first(&self, within: Range<usize>, wanted: bool) -> Option<usize> {
        let mut at = within.start;
        while at < within.end {
            let word = self.word_at(at);
            let zeros = if wanted { word } else { !word }.trailing_zeros() as usize;
            if zeros < WORD {
                return Some(at + zeros).filter(|&found| found < within.end);
            }
            at += WORD;
        }
        None
    }

    /// The 64 bits from `index` on; those beyond the end are 0.
    pub(super) fn word_at(&self, index: usize) -> u64 {
        let word = |at: usize| self.words.get(at).copied().unwrap_or(0);
        let (at, shift) = (index / WORD, index % WORD);
        match shift {
            0 => word(at),
            _ => word(at) >> shift | word(at + 1) << (WORD - shift),
        }
    }
}

fn ones(word: u64) -> u64 {
    u64::from(word.count_ones())
}

/// A word whose lowest bits are set, all of them from 64 on; at least one is.
pub(super) fn lowest(count: usize) -> u64 {
    u64::MAX >> (WORD - count.clamp(1, WORD))
}

/// The places of the set bits of a word, lowest first.
pub(super) fn places(mut word: u64) -> impl Iterator<Item = usize> {
    iter::from_fn(move || {
        let place = word.trailing_zeros() as usize;
        word &= word.wrapping_sub(1);
        (place < WORD).then_some(place)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bits_are_what_a_list_of_them_is(
            bits in prop::collection::vec(prop::bool::weighted(0.8), 0..300),
            from in 0usize..300, length in 0usize..300,
        ) {
            let packed = Bits::collect(bits.len(), bits.iter().copied());
            let read: Vec<bool> = (0..bits.len()).map(|index| packed.get(index)).collect();
            prop_assert_eq!(&read, &bits);
            prop_assert_eq!(packed.ones() as usize, bits.iter().filter(|&&bit| bit).count());
            let from = from.min(bits.len());
            let within = from..(from + length).min(bits.len());
            let mut expected: Vec<Range<usize>> = Vec::new();
            for index in within.clone().filter(|&index| bits[index]) {
                match expected.last_mut() {
                    Some(run) if run.end == index => run.end += 1,
                    _ => expected.push(index..index + 1),
                }
            }
            prop_assert_eq!(packed.runs(within).collect::<Vec<_>>(), expected);
            let mut runs = Bits::zeros(bits.len());
            packed.runs(0..bits.len()).for_each(|run| runs.set(run));
            prop_assert_eq!(&runs, &packed);
            let set: Vec<usize> = (0..64).filter(|&place| packed.get(from + place)).collect();
            prop_assert_eq!(places(packed.word_at(from)).collect::<Vec<_>>(), set);
        }
    }
}
