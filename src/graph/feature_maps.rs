//! The levels of a feature pyramid.

use ndarray::{ArrayView4, Ix4};

use super::tensor::{Input, Tensor};
use crate::{Error, Result};

/// Width and height of a feature map, in cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GridSize {
    /// Cells in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl GridSize {
    /// Number of cells, which is the number of anchors of the level.
    pub fn cells(self) -> usize {
        self.width.saturating_mul(self.height)
    }
}

/// Feature maps `[batch, channels, height, width]`, finest level first.
#[derive(Debug)]
pub(super) struct FeatureMaps {
    maps: Vec<Tensor>,
    batch: usize,
    channels: usize,
    level_sizes: Vec<GridSize>,
}

impl FeatureMaps {
    /// Takes tensors of rank 4 and checks that their batch and channels agree.
    pub(super) fn new(graph: &str, maps: Vec<Tensor>) -> Result<Self> {
        let (batch, channels) = match maps.first().map(Tensor::shape).as_deref() {
            Some(&[batch, channels, ..]) => (batch, channels),
            _ => (0, 0),
        };
        let level_sizes = maps
            .iter()
            .enumerate()
            .map(|(level, map)| match map.shape()[..] {
                [b, c, height, width] if (b, c) == (batch, channels) => {
                    Ok(GridSize { width, height })
                }
                _ => Err(Error::Shape {
                    tensor: format!("level {level} of graph {graph}"),
                    expected: format!("[{batch}, {channels}, height, width]"),
                    found: map.shape(),
                }),
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            maps,
            batch,
            channels,
            level_sizes,
        })
    }

    pub(super) fn batch(&self) -> usize {
        self.batch
    }

    pub(super) fn channels(&self) -> usize {
        self.channels
    }

    pub(super) fn level_sizes(&self) -> &[GridSize] {
        &self.level_sizes
    }

    pub(super) fn level(&self, level: usize) -> Result<ArrayView4<'_, f32>> {
        let map = self.maps.get(level).ok_or(Error::LevelIndex {
            index: level,
            levels: self.maps.len(),
        })?;
        let view = map.view(&format!("feature map {level}"))?;
        view.into_dimensionality::<Ix4>().map_err(|_| Error::Shape {
            tensor: format!("feature map {level}"),
            expected: "of rank 4".into(),
            found: map.shape(),
        })
    }

    /// The maps as the first inputs of the next graph.
    pub(super) fn inputs(&self) -> impl Iterator<Item = Input<'_>> {
        self.maps.iter().map(Input::Tensor)
    }
}
