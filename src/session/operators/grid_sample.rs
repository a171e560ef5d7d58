//! `GridSample` of images, since opset 16.

use std::sync::Arc;

use ort::operator::{
    ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput,
};

use super::node::{Attributes, FLOAT, Run};
use crate::kernels::{GridSample, Instructions, Interpolation, Padding, Workspace};

const NAME: &str = "GridSample";

/// Its inputs, by their places.
const IMAGES: usize = 0;
const GRID: usize = 1;

pub(super) struct GridSampleOperator(pub(super) Arc<Workspace>);

impl Operator for GridSampleOperator {
    type Kernel<'node> = GridSampleKernel;

    fn name(&self) -> &str {
        NAME
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [
            OperatorInput::required(FLOAT),
            OperatorInput::required(FLOAT),
        ]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(FLOAT)]
    }

    fn create_kernel<'node>(&self, node: &KernelContext<'node>) -> ort::Result<GridSampleKernel> {
        let attributes = Attributes {
            operator: NAME,
            node,
        };
        let interpolation = [
            ("linear", Interpolation::Linear),
            ("bilinear", Interpolation::Linear), // before opset 20
            ("nearest", Interpolation::Nearest),
        ];
        let padding = [
            ("zeros", Padding::Zeros),
            ("border", Padding::Border),
            ("reflection", Padding::Reflection),
        ];
        Ok(GridSampleKernel {
            sample: GridSample::new(
                attributes.word("mode", &interpolation)?,
                attributes.word("padding_mode", &padding)?,
                attributes.number("align_corners", 0)? == 1,
                Instructions::detect(),
            ),
            workspace: Arc::clone(&self.0),
        })
    }
}

pub(super) struct GridSampleKernel {
    sample: GridSample,
    workspace: Arc<Workspace>,
}

impl Kernel for GridSampleKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let run = Run {
            operator: NAME,
            context,
        };
        let (images, grid) = (run.required(IMAGES, "images")?, run.required(GRID, "grid")?);
        let ((count, channels, _, _), (_, height, width, _)) = (images.dim(), grid.dim());
        run.fill([count, channels, height, width], |out, threads| {
            let workspace = &self.workspace;
            self.sample.run(images, grid, out, workspace, threads)
        })
    }
}
