//! The levels of a feature pyramid.

use ndarray::{CowArray, Ix4};

use crate::{
    error::{Error, Result},
    geometry::GridSize,
    session::Tensor,
};

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

    pub(super) fn level(&self, level: usize) -> Result<CowArray<'_, f32, Ix4>> {
        let map = self.maps.get(level).ok_or(Error::LevelIndex {
            index: level,
            levels: self.maps.len(),
        })?;
        let numbers = map.floats(&format!("feature map {level}"))?;
        let of_other_rank = |_| Error::Shape {
            tensor: format!("feature map {level}"),
            expected: "of rank 4".into(),
            found: map.shape(),
        };
        numbers.into_dimensionality().map_err(of_other_rank)
    }

    /// The maps, for the next graph.
    pub(super) fn tensors(&self) -> &[Tensor] {
        &self.maps
    }
}
