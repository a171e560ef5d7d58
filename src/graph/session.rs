//! A graph in ONNX Runtime's hands: loaded for a device, locked while it runs.

use std::{
    ffi::CStr,
    ptr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicUsize, Ordering},
    },
};

use ort::{
    AsPointer,
    memory::MemoryInfo,
    ortsys,
    session::{Session, SessionOutputs},
    value::{DynValue, TensorValueType},
};

use super::{
    binding,
    checked::Graph,
    recording::Recordings,
    signature::{Signature, TensorSpec},
    tensor::{Input, Tensor},
};
use crate::{Device, Error, Result, Runtime, SessionOptions, bundle::BundleFile};

/// A graph that ONNX Runtime runs.
pub(super) struct OnnxGraph {
    signature: Arc<Signature>,
    device: Device,
    /// The device's own memory, if it has some: there feature maps stay for the next graph.
    memory: Option<MemoryInfo<'static>>,
    sessions: Sessions,
    runtime: Runtime,
}

impl OnnxGraph {
    pub(super) fn load(
        runtime: &Runtime,
        file: &BundleFile,
        signature: Arc<Signature>,
        options: &SessionOptions,
    ) -> Result<Self> {
        options.check()?;
        let device = options.device;
        let opening = (0..options.sessions).map(|_| open(runtime, file, &signature, options));
        Ok(Self {
            device,
            memory: binding::own_memory(device)
                .map_err(|source| not_loaded(signature.graph, source))?,
            sessions: Sessions::new(opening.collect::<Result<_>>()?),
            runtime: runtime.clone(),
            signature,
        })
    }

