//! A graph in ONNX Runtime's hands: loaded for a device, locked while it runs.

use std::{
    ffi::CStr,
    ptr,
    sync::{
        Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicUsize, Ordering},
    },
};

use ort::{
    AsPointer,
    memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType},
    ortsys,
    session::{IoBinding, Session, SessionInputValue, SessionOutputs},
    value::TensorValueType,
};

use super::{
    checked::Graph,
    signature::Signature,
    tensor::{Input, Tensor},
};
use crate::{Device, Error, Result, Runtime, SessionOptions, bundle::BundleFile};

/// A graph that ONNX Runtime runs.
pub(super) struct OnnxGraph {
    signature: &'static Signature,
    device: Device,
    sessions: Sessions,
}

impl OnnxGraph {
    pub(super) fn load(
        runtime: &Runtime,
        file: &BundleFile,
        signature: &'static Signature,
        options: &SessionOptions,
    ) -> Result<Self> {
        if options.sessions == 0 {
            return Err(Error::InvalidOption {
                option: "sessions",
                found: "0".into(),
                expected: "at least 1",
            });
        }
        let load_on = |device| {
            let opening = (0..options.sessions)
                .map(|_| open(device, runtime, file, signature, options.threads));
            Ok(Self {
                signature,
                device,
                sessions: Sessions::new(opening.collect::<Result<_>>()?),
            })
        };
        match load_on(options.device) {
            Err(_) if options.cpu_fallback && options.device != Device::Cpu => load_on(Device::Cpu),
            result => result,
        }
    }

    fn run_values(&self, inputs: &[Input<'_>]) -> ort::Result<Vec<Tensor>> {
        let named = self.signature.inputs.iter().zip(inputs);
        let inputs = named
            .map(|(spec, input)| Ok((spec.name, input.to_value()?)))
            .collect::<ort::Result<Vec<_>>>()?;
        let mut session = self.sessions.lock();
        match own_memory(self.device)? {
            None => self.take(session.run(inputs)?),
            Some(memory) => {
                // A fresh binding per run: the values of an earlier run may still be in use.
                let binding = bind(&session, &inputs, self.signature, &memory)?;
                let outputs = session.run_binding(&binding)?;
                binding.synchronize_outputs()?;
                self.take(outputs)
            }
        }
    }

    fn take(&self, mut outputs: SessionOutputs<'_>) -> ort::Result<Vec<Tensor>> {
        let specs = self.signature.outputs.iter();
        let tensors = specs.map(|spec| {
            let missing = || ort::Error::new(format!("no output {}", spec.name));
            let value = outputs.remove(spec.name).ok_or_else(missing)?;
            Ok(Tensor::Runtime(value.downcast::<TensorValueType<f32>>()?))
        });
        tensors.collect()
    }
}

impl Graph for OnnxGraph {
    fn device(&self) -> Device {
        self.device
    }

    fn run(&self, inputs: &[Input<'_>]) -> Result<Vec<Tensor>> {
        self.run_values(inputs).map_err(|source| Error::GraphRun {
            graph: self.signature.graph.into(),
            source: source.into(),
        })
    }
}

/// Sessions of one graph, each used by one call at a time: ort's `run` takes `&mut self` because
/// ONNX Runtime's own is not safe to call from two threads.
struct Sessions {
    sessions: Vec<Mutex<Session>>,
    next: AtomicUsize,
}

impl Sessions {
    fn new(sessions: Vec<Session>) -> Self {
        Self {
            sessions: sessions.into_iter().map(Mutex::new).collect(),
            next: AtomicUsize::new(0),
        }
    }

    /// A session that is free or, if all are busy, the next in turn once it is.
    fn lock(&self) -> MutexGuard<'_, Session> {
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
    device: Device,
    runtime: &Runtime,
    file: &BundleFile,
    signature: &Signature,
    threads: usize,
) -> Result<Session> {
    let session = commit(device, runtime, file, threads, signature.graph)?;
    signature.check(&session)?;
    if device != Device::Cpu {
        check_device_is_used(&session, device, signature.graph)?;
    }
    Ok(session)
}

fn commit(
    device: Device,
    runtime: &Runtime,
    file: &BundleFile,
    threads: usize,
    graph: &str,
) -> Result<Session> {
    let not_loaded = |source: ort::Error| Error::GraphLoad {
        graph: graph.into(),
        source: source.into(),
    };
    let builder = Session::builder(runtime.environment()).map_err(not_loaded)?;
    let builder = builder.with_intra_threads(threads);
    let builder = builder.map_err(|error| not_loaded(error.into()))?;
    let builder = builder.with_config_entry(RECORD_ASSIGNMENT, "1");
    let mut builder = builder.map_err(|error| not_loaded(error.into()))?;
    for provider in device.execution_providers()? {
        let refused = |source: ort::Error| Error::DeviceUnavailable {
            device: device.to_string(),
            reason: "ONNX Runtime refuses it".into(),
            source: Some(source.into()),
        };
        provider.register(&mut builder).map_err(refused)?;
    }
    match file {
        BundleFile::Path(path) => builder.commit_from_file(path),
        BundleFile::Bytes(bytes) => builder.commit_from_memory(bytes),
    }
    .map_err(not_loaded)
}

/// The session option that lets ONNX Runtime remember which nodes run where.
const RECORD_ASSIGNMENT: &str = "session.record_ep_graph_assignment_info";

/// A provider that takes no node registers without complaint, and everything runs on the CPU.
fn check_device_is_used(session: &Session, device: Device, graph: &str) -> Result<()> {
    let unavailable = |reason: String, source: Option<ort::Error>| Error::DeviceUnavailable {
        device: device.to_string(),
        reason,
        source: source.map(Into::into),
    };
    let used = runs_nodes_on(session, device.provider_name()).map_err(|error| {
        let reason = format!("ONNX Runtime does not say whether graph {graph} uses it");
        unavailable(reason, Some(error))
    })?;
    if used {
        return Ok(());
    }
    Err(unavailable(
        format!("no node of graph {graph} can run on it"),
        None,
    ))
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

/// The memory in which outputs can stay for the next graph; `None` if that is the host's.
fn own_memory(device: Device) -> ort::Result<Option<MemoryInfo<'static>>> {
    match device {
        Device::Cuda(index) | Device::TensorRt(index) => MemoryInfo::new(
            AllocationDevice::CUDA,
            index as _,
            AllocatorType::Device,
            MemoryType::Default,
        )
        .map(Some),
        _ => Ok(None),
    }
}

fn bind(
    session: &Session,
    inputs: &[(&str, SessionInputValue<'_>)],
    signature: &Signature,
    device_memory: &MemoryInfo<'_>,
) -> ort::Result<IoBinding> {
    let host_memory = MemoryInfo::default();
    let mut binding = session.create_binding()?;
    for (name, value) in inputs {
        binding.bind_input(*name, value)?;
    }
    for spec in signature.outputs {
        let memory = if spec.stays_on_device {
            device_memory
        } else {
            &host_memory
        };
        binding.bind_output_to_device(spec.name, memory)?;
    }
    Ok(binding)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/colour");
        let file = BundleFile::Path(format!("{folder}/head.onnx").into());
        let runtime = Runtime::load().unwrap();
        commit(Device::Cpu, &runtime, &file, 1, "head").unwrap()
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
        let sessions = Sessions::new(vec![session()]);
        let panicked = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let _locked = sessions.lock();
                panic!("while locked");
            });
            thread.join().is_err()
        });
        assert!(panicked);

        assert_eq!(sessions.lock().outputs().len(), 3);
    }
}
