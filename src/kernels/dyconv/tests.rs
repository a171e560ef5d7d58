//! That layers are what ONNX says is tested where operators are registered, beside ONNX Runtime's own.

use ndarray::{Array1, Array2, Array3, ArrayView, Dimension, Ix2};

use super::*;
use crate::kernels::tests::array;

/// Numbers up to a reach that a test keeps for good.
fn kept<const N: usize, D: Dimension + 'static>(
    shape: [usize; N],
    reach: f32,
) -> ArrayView<'static, f32, D> {
    Box::leak(Box::new(reach * array::<N, D>(shape))).view()
}

/// Of a layer of 32 channels, whose convolutions have weights in floats, or in bytes.
fn weights(in_bytes: bool) -> DyConvWeights<'static> {
    let convolution = |reach: f32| {
        let numbers = kept::<2, Ix2>([288, 32], 127.0);
        let numbers = Box::leak(Box::new(numbers.mapv(|number| number.round() as i8)));
        let scales = Box::leak(Box::new(Array1::from_elem(32, reach / 127.0)));
        ConvolutionWeights {
            weights: match in_bytes {
                false => FloatsOrBytes::Floats(kept([32, 32, 3, 3], reach)),
                true => FloatsOrBytes::Bytes(numbers.view(), scales.view()),
            },
            bias: kept([32], 1.0),
        }
    };
    let coefficients = CoefficientWeights {
        norm: kept([3, 16, 2], 1.0),
        norm_bias: kept([3, 16, 2], 1.0),
        epsilon: 1e-5,
        attention: kept([32, 1], 1.0),
        attention_bias: kept([1], 1.0),
        squeeze: kept([32, 8], 1.0),
        squeeze_bias: kept([8], 1.0),
        excite: kept([8, 128], 1.0),
        excite_bias: kept([128], 1.0),
    };
    DyConvWeights {
        fields: kept([27, 32, 3, 3], 0.2),
        fields_bias: kept([27], 1.0),
        own: convolution(0.3),
        finer: convolution(0.2),
        coarser: convolution(0.4),
        coefficients,
    }
}

/// Two images of three levels through it.
fn convolve_levels(layer: &DyConv, sizes: &[[i64; 2]]) -> Result<Array3<f32>, String> {
    let positions = array([2, 13 * 17 + 7 * 9 + 4 * 5, 32]);
    let sizes = Array2::from(sizes.to_vec());
    let mut out = Array3::from_elem(positions.dim(), f32::NAN);
    let workspace = Workspace::default();
    layer.run(
        positions.view(),
        sizes.view(),
        out.view_mut(),
        &workspace,
        &Threads::NONE,
    )?;
    Ok(out)
}

const SIZES: [[i64; 2]; 3] = [[13, 17], [7, 9], [4, 5]];

#[test]
fn layers_are_the_same_for_any_instructions() {
    for in_bytes in [false, true] {
        let run = |instructions, bytes| {
            let layer = DyConv::new(weights(in_bytes), instructions, bytes).unwrap();
            convolve_levels(&layer, &SIZES).unwrap()
        };
        let plain = run(Instructions::Any, None);
        let largest = plain.fold(0.0, |largest: f32, number| largest.max(number.abs()));
        assert!(largest > 1.0, "{largest}");
        for instructions in Instructions::all() {
            for bytes in ByteInstructions::all().into_iter().map(Some).chain([None]) {
                let tolerance = if in_bytes && bytes.is_some() {
                    0.02
                } else {
                    1e-5
                };
                let difference = (run(instructions, bytes) - &plain).mapv(f32::abs);
                let worst = difference.fold(0.0, |worst: f32, &number| worst.max(number));
                assert!(
                    worst < tolerance * largest,
                    "{instructions:?} {bytes:?}: {worst}"
                );
            }
        }
    }
}

#[test]
fn layers_that_do_not_fit_are_told() {
    let layer = DyConv::new(weights(false), Instructions::Any, None).unwrap();
    for (sizes, told) in [
        (
            vec![[13, 17], [7, 9], [4, 4]],
            "positions of shape [2, 304, 32]",
        ),
        (
            vec![[13, 17], [9, 7], [4, 5]],
            "is not half of the level before",
        ),
        (vec![[13, 17], [-7, -9], [4, 5]], "sizes of"),
        (vec![[13, 17], [i64::MAX, 9], [4, 5]], "sizes of"),
        (vec![], "positions of shape [2, 304, 32]"),
    ] {
        let error = convolve_levels(&layer, &sizes).unwrap_err();
        assert!(error.contains(told), "{error}");
    }
}

#[test]
fn a_level_alone_has_no_neighbours() {
    let layer = DyConv::new(weights(false), Instructions::detect(), None).unwrap();
    assert!(
        convolve_levels(&layer, &[[16, 19]])
            .unwrap()
            .iter()
            .all(|number| number.is_finite())
    );
}

#[test]
fn weights_that_do_not_fit_are_told() {
    type Change = fn(&mut DyConvWeights<'static>);
    let cases: [(Change, &str); 7] = [
        (
            |weights| weights.fields = kept([26, 32, 3, 3], 1.0),
            "[26, 32, 3, 3] with 27",
        ),
        (
            |weights| weights.fields_bias = kept([26], 1.0),
            "[27, 32, 3, 3] with 26",
        ),
        (
            |weights| weights.finer.bias = kept([31], 1.0),
            "the Finer convolution's weights",
        ),
        (
            |weights| weights.own.weights = FloatsOrBytes::Floats(kept([32, 31, 3, 3], 1.0)),
            "the Own convolution's weights",
        ),
        (
            |weights| weights.coefficients.norm = kept([2, 16, 2], 1.0),
            "norms of shape [2, 16, 2]",
        ),
        (
            |weights| weights.coefficients.attention = kept([31, 1], 1.0),
            "branches of [31, 1]",
        ),
        (
            |weights| weights.coefficients.excite = kept([8, 127], 1.0),
            "[32, 8] and [8, 127]",
        ),
    ];
    for (change, told) in cases {
        let mut weights = weights(false);
        change(&mut weights);
        let error = DyConv::new(weights, Instructions::Any, None).err().unwrap();
        assert!(error.contains(told), "{error}");
    }
}