    fn run_on_host(&self, session: &mut Session, inputs: &[Input<'_>]) -> ort::Result<Vec<Tensor>> {
        let named = self.signature.inputs.iter().zip(inputs);
        let inputs = named
            .map(|(spec, input)| Ok((&*spec.name, input.to_value()?)))
            .collect::<ort::Result<Vec<_>>>()?;
        take(&self.signature, session.run(inputs)?, |_, value| Ok(value))
    }
}

/// A graph's outputs in the order of its signature, each kept as `keep` wants it.
pub(super) fn take(
    signature: &Signature,
    mut outputs: SessionOutputs<'_>,
    keep: impl Fn(&TensorSpec, ort::value::Tensor<f32>) -> ort::Result<ort::value::Tensor<f32>>,
) -> ort::Result<Vec<Tensor>> {
    let tensors = signature.outputs.iter().map(|spec| {
        let missing = || ort::Error::new(format!("no output {}", spec.name));
        let value: DynValue = outputs.remove(&spec.name).ok_or_else(missing)?;
        let value = value.downcast::<TensorValueType<f32>>()?;
        Ok(Tensor::Runtime(keep(spec, value)?))
    });
    tensors.collect()
}

pub(super) fn not_run(graph: &str, source: ort::Error) -> Error {
    Error::GraphRun {
        graph: graph.into(),
        source: source.into(),
    }
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

    fn run(&self, inputs: &[Input<'_>]) -> Result<Vec<Tensor>> {
        let mut locked = self.sessions.lock();
        let OpenSession {
            session,
            recordings,
        } = &mut *locked;
        let outputs = match (&self.memory, recordings) {
            (Some(memory), Some(recordings)) => {
                let recording = self.runtime.recording();
                return recordings.run(session, &self.signature, inputs, memory, recording);
            }
            (Some(memory), None) => {
                let _none_is_recorded = self.runtime.recording().read();
                binding::run(session, &self.signature, inputs, memory)
            }
            (None, _) => self.run_on_host(session, inputs),
        };
        outputs.map_err(|source| not_run(self.signature.graph, source))
    }
}

/// A session, and what is recorded of its runs if anything is.
struct OpenSession {
    session: Session,
    recordings: Option<Recordings>,
}

/// Sessions of one graph, each used by one call at a time: ort's `run` takes `&mut self` because
/// ONNX Runtime's own is not safe to call from two threads.
struct Sessions {
    sessions: Vec<Mutex<OpenSession>>,
    next: AtomicUsize,
}

impl Sessions {
    fn new(sessions: Vec<OpenSession>) -> Self {
        Self {
            sessions: sessions.into_iter().map(Mutex::new).collect(),
            next: AtomicUsize::new(0),
        }
    }

    /// A session that is free or, if all are busy, the next in turn once it is.
    fn lock(&self) -> MutexGuard<'_, OpenSession> {
        for session in &self.sessions {
            match session.try_lock() {
                Ok(session) => return session,
                // A session has no state that a panic elsewhere could have left half-written.
                Err(TryLockError::Poisoned(error)) => return error.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.sessions.len();
        let session = self.sessions[turn].lock();
        session.unwrap_or_else(PoisonError::into_inner)
    }
}

fn open(
    runtime: &Runtime,
    file: &BundleFile,
    signature: &Signature,
    options: &SessionOptions,
) -> Result<OpenSession> {
    let graph = signature.graph;
    let session = commit(runtime, file, graph, options)?;
    signature.check(&session)?;
    if options.device != Device::Cpu {
        check_device_is_used(&session, options.device, graph)?;
    }
    let recordings = match options.cuda.graphs {
        true => Some(Recordings::new(&session, graph)?),
        false => None,
    };
    Ok(OpenSession {
        session,
        recordings,
    })
}

fn commit(
    runtime: &Runtime,
    file: &BundleFile,
    graph: &str,
    options: &SessionOptions,
) -> Result<Session> {
    let failed = |source: ort::Error| not_loaded(graph, source);
    let builder = Session::builder(runtime.environment()).map_err(failed)?;
    let builder = builder.with_intra_threads(options.threads);
    let builder = builder.map_err(|error| failed(error.into()))?;
    let builder = builder.with_config_entry(RECORD_ASSIGNMENT, "1");
    let builder = builder.map_err(|error| failed(error.into()))?;
    let builder = builder.with_config_entry(STOP_SPINNING, "1");
    let mut builder = builder.map_err(|error| failed(error.into()))?;
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
        BundleFile::Path(path) => builder.commit_from_file(path),
        BundleFile::Bytes(bytes) => builder.commit_from_memory(bytes),
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
    ortsys![unsafe Session_GetEpGraphAssignmentInfo(session.ptr(), &mut parts, &mut count)?];
    for index in 0..count {
        let mut name = ptr::null();
        // SAFETY: ONNX Runtime just said that `parts` has `count` entries; they live as long as
        // the session.
        let part = unsafe { *parts.add(index) };
        ortsys![unsafe EpAssignedSubgraph_GetEpName(part, &mut name)?];
        // SAFETY: a successful call sets a name, which lives as long as the session.
        if unsafe { CStr::from_ptr(name) }.to_bytes() == provider.as_bytes() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A graph of the hand-made model, on the CPU.
#[cfg(test)]
pub(super) fn load(graph: &'static str) -> Session {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/colour");
    let file = BundleFile::Path(format!("{folder}/{graph}.onnx").into());
    let runtime = Runtime::load().unwrap();
    commit(&runtime, &file, graph, &SessionOptions::default()).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        load("head")
    }

    #[test]
    fn onnx_runtime_tells_which_device_runs_nodes() {
        let session = session();

        assert!(runs_nodes_on(&session, "CPUExecutionProvider").unwrap());
        assert!(!runs_nodes_on(&session, "CUDAExecutionProvider").unwrap());
    }

    #[test]
    fn a_device_that_runs_nothing_is_an_error() {
        let session = session();

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

    #[test]
    fn a_session_survives_a_panic_while_it_is_locked() {
        let session = OpenSession {
            session: session(),
            recordings: None,
        };
        let sessions = Sessions::new(vec![session]);
        let panicked = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let _locked = sessions.lock();
                panic!("while locked");
            });
            thread.join().is_err()
        });
        assert!(panicked);

        assert_eq!(sessions.lock().session.outputs().len(), 3);
    }
}
