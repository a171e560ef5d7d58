//! `DeformConv`, since opset 19.

use std::sync::Arc;

use ndarray::ArrayView4;
use ort::{
    operator::{ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput},
    value::DynTensorValueType,
};

use super::node::{Attributes, FLOAT, Run, refused};
use crate::instructions::Instructions;
use crate::kernels::{DeformConv, DeformConvInputs, DeformConvSpec, Threads, Workspace};

const NAME: &str = "DeformConv";

/// Its inputs, by their places.
const PIXELS: usize = 0;
const WEIGHTS: usize = 1;
const OFFSETS: usize = 2;
const BIAS: usize = 3;
const MASK: usize = 4;

pub(super) struct DeformConvOperator(pub(super) Arc<Workspace>);

impl Operator for DeformConvOperator {
    type Kernel<'node> = DeformConvKernel;

    fn name(&self) -> &str {
        NAME
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        let (required, optional) = (OperatorInput::required, OperatorInput::optional);
        [
            required(FLOAT),
            required(FLOAT),
            required(FLOAT),
            optional(FLOAT),
            optional(FLOAT),
        ]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(FLOAT)]
    }

    fn create_kernel<'node>(&self, node: &KernelContext<'node>) -> ort::Result<DeformConvKernel> {
        let mut kernel = DeformConvKernel {
            spec: spec(node)?,
            conv: None,
            workspace: Arc::clone(&self.0),
        };
        // Weights that are no constants come with each run.
        if let Ok(weights) = node.constant_input::<DynTensorValueType>(WEIGHTS) {
            let weights = weights.try_extract_array()?.into_dimensionality();
            let weights = weights.map_err(|error| refused(NAME, format!("weights: {error}")))?;
            let conv = kernel.with_weights(weights, Vec::new(), &Threads::NONE);
            kernel.conv = Some(conv.map_err(|error| refused(NAME, error))?);
        }
        Ok(kernel)
    }
}

fn spec(node: &KernelContext<'_>) -> ort::Result<DeformConvSpec> {
    let attributes = Attributes {
        operator: NAME,
        node,
    };
    let [top, left, ..] = attributes.numbers("pads", [0; 4])?;
    Ok(DeformConvSpec {
        strides: attributes.numbers("strides", [1; 2])?,
        pads: [top, left],
        dilations: attributes.numbers("dilations", [1; 2])?,
        groups: attributes.number("group", 1)?,
        offset_groups: attributes.number("offset_group", 1)?,
    })
}

pub(super) struct DeformConvKernel {
    spec: DeformConvSpec,
    conv: Option<DeformConv>,
    workspace: Arc<Workspace>,
}

impl DeformConvKernel {
    fn with_weights(
        &self,
        weights: ArrayView4<'_, f32>,
        memory: Vec<f32>,
        threads: &Threads<'_>,
    ) -> Result<DeformConv, String> {
        let spec = self.spec.clone();
        DeformConv::new(spec, weights, Instructions::detect(), memory, threads)
    }
}

impl Kernel for DeformConvKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let run = Run {
            operator: NAME,
            context,
        };
        let inputs = DeformConvInputs {
            pixels: run.required(PIXELS, "pixels")?,
            offsets: run.required(OFFSETS, "offsets")?,
            mask: run.optional(MASK, "mask")?,
            bias: run.optional(BIAS, "bias")?,
        };
        let of_this_run = match &self.conv {
            Some(_) => None,
            None => {
                let weights = run.required(WEIGHTS, "weights")?;
                let memory = self.workspace.weights.take();
                Some(run.with_threads(|threads| self.with_weights(weights, memory, threads))?)
            }
        };
        let conv = self.conv.as_ref().or(of_this_run.as_ref());
        let conv = conv.ok_or_else(|| refused(NAME, "weights: there are none"))?;
        run.fill(conv.shape(&inputs), |out, threads| {
            conv.run(&inputs, out, &self.workspace, threads)
        })?;
        if let Some(conv) = of_this_run {
            self.workspace.weights.put(conv.into_memory());
        }
        Ok(())
    }
}
