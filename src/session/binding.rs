//! Runs on a device with memory of its own: inputs and outputs are bound to where they are to be,
//! so that feature maps do not travel to the host and back between graphs.

use std::ffi::CString;

use ort::{
    AsPointer,
    memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType},
    ortsys,
    session::{IoBinding, RunOptions, Session},
};

use super::{
    outputs::take,
    signature::Signature,
    tensor::{Input, Tensors},
    value::InputValue,
};
use crate::runtime::Device;

/// The memory in which outputs can stay for the next graph; `None` if that is the host's.
pub(super) fn own_memory(device: Device) -> ort::Result<Option<MemoryInfo<'static>>> {
    let (Device::Cuda(index) | Device::TensorRt(index)) = device else {
        return Ok(None);
    };
    MemoryInfo::new(
        AllocationDevice::CUDA,
        index as _,
        AllocatorType::Device,
        MemoryType::Default,
    )
    .map(Some)
}

/// Runs a session, leaving in `memory` what stays on the device.
///
/// When a run returns, ONNX Runtime has waited for its stream, so that the next session may read
/// the outputs on a stream of its own. (`IoBinding::synchronize_outputs` would wait for the whole
/// device, other threads' runs included.)
pub(super) fn run(
    session: &mut Session,
    signature: &Signature,
    inputs: &[Input<'_>],
    memory: &MemoryInfo<'_>,
    options: &RunOptions,
) -> ort::Result<Tensors> {
    let host = MemoryInfo::default();
    let inputs = inputs.iter().map(|input| input.to_value(&host));
    let inputs = inputs.collect::<ort::Result<Vec<_>>>()?;
    // A fresh binding per run: the values of an earlier run may still be in use.
    let mut binding = session.create_binding()?;
    for (spec, input) in signature.inputs.iter().zip(&inputs) {
        bind_input(&mut binding, &spec.name, input)?;
    }
    for spec in &signature.outputs {
        let memory = if spec.stays { memory } else { &host };
        binding.bind_output_to_device(&spec.name, memory)?;
    }
    let outputs = session.run_binding_with_options(&binding, options)?;
    take(signature, outputs, |_, value| Ok(value))
}

/// Binds a value that outlives the binding's runs, without a copy if it is where the session wants
/// it; what is elsewhere has been copied there when this returns.
///
/// ort's own `bind_input` first copies values that borrow their data, and where a session wants
/// those on the host, that copy waits for itself forever (2.0.0-rc.15).
#[allow(unsafe_code)]
fn bind_input(binding: &mut IoBinding, name: &str, value: &InputValue<'_>) -> ort::Result<()> {
    let name = CString::new(name).map_err(|error| ort::Error::new(error.to_string()))?;
    // SAFETY: all three live through the call. ONNX Runtime copies the name and refers to the value,
    // whose memory outlives the binding's runs, as is said above.
    ortsys![unsafe BindInput(binding.ptr_mut(), name.as_ptr(), value.pointer())?];
    Ok(())
}

#[cfg(test)]
mod tests {
    use ndarray::{array, s};

    use super::*;
    use crate::session::onnx::tests::{load, text_encoder_signature};

    /// On a CPU, where everything is in the memory that the session wants it in.
    #[test]
    fn bound_inputs_on_the_host_are_read_where_they_are() {
        let mut session = load("text_encoder");
        let (host, options) = (MemoryInfo::default(), RunOptions::new().unwrap());
        let (ids, mask) = (
            array![[2_i64, 5, 3]].into_dyn(),
            array![[1_i64, 1, 0]].into_dyn(),
        );
        let inputs = [Input::I64(ids.view()), Input::I64(mask.view())];
        let outputs = run(
            &mut session,
            &text_encoder_signature(),
            &inputs,
            &host,
            &options,
        )
        .unwrap();
        let [hidden, embedded] = [0, 1].map(|i| outputs[i].floats("output").unwrap());
        assert_eq!(hidden.shape(), [1, 3, 4]);
        // The second token is "red"; the third is masked.
        let red = array![5.0, -5.0, -5.0, -10.0].into_dyn();
        assert_eq!(embedded.slice(s![0, 1, ..]).into_dyn(), red);
        assert_eq!(embedded.slice(s![0, 2, ..]).sum(), 0.0);
    }
}
