//! `glip.SwinBlock` and its kin, which exported graphs have as functions too.

use std::sync::Arc;

use ort::{
    operator::{ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput},
    value::TensorElementType,
};

use super::node::{Attributes, BYTE, FLOAT, Run, WHOLE, Weights, constants, refused};
use crate::instructions::Instructions;
use crate::kernels::{
    ByteInstructions, LinearWeights, NormWeights, SwinBlock, SwinBlockInputs, SwinBlockSpec,
    SwinBlockWeights, Workspace,
};

/// Its inputs, by their places. Behind these is one that only the functions read, and then the weights.
const TOKENS: usize = 0;
const SIZE: usize = 1;
const FIRST_WEIGHT: usize = 3;

pub(super) struct SwinBlockOperator {
    name: &'static str,
    /// Whether weights of linear layers have 8 bits.
    in_bytes: bool,
    workspace: Arc<Workspace>,
}

impl SwinBlockOperator {
    /// One for each function. A shift is an attribute: the operators are the same with and without.
    pub(super) fn all(workspace: &Arc<Workspace>) -> [Self; 4] {
        let names = [
            ("SwinBlock", false),
            ("ShiftedSwinBlock", false),
            ("Int8SwinBlock", true),
            ("Int8ShiftedSwinBlock", true),
        ];
        names.map(|(name, in_bytes)| Self {
            name,
            in_bytes,
            workspace: Arc::clone(workspace),
        })
    }

    /// Of the weights, in the order in which the functions use them: both LayerNorms with weight and bias, and linear layers with
    /// weights, in 8 bits their scales, and all but keys and values with a bias.
    fn weights(&self) -> Vec<TensorElementType> {
        let weight: &[_] = match self.in_bytes {
            true => &[BYTE, FLOAT],
            false => &[FLOAT],
        };
        let (vector, pair) = (&[FLOAT][..], &[FLOAT, FLOAT][..]);
        let attention = [weight, vector, weight, weight, vector, weight, vector];
        let mlp = [weight, vector, weight, vector];
        [&[pair][..], &attention, &[pair], &mlp].concat().concat()
    }
}

impl Operator for SwinBlockOperator {
    type Kernel<'node> = SwinBlockKernel;

    fn name(&self) -> &str {
        self.name
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        let types = [vec![FLOAT, WHOLE, WHOLE], self.weights()].concat();
        types.into_iter().map(OperatorInput::required)
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(FLOAT)]
    }

    fn create_kernel<'node>(&self, node: &KernelContext<'node>) -> ort::Result<SwinBlockKernel> {
        let attributes = Attributes {
            operator: self.name,
            node,
        };
        let spec = SwinBlockSpec {
            shift: attributes.number("shift", 0)?,
            epsilon: node.get("epsilon").unwrap_or(1e-5),
        };
        let places = FIRST_WEIGHT..FIRST_WEIGHT + self.weights().len();
        let values = constants(self.name, node, places)?;
        let mut weights = BlockWeights {
            in_bytes: self.in_bytes,
            weights: Weights {
                operator: self.name,
                values: values.iter(),
            },
        };
        let block = SwinBlock::new(
            spec,
            &weights.of_block()?,
            Instructions::detect(),
            ByteInstructions::detect(),
        );
        Ok(SwinBlockKernel {
            operator: self.name,
            block: block.map_err(|error| refused(self.name, error))?,
            workspace: Arc::clone(&self.workspace),
        })
    }
}

/// The weights of a block, one after another.
struct BlockWeights<'a, 'node> {
    in_bytes: bool,
    weights: Weights<'a, 'node>,
}

impl<'a> BlockWeights<'a, '_> {
    fn of_block(&mut self) -> ort::Result<SwinBlockWeights<'a>> {
        // Fields are evaluated in this order, which is that of the weights.
        Ok(SwinBlockWeights {
            norm1: self.norm()?,
            query: self.linear()?,
            query_bias: self.weights.next()?,
            key: self.linear()?,
            value: self.linear()?,
            position_bias: self.weights.next()?,
            output: self.linear()?,
            output_bias: self.weights.next()?,
            norm2: self.norm()?,
            hidden: self.linear()?,
            hidden_bias: self.weights.next()?,
            last: self.linear()?,
            last_bias: self.weights.next()?,
        })
    }

    fn norm(&mut self) -> ort::Result<NormWeights<'a>> {
        Ok(NormWeights {
            weight: self.weights.next()?,
            bias: self.weights.next()?,
        })
    }

    fn linear(&mut self) -> ort::Result<LinearWeights<'a>> {
        Ok(match self.in_bytes {
            true => LinearWeights::Bytes(self.weights.next()?, self.weights.next()?),
            false => LinearWeights::Floats(self.weights.next()?),
        })
    }
}

pub(super) struct SwinBlockKernel {
    operator: &'static str,
    block: SwinBlock,
    workspace: Arc<Workspace>,
}

impl Kernel for SwinBlockKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let run = Run {
            operator: self.operator,
            context,
        };
        let inputs = SwinBlockInputs {
            tokens: run.required(TOKENS, "tokens")?,
            size: run.required(SIZE, "size")?,
        };
        run.fill(inputs.tokens.dim().into(), |out, threads| {
            self.block.run(&inputs, out, &self.workspace, threads)
        })
    }
}
