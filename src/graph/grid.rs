//! What of an image encoder's work depends on the size of its images alone.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use ndarray::Array1;

use crate::{
    control::Control,
    error::Result,
    session::{CheckedGraph, Input, Outputs},
};

/// Of so many sizes the tensors are kept. A camera has one size, and a folder of photographs few; those of a size
/// take some ten megabytes of the device.
const KEPT: usize = 4;

/// The graph `grid`: from the size of a batch of images to the tensors that the image encoder reads beside them,
/// such as which tokens a window of a Swin Transformer has. It is run once a size. Clones share what is kept.
#[derive(Clone)]
pub(super) struct Grid {
    graph: CheckedGraph,
    /// Last used, last.
    kept: Arc<Mutex<VecDeque<Entry>>>,
}

/// Number of images, height and width.
type Size = [usize; 3];

/// A size and its tensors.
type Entry = (Size, Arc<Outputs>);

impl Grid {
    pub(super) fn new(graph: CheckedGraph) -> Self {
        Self {
            graph,
            kept: Arc::default(),
        }
    }

    pub(super) fn controlled(&self, control: &Control) -> Self {
        Self {
            graph: self.graph.controlled(control),
            kept: Arc::clone(&self.kept),
        }
    }

    /// The tensors for images of this size. Callers who ask for one that is not there wait for each other.
    pub(super) fn of(&self, size: Size) -> Result<Arc<Outputs>> {
        // Whoever panicked left whole entries.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = kept.iter().position(|(known, _)| *known == size)
            && let Some(entry) = kept.remove(index)
        {
            let tensors = Arc::clone(&entry.1);
            kept.push_back(entry);
            return Ok(tensors);
        }
        let numbers = Array1::from_iter(size.map(|number| number as i64)).into_dyn();
        let named = |input: &str| (input == "size").then(|| Input::I64(numbers.view()));
        let tensors = Arc::new(self.graph.run([], named)?);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back((size, Arc::clone(&tensors)));
        Ok(tensors)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use ndarray::ArrayD;

    use super::*;
    use crate::{
        runtime::Device,
        session::{Element, Graph, HostTensor, Signature, Tensor, TensorSpec, Tensors},
    };

    /// Gives the size back as it came, and counts.
    struct Echo(Arc<AtomicUsize>);

    impl Graph for Echo {
        fn device(&self) -> Device {
            Device::Cpu
        }

        fn run(&self, inputs: &[Input<'_>], _control: &Control) -> Result<Tensors> {
            self.0.fetch_add(1, Ordering::Relaxed);
            let Some(Input::I64(size)) = inputs.first() else {
                panic!("the size is an int64 tensor");
            };
            Ok([Tensor::Host(HostTensor::I64(size.to_owned()))]
                .into_iter()
                .collect())
        }
    }

    fn grid() -> (Grid, Arc<AtomicUsize>) {
        let runs = Arc::new(AtomicUsize::new(0));
        let signature = Signature::new(
            "grid",
            vec![TensorSpec::new("size", Element::I64, 1)],
            vec![TensorSpec::new("grid_size", Element::I64, 1).staying()],
        );
        let graph = CheckedGraph::new(signature, Arc::new(Echo(Arc::clone(&runs))));
        (Grid::new(graph), runs)
    }

    fn ask(grid: &Grid, size: Size) -> ArrayD<i64> {
        match grid.of(size).unwrap().get("grid_size").unwrap() {
            Tensor::Host(HostTensor::I64(numbers)) => numbers.clone(),
            tensor => panic!("{tensor:?}"),
        }
    }

    #[test]
    fn a_size_is_worked_out_once_and_the_last_few_are_kept() {
        let (grid, runs) = grid();
        let clone = grid.controlled(&Control::new());
        for _ in 0..3 {
            for width in 1..=KEPT {
                let expected = [2, 32, width as i64];
                let found = ask(&clone, [2, 32, width]);
                assert_eq!(found.as_slice().unwrap(), expected);
            }
        }
        assert_eq!(runs.load(Ordering::Relaxed), KEPT);
        ask(&grid, [2, 32, 1]);
        ask(&grid, [1, 32, 1]); // takes the place of width 2, asked for longest ago
        ask(&grid, [2, 32, 1]);
        assert_eq!(runs.load(Ordering::Relaxed), KEPT + 1);
        ask(&grid, [2, 32, 2]);
        assert_eq!(runs.load(Ordering::Relaxed), KEPT + 2);
    }

    #[test]
    fn a_run_that_was_stopped_leaves_nothing() {
        let (grid, runs) = grid();
        let control = Control::new();
        control.stop();
        assert!(grid.controlled(&control).of([1, 64, 64]).is_err());
        assert_eq!(ask(&grid, [1, 64, 64]).len(), 3);
        assert_eq!(runs.load(Ordering::Relaxed), 1);
    }
}
