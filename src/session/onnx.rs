//! A graph that ONNX Runtime runs: loaded for a device, used by one call at a time.

use std::{
    ffi::{CStr, CString, c_char},
    ptr::{self, NonNull},
    sync::Arc,
};

use ort::{
    AsPointer, ep,
    memory::MemoryInfo,
    ortsys,
    session::{RunOptions, Session, builder::SessionBuilder},
};

use super::{
    binding,
    graph::Graph,
    operators,
    outputs::not_run,
    pool::Pool,
    recording::Recordings,
    signature::{Few, Signature, TensorSpec},
    tensor::{Input, Tensor, Tensors},
    value::{InputValue, OutputValue},
};
use crate::{
    control::{Control, Terminate},
    error::{Error, Result},
    files::ModelFile,
    runtime::{Arena, Device, Runtime, SessionOptions},
};

/// A graph that ONNX Runtime runs.
pub(super) struct OnnxGraph {
    signature: Arc<Signature>,
    /// The names of its inputs and outputs, as ONNX Runtime takes them.
    input_names: Vec<CString>,
    output_names: Vec<CString>,
    device: Device,
    /// What the memory of arrays is.
    host: MemoryInfo<'static>,
    /// The device's own memory, if it has some: there feature maps stay for the next graph.
    memory: Option<MemoryInfo<'static>>,
    /// Each is used by one call at a time: ort's `run` takes `&mut self` because ONNX Runtime's own is
    /// not safe to call from two threads.
    sessions: Pool<OpenSession>,
    runtime: Runtime,
}

/// A session, the options of its runs, and what is recorded of these if anything is.
struct OpenSession {
    session: Session,
    options: Arc<RunOptions>,
    recordings: Option<Recordings>,
}

impl OnnxGraph {
    pub(super) fn load(
        runtime: &Runtime,
        file: &ModelFile<'_>,
        signature: &Signature,
        options: &SessionOptions,
    ) -> Result<Self> {
        options.check()?;
        let device = options.device;
        let (mut fitted, mut sessions) = (signature.clone(), Vec::new());
        for _ in 0..options.sessions {
            let session = open(runtime, file, signature.graph, options)?;
            fitted = signature.fitted(&session.session)?;
            sessions.push(session);
        }
        let names = |specs: &[TensorSpec]| {
            let names = specs.iter().map(|spec| CString::new(&*spec.name));
            let names = names.collect::<std::result::Result<Vec<_>, _>>();
            names.map_err(|error| not_loaded(signature.graph, ort::Error::wrap(error)))
        };
        Ok(Self {
            input_names: names(&fitted.inputs)?,
            output_names: names(&fitted.outputs)?,
            device,
            host: MemoryInfo::default(),
            memory: binding::own_memory(device)
                .map_err(|source| not_loaded(signature.graph, source))?,
            sessions: Pool::new(sessions),
            runtime: runtime.clone(),
            signature: Arc::new(fitted),
        })
    }

    /// What it takes and gives, with the types that its file has.
    pub(super) fn signature(&self) -> Arc<Signature> {
        Arc::clone(&self.signature)
    }

    /// Runs a session whose inputs and outputs are in host memory.
    #[allow(unsafe_code)] // ort's own function allocates names, lists and values.
    fn run_on_host(
        &self,
        session: &mut Session,
        inputs: &[Input<'_>],
        options: &RunOptions,
    ) -> ort::Result<Tensors> {
        if inputs.len() != self.input_names.len() {
            return Err(ort::Error::new("there is not one input for each name"));
        }
        let values = inputs.iter().map(|input| input.to_value(&self.host));
        let values = values.collect::<ort::Result<Few<_>>>()?;
        let value_pointers: Few<_> = values.iter().map(InputValue::pointer).collect();
        let (input_names, output_names) =
            (pointers(&self.input_names), pointers(&self.output_names));
        let mut outputs: Few<_> = output_names.iter().map(|_| ptr::null_mut()).collect();
        // SAFETY: each list is as long as is said, and all that they point to lives through the call. What there is to write
        // to is null, so that ONNX Runtime makes the outputs. Nobody else runs the session, as it is borrowed mutably.
        ortsys![unsafe Run(
            session.ptr().cast_mut(),
            options.ptr(),
            input_names.as_ptr(),
            value_pointers.as_ptr(),
            value_pointers.len(),
            output_names.as_ptr(),
            output_names.len(),
            outputs.as_mut_ptr()
        )?];
        let outputs = outputs.into_iter().map(|output| {
            let output =
                NonNull::new(output).ok_or_else(|| ort::Error::new("there is no output"))?;
            // SAFETY: the run made it for the caller.
            unsafe { OutputValue::new(output) }.map(Tensor::Output)
        });
        // All of them, so that all are given back if one is no good.
        let outputs: Few<ort::Result<Tensor>> = outputs.collect();
        outputs.into_iter().collect()
    }
}

impl Terminate for RunOptions {
    fn terminate(&self) {
        if let Err(error) = RunOptions::terminate(self) {
            log::warn!("a run that was to be stopped goes on: {error}");
        }
    }
}

fn pointers(names: &[CString]) -> Few<*const c_char> {
    names.iter().map(|name| name.as_ptr()).collect()
}

fn not_loaded(graph: &str, source: ort::Error) -> Error {
    Error::GraphLoad {
        graph: graph.into(),
        source: source.into(),
    }
}

impl Graph for OnnxGraph {
    fn device(&self) -> Device {
        self.device
    }

