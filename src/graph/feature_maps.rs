//! The levels of a feature pyramid.

use std::sync::Arc;

use ndarray::{CowArray, Ix4};
use smallvec::SmallVec;

use crate::{
    error::{Error, Result},
    geometry::GridSize,
    session::{Tensor, Tensors},
    spare::share_in,
};

/// Feature maps `[batch, channels, height, width]`, finest level first.
#[derive(Debug, Default)]
pub(super) struct FeatureMaps {
    maps: Tensors,
    batch: usize,
    channels: usize,
    level_sizes: SmallVec<[GridSize; 8]>,
}

/// The place of feature maps that nobody has any more, for the next ones.
#[derive(Debug, Default)]
pub(crate) struct MapsPlace(Option<Arc<FeatureMaps>>);

impl MapsPlace {
    /// Drops the maps themselves, unless someone else has them.
    pub(super) fn of(mut maps: Arc<FeatureMaps>) -> Self {
        let place = Arc::get_mut(&mut maps).map(|maps| *maps = FeatureMaps::default());
        Self(place.map(|()| maps))
    }
}

impl FeatureMaps {
    /// Takes tensors of rank 4 and checks that their batch and channels agree.
    pub(super) fn new(graph: &str, maps: Tensors) -> Result<Self> {
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
                    found: map.shape().to_vec(),
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

    /// The same, to be shared.
    pub(super) fn shared_in(place: MapsPlace, graph: &str, maps: Tensors) -> Result<Arc<Self>> {
        Self::new(graph, maps).map(|maps| share_in(place.0, maps))
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
        let numbers = map.floats(format_args!("feature map {level}"))?;
        let of_other_rank = |_| Error::Shape {
            tensor: format!("feature map {level}"),
            expected: "of rank 4".into(),
            found: map.shape().to_vec(),
        };
        numbers.into_dimensionality().map_err(of_other_rank)
    }

    /// The maps, for the next graph.
    pub(super) fn tensors(&self) -> &[Tensor] {
        &self.maps
    }
}
