//! `glip.Int8DeformConv`, which exported graphs have as a function too.

use std::sync::Arc;

use ort::{
    operator::{ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput},
    value::DynTensorValueType,
};

use super::node::{Attributes, BYTE, FLOAT, Run, refused};
use crate::kernels::{
    ByteInstructions, DeformConv, DeformConvInputs, DeformConvSpec, Instructions, Workspace,
};

const NAME: &str = "Int8DeformConv";

/// Its inputs, by their places.
const PIXELS: usize = 0;
const WEIGHTS: usize = 1;
const SCALES: usize = 2;
const OFFSETS: usize = 3;
const BIAS: usize = 4;
const MASK: usize = 5;

pub(super) struct Int8DeformConvOperator {
    pub(super) workspace: Arc<Workspace>,
    pub(super) instructions: ByteInstructions,
}

impl Operator for Int8DeformConvOperator {
    type Kernel<'node> = Int8DeformConvKernel;

    fn name(&self) -> &str {
        NAME
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [FLOAT, BYTE, FLOAT, FLOAT, FLOAT, FLOAT].map(OperatorInput::required)
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(FLOAT)]
    }

    fn create_kernel<'node>(
        &self,
        node: &KernelContext<'node>,
    ) -> ort::Result<Int8DeformConvKernel> {
        let attributes = Attributes {
            operator: NAME,
            node,
        };
        let spec = DeformConvSpec {
            strides: attributes.numbers("strides", [1; 2])?,
            pads: [1; 2],
            dilations: [1; 2],
            groups: 1,
            offset_groups: 1,
        };
        let not_so = |error| refused(NAME, format!("weights: {error}"));
        let weights = node.constant_input::<DynTensorValueType>(WEIGHTS)?;
        let weights = weights.try_extract_array()?.into_dimensionality();
        let scales = node.constant_input::<DynTensorValueType>(SCALES)?;
        let scales = scales.try_extract_array()?.into_dimensionality();
        let conv = DeformConv::in_bytes(
            spec,
            [3, 3],
            weights.map_err(not_so)?,
            scales.map_err(not_so)?,
            Instructions::detect(),
            self.instructions,
        );
        Ok(Int8DeformConvKernel {
            conv: conv.map_err(|error| refused(NAME, error))?,
            workspace: Arc::clone(&self.workspace),
        })
    }
}

pub(super) struct Int8DeformConvKernel {
    conv: DeformConv,
    workspace: Arc<Workspace>,
}

impl Kernel for Int8DeformConvKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let run = Run {
            operator: NAME,
            context,
        };
        let inputs = DeformConvInputs {
            pixels: run.required(PIXELS, "pixels")?,
            offsets: run.required(OFFSETS, "offsets")?,
            mask: Some(run.required(MASK, "mask")?),
            bias: Some(run.required(BIAS, "bias")?),
        };
        run.fill(self.conv.shape(&inputs), |out, threads| {
            self.conv.run(&inputs, out, &self.workspace, threads)
        })
    }
}
