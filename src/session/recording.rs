//! CUDA graphs: the work of a run recorded once for each size of input, and replayed.
//!
//! A replay reads and writes the memory that was recorded, and nothing else: inputs are copied into
//! buffers that stay where they are, and outputs out of such buffers, since the next replay writes
//! over them. The copies stay on the device and are small beside what launching the kernels one by
//! one costs.

use std::{
    collections::HashSet,
    ffi::CStr,
    ptr,
    sync::RwLock,
    thread::{self, ThreadId},
};

use half::f16;
use ndarray::ArrayViewD;
use ort::{
    AsPointer,
    memory::{AllocationDevice, Allocator, MemoryInfo},
    ortsys,
    session::{IoBinding, RunOptions, Session},
    value::{DynTensor, PrimitiveTensorElementType},
};

use super::{
    outputs::{not_run, take},
    signature::Signature,
    tensor::{Element, Input, Tensor, Tensors},
    value::Shape,
};
use crate::error::{Error, Result};

/// What is recorded of a session, by the shapes of its inputs.
#[derive(Default)]
pub(super) struct Recordings(Vec<Recording>);

/// The buffers of one size of input, and who has recorded a run on them.
struct Recording {
    shapes: Vec<Shape>,
    inputs: Vec<Buffer>,
    binding: IoBinding,
    options: RunOptions,
    /// ONNX Runtime records for every thread anew.
    threads: HashSet<ThreadId>,
}

impl Recordings {
    /// Nothing is recorded yet, but that it can be is known.
    pub(super) fn new(session: &Session, graph: &str) -> Result<Self> {
        let cannot = |source: ort::Error| not_recorded(graph, source);
        match first_elsewhere(session, &AllocationDevice::CUDA).map_err(cannot)? {
            None => Ok(Self::default()),
            Some(tensor) => {
                let reason = format!("{tensor} is not in the memory of the GPU");
                Err(cannot(ort::Error::new(reason)))
            }
        }
    }

