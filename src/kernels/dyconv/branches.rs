//! Which convolutions a layer consists of.

use smallvec::SmallVec;

use crate::kernels::{
    levels::{Level, Levels},
    pixels::Grid,
};

/// Places that are worked on at a time.
pub(super) const BLOCK: usize = 96;

/// What a level is convolved from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Own,
    Finer,
    Coarser,
}

/// A convolution for a level, of itself or of a neighbour.
#[derive(Debug, Clone, Copy)]
pub(super) struct Branch {
    pub(super) source: Source,
    /// The level that it is for, and how many positions that has.
    pub(super) level: usize,
    pub(super) seen: usize,
    /// The level that it looks at.
    pub(super) from: Level,
    /// Of what it gives.
    pub(super) grid: Grid,
    /// Its place among the blocks of all branches.
    pub(super) first_block: usize,
}

impl Branch {
    pub(super) fn blocks(&self) -> usize {
        self.grid.count().div_ceil(BLOCK)
    }
}

/// All branches of all levels, those of a level one after another.
///
/// # Errors
///
/// Tells in words which level is not half of the one before.
pub(super) fn branches(levels: &Levels) -> Result<SmallVec<[Branch; 16]>, String> {
    let mut branches = SmallVec::<[Branch; 16]>::new();
    for (level, own) in levels.iter().enumerate() {
        let finer = level.checked_sub(1).map(|finer| levels[finer]);
        if finer.is_some_and(|finer| finer.grid.halved() != own.grid) {
            return Err(format!("{:?} is not half of the level before", own.grid));
        }
        let coarser = levels.get(level + 1).copied();
        let sources = [
            (Source::Own, Some(*own)),
            (Source::Finer, finer),
            (Source::Coarser, coarser),
        ];
        for (source, from) in sources {
            let Some(from) = from else { continue };
            let last = branches.last();
            branches.push(Branch {
                source,
                level,
                seen: own.grid.count(),
                from,
                grid: if source == Source::Coarser {
                    from.grid
                } else {
                    own.grid
                },
                first_block: last.map_or(0, |last: &Branch| last.first_block + last.blocks()),
            });
        }
    }
    Ok(branches)
}
