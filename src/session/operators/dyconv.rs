//! `glip.DyConv` and `glip.Int8DyConv`, which exported graphs have as functions too.

use std::sync::Arc;

use ndarray::ArrayView3;
use ort::{
    operator::{ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput},
    value::TensorElementType,
};

use super::node::{BYTE, FLOAT, Run, WHOLE, Weights, constants, refused};
use crate::instructions::Instructions;
use crate::kernels::{
    ByteInstructions, CoefficientWeights, ConvolutionWeights, DyConv, DyConvWeights, FloatsOrBytes,
    Workspace,
};

/// The first inputs, by their places.
const POSITIONS: usize = 0;
const SIZES: usize = 1;
/// Weights follow, in the order in which the function takes them.
const WEIGHTS: usize = 2;

/// A layer whose convolutions have weights in floats, or in 8 bits.
pub(super) struct DyConvOperator {
    workspace: Arc<Workspace>,
    int8: bool,
}

impl DyConvOperator {
    /// One for each function.
    pub(super) fn all(workspace: &Arc<Workspace>) -> [Self; 2] {
        [false, true].map(|int8| Self {
            workspace: Arc::clone(workspace),
            int8,
        })
    }

    fn operator(&self) -> &'static str {
        match self.int8 {
            true => "Int8DyConv",
            false => "DyConv",
        }
    }

    /// Of the weights: of what gives offsets, of three convolutions, and of what surrounds them.
    fn weights(&self) -> Vec<TensorElementType> {
        let of_convolution: &[_] = match self.int8 {
            true => &[BYTE, FLOAT, FLOAT],
            false => &[FLOAT, FLOAT],
        };
        [&[FLOAT; 2][..], &of_convolution.repeat(3), &[FLOAT; 8]].concat()
    }

    fn convolution<'a>(
        &self,
        weights: &mut Weights<'a, '_>,
    ) -> ort::Result<ConvolutionWeights<'a>> {
        let numbers = match self.int8 {
            true => FloatsOrBytes::Bytes(weights.next()?, weights.next()?),
            false => FloatsOrBytes::Floats(weights.next()?),
        };
        Ok(ConvolutionWeights {
            weights: numbers,
            bias: weights.next()?,
        })
    }
}

impl Operator for DyConvOperator {
    type Kernel<'node> = DyConvKernel;

    fn name(&self) -> &str {
        self.operator()
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        let types = [vec![FLOAT, WHOLE], self.weights()].concat();
        types.into_iter().map(OperatorInput::required)
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(FLOAT)]
    }

    fn create_kernel<'node>(&self, node: &KernelContext<'node>) -> ort::Result<DyConvKernel> {
        let operator = self.operator();
        let places = WEIGHTS..WEIGHTS + self.weights().len();
        let values = constants(operator, node, places)?;
        let values = values.iter();
        let weights = &mut Weights { operator, values };
        let (fields, fields_bias) = (weights.next()?, weights.next()?);
        let own = self.convolution(weights)?;
        let coarser = self.convolution(weights)?;
        let finer = self.convolution(weights)?;
        let epsilon = node.get::<f32>("epsilon");
        let coefficients = CoefficientWeights {
            norm: weights.next()?,
            norm_bias: weights.next()?,
            epsilon: epsilon.ok_or_else(|| refused(operator, "epsilon: there is none"))?,
            attention: weights.next()?,
            attention_bias: weights.next()?,
            squeeze: weights.next()?,
            squeeze_bias: weights.next()?,
            excite: weights.next()?,
            excite_bias: weights.next()?,
        };
        let weights = DyConvWeights {
            fields,
            fields_bias,
            own,
            finer,
            coarser,
            coefficients,
        };
        let conv = DyConv::new(weights, Instructions::detect(), ByteInstructions::detect());
        Ok(DyConvKernel {
            operator,
            conv: conv.map_err(|error| refused(operator, error))?,
            workspace: Arc::clone(&self.workspace),
        })
    }
}

pub(super) struct DyConvKernel {
    operator: &'static str,
    conv: DyConv,
    workspace: Arc<Workspace>,
}

impl Kernel for DyConvKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let run = Run {
            operator: self.operator,
            context,
        };
        let positions: ArrayView3<'_, f32> = run.required(POSITIONS, "positions")?;
        let sizes = run.required(SIZES, "sizes")?;
        run.fill(positions.dim().into(), |out, threads| {
            self.conv
                .run(positions, sizes, out, &self.workspace, threads)
        })
    }
}
