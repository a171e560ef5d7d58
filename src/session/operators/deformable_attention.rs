//! `glip.DeformableAttention`, which exported graphs have as a function too.

use std::sync::Arc;

use ort::operator::{
    ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput,
};

use super::node::{FLOAT, Run, WHOLE};
use crate::instructions::Instructions;
use crate::kernels::{DeformableAttention, DeformableAttentionInputs, Workspace};

const NAME: &str = "DeformableAttention";

/// Its inputs, by their places.
const VALUES: usize = 0;
const SIZES: usize = 1;
const PLACES: usize = 2;
const SHARES: usize = 3;

pub(super) struct DeformableAttentionOperator(pub(super) Arc<Workspace>);

impl Operator for DeformableAttentionOperator {
    type Kernel<'node> = DeformableAttentionKernel;

    fn name(&self) -> &str {
        NAME
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [FLOAT, WHOLE, FLOAT, FLOAT].map(OperatorInput::required)
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(FLOAT)]
    }

    fn create_kernel<'node>(
        &self,
        _node: &KernelContext<'node>,
    ) -> ort::Result<DeformableAttentionKernel> {
        Ok(DeformableAttentionKernel {
            attention: DeformableAttention::new(Instructions::detect()),
            workspace: Arc::clone(&self.0),
        })
    }
}

pub(super) struct DeformableAttentionKernel {
    attention: DeformableAttention,
    workspace: Arc<Workspace>,
}

impl Kernel for DeformableAttentionKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let run = Run {
            operator: NAME,
            context,
        };
        let inputs = DeformableAttentionInputs {
            values: run.required(VALUES, "values")?,
            sizes: run.required(SIZES, "sizes")?,
            places: run.required(PLACES, "places")?,
            shares: run.required(SHARES, "shares")?,
        };
        run.fill(inputs.shape(), |out, threads| {
            self.attention.run(&inputs, out, &self.workspace, threads)
        })
    }
}