    /// Runs a session on buffers in `memory`; `lock` is held alone while a run is recorded.
    pub(super) fn run(
        &mut self,
        session: &mut Session,
        signature: &Signature,
        inputs: &[Input<'_>],
        memory: &MemoryInfo<'_>,
        lock: &RwLock<()>,
    ) -> Result<Tensors> {
        let shapes: Vec<_> = inputs.iter().map(Input::shape).collect();
        let thread = thread::current().id();
        let known = self.0.iter().position(|known| known.shapes == shapes);
        if let Some(index) = known.filter(|&index| self.0[index].threads.contains(&thread)) {
            let _none_is_recorded = lock.read();
            let outputs = self.0[index].run(session, signature, inputs, memory);
            return outputs.map_err(|source| not_run(signature.graph, source));
        }
        let _alone = lock.write();
        let cannot = |source| not_recorded(signature.graph, source);
        let index = match known {
            Some(index) => index,
            None => {
                let number = self.0.len() + 1; // ONNX Runtime keeps 0 for itself
                let recording = Recording::new(session, signature, inputs, shapes, memory, number);
                self.0.push(recording.map_err(cannot)?);
                self.0.len() - 1
            }
        };
        let recording = &mut self.0[index];
        let outputs = recording.run(session, signature, inputs, memory);
        let outputs = outputs.map_err(cannot)?;
        recording.threads.insert(thread);
        Ok(outputs)
    }
}

impl Recording {
    fn new(
        session: &Session,
        signature: &Signature,
        inputs: &[Input<'_>],
        shapes: Vec<Shape>,
        memory: &MemoryInfo<'_>,
        number: usize,
    ) -> ort::Result<Self> {
        let allocator = Allocator::new(session, memory.clone())?;
        let buffers = inputs.iter().map(|input| Buffer::new(input, &allocator));
        let mut buffers = buffers.collect::<ort::Result<Vec<_>>>()?;
        for ((spec, buffer), input) in signature.inputs.iter().zip(&mut buffers).zip(inputs) {
            if spec.follows_from_sizes() {
                buffer.fill(input)?;
            }
        }
        let mut binding = session.create_binding()?;
        for (spec, buffer) in signature.inputs.iter().zip(&buffers) {
            binding.bind_input(&spec.name, &buffer.bound)?;
        }
        for spec in &signature.outputs {
            // Allocated by the first run, kept by the binding.
            binding.bind_output_to_device(&spec.name, memory)?;
        }
        let mut options = RunOptions::new()?;
        options.set("gpu_graph_id", number.to_string())?;
        Ok(Self {
            shapes,
            inputs: buffers,
            binding,
            options,
            threads: HashSet::new(),
        })
    }

    /// The first run of a thread runs twice, records and replays, all in this one call.
    fn run(
        &mut self,
        session: &mut Session,
        signature: &Signature,
        inputs: &[Input<'_>],
        memory: &MemoryInfo<'_>,
    ) -> ort::Result<Tensors> {
        let buffers = signature.inputs.iter().zip(&mut self.inputs).zip(inputs);
        for ((_, buffer), input) in buffers.filter(|((spec, _), _)| !spec.follows_from_sizes()) {
            buffer.fill(input)?;
        }
        let outputs = session.run_binding_with_options(&self.binding, &self.options)?;
        take(signature, outputs, |spec, value| match spec.stays {
            true => value.to(memory.allocation_device(), memory.device_id()),
            false => value.to(AllocationDevice::CPU, 0),
        })
    }
}

/// An input at its fixed place, and on the host the place that it comes from once it did.
///
/// Not in pinned memory, from which copies are faster: while it was, recordings gave wrong numbers on a GPU. A copy from there
/// may still be under way when a replay, on a stream of its own, begins to read.
struct Buffer {
    bound: DynTensor,
    host: Option<DynTensor>,
}

impl Buffer {
    fn new(input: &Input<'_>, allocator: &Allocator) -> ort::Result<Self> {
        let bound = match input.element() {
            Some(Element::I64) => empty::<i64>(allocator, &input.shape()),
            Some(Element::Bool) => empty::<bool>(allocator, &input.shape()),
            Some(Element::F16) => empty::<f16>(allocator, &input.shape()),
            // No signature has any other.
            Some(Element::F32) | None => empty::<f32>(allocator, &input.shape()),
        };
        Ok(Self {
            bound: bound?,
            host: None,
        })
    }

    fn fill(&mut self, input: &Input<'_>) -> ort::Result<()> {
        match input {
            Input::F32(array) => self.upload(array.view()),
            Input::F16(array) => self.upload(array.view()),
            Input::I64(array) => self.upload(array.view()),
            Input::Bool(array) => self.upload(array.view()),
            Input::Made(Tensor::Bound(value)) => value.copy_into(&mut self.bound),
            Input::Made(Tensor::Output(value)) => self.fill(&Input::of_output(value)?),
            Input::Made(Tensor::Host(tensor)) => self.fill(&tensor.as_input()),
        }
    }

    /// By way of a tensor that owns its numbers: ort cannot copy one that borrows them (see
    /// [`binding`](super::binding)).
    fn upload<T>(&mut self, array: ArrayViewD<'_, T>) -> ort::Result<()>
    where
        T: PrimitiveTensorElementType + Clone + std::fmt::Debug,
    {
        let host = match &mut self.host {
            Some(host) => host,
            None => self
                .host
                .insert(empty::<T>(&Allocator::default(), array.shape())?),
        };
        host.try_extract_array_mut()?.assign(&array);
        host.copy_into(&mut self.bound)
    }
}

fn empty<T>(allocator: &Allocator, shape: &[usize]) -> ort::Result<DynTensor>
where
    T: PrimitiveTensorElementType + std::fmt::Debug,
{
    Ok(ort::value::Tensor::<T>::new(allocator, shape)?.upcast())
}

fn not_recorded(graph: &str, source: ort::Error) -> Error {
    Error::CudaGraph {
        graph: graph.into(),
        source: source.into(),
    }
}

/// The first input or output that the session reads or leaves on another device: ONNX Runtime would
/// copy it at every run, which a replay leaves out.
#[allow(unsafe_code)] // ort does not show where a session wants its inputs.
fn first_elsewhere(
    session: &Session,
    device: &AllocationDevice<'_>,
) -> ort::Result<Option<String>> {
    let (inputs, outputs) = (session.inputs(), session.outputs());
    let mut places = vec![ptr::null(); inputs.len() + outputs.len()];
    let (of_inputs, of_outputs) = places.split_at_mut(inputs.len());
    // SAFETY: the session is alive, and each list has a place for each of its tensors.
    ortsys![unsafe SessionGetMemoryInfoForInputs(session.ptr(), of_inputs.as_mut_ptr(), of_inputs.len())?];
    ortsys![unsafe SessionGetMemoryInfoForOutputs(session.ptr(), of_outputs.as_mut_ptr(), of_outputs.len())?];
    for (tensor, place) in inputs.iter().chain(outputs).zip(places) {
        let mut name = ptr::null();
        // SAFETY: a successful call above set `place`, which lives as long as the session.
        ortsys![unsafe MemoryInfoGetName(place, &mut name)?];
        // SAFETY: a successful call sets a name, which lives as long as the session.
        let name = unsafe { CStr::from_ptr(name) };
        if name.to_bytes() != device.as_str().as_bytes() {
            return Ok(Some(tensor.name().to_owned()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;
    use crate::session::onnx::tests::{load, text_encoder_signature};

    /// Recording itself takes a GPU; the buffers are the same on a CPU.
    fn run(recordings: &mut Recordings, session: &mut Session, ids: &Array2<i64>) -> Tensors {
        let mask = Array2::<i64>::ones(ids.dim());
        let inputs = [ids, &mask].map(|array| Input::I64(array.view().into_dyn()));
        let (signature, host) = (&text_encoder_signature(), MemoryInfo::default());
        recordings
            .run(session, signature, &inputs, &host, &RwLock::default())
            .unwrap()
    }

    fn first_feature(outputs: &[Tensor]) -> Vec<f32> {
        let hidden = outputs[0].floats("hidden").unwrap();
        hidden.rows().into_iter().map(|row| row[0]).collect()
    }

    #[test]
    fn outputs_are_of_their_own_inputs_and_stay_so() {
        let mut session = load("text_encoder");
        let mut recordings = Recordings::default();

        let red = run(&mut recordings, &mut session, &array![[5, 6]]);
        let blue = run(&mut recordings, &mut session, &array![[7, 5]]);
        let longer = run(&mut recordings, &mut session, &array![[5, 5, 7]]);
        let again = run(&mut recordings, &mut session, &array![[6, 6]]);

        assert_eq!(first_feature(&red), [5.0, -5.0]);
        assert_eq!(first_feature(&blue), [-5.0, 5.0]);
        assert_eq!(first_feature(&longer), [5.0, 5.0, -5.0]);
        assert_eq!(first_feature(&again), [-5.0, -5.0]);
        assert_eq!(recordings.0.len(), 2, "one for each size");
    }

    #[test]
    fn a_thread_that_has_not_recorded_a_size_does_so_alone() {
        let mut session = load("text_encoder");
        let mut recordings = Recordings::default();
        run(&mut recordings, &mut session, &array![[5, 6]]);
        run(&mut recordings, &mut session, &array![[6, 5]]);
        assert_eq!(recordings.0[0].threads.len(), 1);

        thread::scope(|scope| {
            let other = scope.spawn(|| run(&mut recordings, &mut session, &array![[7, 5]]));
            assert_eq!(first_feature(&other.join().unwrap()), [-5.0, 5.0]);
        });

        assert_eq!(recordings.0.len(), 1);
        assert_eq!(recordings.0[0].threads.len(), 2);
    }

    #[test]
    fn a_tensor_on_another_device_is_named() {
        let session = load("text_encoder");

        let none = first_elsewhere(&session, &AllocationDevice::CPU).unwrap();
        assert_eq!(none, None);
        let error = Recordings::new(&session, "text_encoder").err().unwrap();

        assert!(matches!(error, Error::CudaGraph { .. }), "{error}");
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("input_ids"), "{source}");
    }
}