    fn run(&self, inputs: &[Input<'_>], control: &Control) -> Result<Tensors> {
        let failed = |source| not_run(self.signature.graph, source);
        let mut taken = self.sessions.take(control)?;
        let OpenSession {
            session,
            options,
            recordings,
        } = &mut *taken;
        // Someone may have stopped the run before.
        options.unterminate().map_err(failed)?;
        let _running = control.watch(Arc::clone(options) as Arc<dyn Terminate>)?;
        let outputs = match (&self.memory, recordings) {
            (Some(memory), Some(recordings)) => {
                // What a GPU replays cannot be stopped on the way.
                let recording = self.runtime.recording();
                recordings.run(session, &self.signature, inputs, memory, recording)
            }
            (Some(memory), None) => {
                let _none_is_recorded = self.runtime.recording().read();
                let run = binding::run(session, &self.signature, inputs, memory, options);
                run.map_err(failed)
            }
            (None, _) => self.run_on_host(session, inputs, options).map_err(failed),
        };
        // A run that was told to end fails because of that.
        outputs.map_err(|error| control.check().err().unwrap_or(error))
    }
}

fn open(
    runtime: &Runtime,
    file: &ModelFile<'_>,
    graph: &str,
    options: &SessionOptions,
) -> Result<OpenSession> {
    let session = commit(runtime, file, graph, options)?;
    if options.device != Device::Cpu {
        check_device_is_used(&session, options.device, graph)?;
    }
    let recordings = match options.cuda.graphs {
        true => Some(Recordings::new(&session, graph)?),
        false => None,
    };
    Ok(OpenSession {
        session,
        options: Arc::new(run_options(options).map_err(|source| not_loaded(graph, source))?),
        recordings,
    })
}

/// The options of all runs of a session.
fn run_options(options: &SessionOptions) -> ort::Result<RunOptions> {
    let mut of_run = RunOptions::new()?;
    if options.cpu.arena == Arena::Shrunk {
        of_run.set(SHRINK.0, SHRINK.1)?;
    }
    Ok(of_run)
}

fn commit(
    runtime: &Runtime,
    file: &ModelFile<'_>,
    graph: &str,
    options: &SessionOptions,
) -> Result<Session> {
    let failed = |source: ort::Error| not_loaded(graph, source);
    let builder = Session::builder(runtime.environment()).map_err(failed)?;
    let mut builder = with_options(builder, options).map_err(failed)?;
    if options.cpu.arena == Arena::None {
        let without_arena = ep::CPU::default().with_arena_allocator(false).build();
        without_arena.register(&mut builder).map_err(failed)?;
    }
    for provider in options.execution_providers(graph)? {
        let refused = |source: ort::Error| Error::DeviceUnavailable {
            device: options.device.to_string(),
            graph: graph.into(),
            reason: "ONNX Runtime refuses it".into(),
            source: Some(source.into()),
        };
        provider.register(&mut builder).map_err(refused)?;
    }
    let _none_is_recorded = runtime.recording().read();
    let session = match file {
        ModelFile::Path(path) => builder.commit_from_file(path),
        ModelFile::Bytes(bytes) => builder.commit_from_memory(bytes),
    };
    session.map_err(|source| match options.cuda.graphs {
        // The words in which ONNX Runtime refuses graphs with control flow or nodes elsewhere.
        true if source.message().contains("graph capture") => Error::CudaGraph {
            graph: graph.into(),
            source: source.into(),
        },
        _ => failed(source),
    })
}

/// A builder of sessions with what is the same on every device.
fn with_options(builder: SessionBuilder, options: &SessionOptions) -> ort::Result<SessionBuilder> {
    let cpu = &options.cpu;
    let mut builder = builder
        .with_intra_threads(options.thread_count())?
        .with_intra_op_spinning(cpu.spinning)?
        .with_memory_pattern(cpu.memory_pattern)?
        .with_config_entry(RECORD_ASSIGNMENT, "1")?
        .with_config_entry(STOP_SPINNING, "1")?;
    if let Some(affinities) = cpu.affinities() {
        builder = builder.with_config_entry(AFFINITIES, affinities)?;
    }
    if options.device == Device::Cpu && cpu.native_kernels {
        for domain in operators::domains()? {
            builder = builder.with_operators(domain)?;
        }
    }
    Ok(builder)
}

/// The session option with a processor for each thread but the caller's.
const AFFINITIES: &str = "session.intra_op_thread_affinities";

/// The option of a run that gives unused memory back after it, and the arena of which.
const SHRINK: (&str, &str) = ("memory.enable_memory_arena_shrinkage", "cpu:0");

/// Stops a session's threads from waiting busily once its run is over: the next graph of the row
/// has threads of its own, which need the cores.
const STOP_SPINNING: &str = "session.force_spinning_stop";

/// The session option that lets ONNX Runtime remember which nodes run where.
const RECORD_ASSIGNMENT: &str = "session.record_ep_graph_assignment_info";

/// A provider that takes no node registers without complaint, and everything runs on the CPU.
fn check_device_is_used(session: &Session, device: Device, graph: &str) -> Result<()> {
    let unavailable = |reason: &str, source: Option<ort::Error>| Error::DeviceUnavailable {
        device: device.to_string(),
        graph: graph.into(),
        reason: reason.into(),
        source: source.map(Into::into),
    };
    match runs_nodes_on(session, device.provider_name()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(unavailable("it has none of the graph's operators", None)),
        Err(error) => {
            let reason = "ONNX Runtime does not say whether the graph uses it";
            Err(unavailable(reason, Some(error)))
        }
    }
}

#[allow(unsafe_code)] // ort has no safe function for this yet.
fn runs_nodes_on(session: &Session, provider: &str) -> ort::Result<bool> {
    let mut parts = ptr::null();
    let mut count = 0;
    // SAFETY: the session is alive, and both results are written before a successful return.
    ortsys![unsafe Session_GetEpGraphAssignmentInfo(session.ptr(), &mut parts, &mut count)?];
    for index in 0..count {
        let mut name = ptr::null();
        // SAFETY: ONNX Runtime just said that `parts` has `count` entries; they live as long as
        // the session.
        let part = unsafe { *parts.add(index) };
        // SAFETY: `part` is of the session, which is alive; the name is written before a successful return.
        ortsys![unsafe EpAssignedSubgraph_GetEpName(part, &mut name)?];
        // SAFETY: a successful call sets a name, which lives as long as the session.
        if unsafe { CStr::from_ptr(name) }.to_bytes() == provider.as_bytes() {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
pub(super) mod tests {
    use ndarray::{Array4, array, s};

    use super::*;
    use crate::session::{signature::TensorSpec, tensor::Element};

    /// A graph of the hand-made model, on the CPU.
    pub(in crate::session) fn load(graph: &'static str) -> Session {
        let runtime = Runtime::load().unwrap();
        commit(&runtime, &file(graph), graph, &SessionOptions::default()).unwrap()
    }

    fn file(graph: &str) -> ModelFile<'static> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/colour");
        ModelFile::Path(format!("{folder}/{graph}.onnx").into())
    }

    /// What the hand-made text encoder takes and gives.
    pub(in crate::session) fn text_encoder_signature() -> Signature {
        let tensors = |names: [&str; 2], element, rank| {
            names
                .map(|name| TensorSpec::new(name, element, rank))
                .into()
        };
        Signature::new(
            "text_encoder",
            tensors(["input_ids", "attention_mask"], Element::I64, 2),
            tensors(["hidden", "embedded"], Element::F32, 3),
        )
    }

    #[test]
    fn onnx_runtime_tells_which_device_runs_nodes() {
        let session = load("head");
        assert!(runs_nodes_on(&session, "CPUExecutionProvider").unwrap());
        assert!(!runs_nodes_on(&session, "CUDAExecutionProvider").unwrap());
    }

    #[test]
    fn a_device_that_runs_nothing_is_an_error() {
        let session = load("head");
        assert!(check_device_is_used(&session, Device::Cpu, "head").is_ok());
        let error = check_device_is_used(&session, Device::CoreMl, "head").unwrap_err();
        assert!(matches!(error, Error::DeviceUnavailable { .. }), "{error}");
        for part in ["coreml", "head", "allow_cpu_fallback"] {
            assert!(
                error.to_string().contains(part),
                "{part} is not in: {error}"
            );
        }
    }

    /// As a pyramid that someone keeps longer than the detector.
    #[test]
    fn outputs_outlive_their_session() {
        let signature = text_encoder_signature();
        let (runtime, file) = (Runtime::load().unwrap(), file("text_encoder"));
        let options = SessionOptions::default();
        let graph = OnnxGraph::load(&runtime, &file, &signature, &options).unwrap();
        let (ids, mask) = (array![[2_i64, 5, 3]], array![[1_i64, 1, 0]]);
        let inputs = [&ids, &mask].map(|array| Input::I64(array.view().into_dyn()));
        let outputs = graph.run(&inputs, &Control::default()).unwrap();
        drop((graph, runtime, ids, mask));
        let embedded = outputs[1].floats("embedded").unwrap();
        // The second token is "red"; the third is masked.
        let red = array![5.0, -5.0, -5.0, -10.0].into_dyn();
        assert_eq!(embedded.slice(s![0, 1, ..]).into_dyn(), red);
        assert_eq!(embedded.slice(s![0, 2, ..]).sum(), 0.0);
        let Tensor::Output(value) = &outputs[1] else {
            panic!("{outputs:?}");
        };
        assert_eq!(
            (value.shape(), embedded.shape()),
            (&[1, 3, 4][..], &[1, 3, 4][..])
        );
        let error = value.array::<i64>().unwrap_err().to_string();
        assert!(error.contains("f32"), "{error}");
    }

    #[test]
    fn inputs_must_be_all_there_and_lie_one_after_another() {
        let signature = text_encoder_signature();
        let runtime = Runtime::load().unwrap();
        let options = SessionOptions::default();
        let graph = OnnxGraph::load(&runtime, &file("text_encoder"), &signature, &options).unwrap();
        let ids = array![[2_i64, 5], [3, 3]];
        let turned = Input::I64(ids.t().into_dyn());
        let whole = Input::I64(ids.view().into_dyn());
        for (inputs, expected) in [
            (vec![whole.reborrow()], "one input for each name"),
            (vec![turned, whole.reborrow()], "one after another"),
        ] {
            let error = graph.run(&inputs, &Control::default()).unwrap_err();
            let source = std::error::Error::source(&error).unwrap().to_string();
            assert!(source.contains(expected), "{source}");
        }
    }

    /// The run itself is told to end, not only the next one.
    #[test]
    fn a_run_can_be_stopped() {
        let signature = Signature::new(
            "image_encoder",
            vec![TensorSpec::new("pixels", Element::F32, 4)],
            TensorSpec::feature_maps("pyramid", Element::F32, 5).collect(),
        );
        let runtime = Runtime::load().unwrap();
        let options = SessionOptions::default();
        let file = file("image_encoder");
        let graph = OnnxGraph::load(&runtime, &file, &signature, &options).unwrap();
        let pixels = Array4::zeros((1, 3, 64, 64)).into_dyn();
        let inputs = [Input::F32(pixels.view())];
        let session = graph.sessions.take(&Control::default()).unwrap();
        let control = Control::new();
        std::thread::scope(|scope| {
            let run = scope.spawn(|| graph.run(&inputs, &control).map(drop));
            control.stop();
            drop(session);
            assert!(matches!(run.join().unwrap(), Err(Error::Stopped)));
        });

        let options = Arc::new(RunOptions::new().unwrap());
        let control = Control::new();
        let running = control
            .watch(Arc::clone(&options) as Arc<dyn Terminate>)
            .unwrap();
        control.stop();
        let mut taken = graph.sessions.take(&Control::default()).unwrap();
        let run = graph.run_on_host(&mut taken.session, &inputs, &options);
        let message = run.unwrap_err().to_string();
        assert!(message.contains("terminate"), "{message}");
        drop(running);
        drop(taken);
        assert!(
            graph.run(&inputs, &Control::default()).is_ok(),
            "it can be asked again"
        );
    }
}
