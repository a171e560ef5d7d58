//! Blocks of Swin beside the functions of their names: `python/tests/swin_block_function.py` made both graphs, of a block
//! without a shift and one with.

use ndarray::{Array1, ArrayD, Zip, array as of};
use ort::{session::builder::SessionBuilder, value::TensorRef};

use super::{random, with_domains};
use crate::runtime::Runtime;

const IN_FLOATS: &[u8] = include_bytes!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/swin_block.onnx"
));
const IN_BYTES: &[u8] = include_bytes!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/int8_swin_block.onnx"
));

/// What both blocks make of some maps; in ONNX Runtime the functions' bodies. The given number of rows is that of the tokens.
fn blocks(
    model: &[u8],
    native: bool,
    size: [i64; 3],
    rows: usize,
) -> ort::Result<[ArrayD<f32>; 2]> {
    let runtime = Runtime::load().unwrap();
    let mut builder = SessionBuilder::new(runtime.environment())?;
    if native {
        builder = with_domains(builder)?;
    }
    let mut session = builder.commit_from_memory(model)?;
    let [tokens] = random([vec![rows, 8]], [2.0]);
    let (size, pieces) = (Array1::from(size.to_vec()), of![1_i64]);
    let outputs = session.run(ort::inputs![
        "tokens" => TensorRef::from_array_view(&tokens)?,
        "size" => TensorRef::from_array_view(&size)?,
        "pieces" => TensorRef::from_array_view(&pieces)?,
    ])?;
    let [plain, shifted] = ["out_0", "out_3"].map(|name| outputs[name].try_extract_array());
    Ok([plain?.to_owned(), shifted?.to_owned()])
}

/// The largest difference between operators and functions, in parts of the largest number, for each block.
fn differences(model: &[u8], size: [i64; 3]) -> [f32; 2] {
    let rows = size.iter().product::<i64>() as usize;
    let [native, own] = [true, false].map(|native| blocks(model, native, size, rows).unwrap());
    [0, 1].map(|block| {
        let (native, own) = (&native[block], &own[block]);
        assert_eq!(native.shape(), own.shape());
        let largest = |numbers: &ArrayD<f32>| {
            let sizes = numbers.iter().map(|number| number.abs());
            sizes.fold(
                0.0,
                |largest: f32, size| {
                    if size <= largest { largest } else { size }
                },
            )
        };
        assert!(largest(own) > 1.0, "{size:?}: {own}");
        let differences = Zip::from(native)
            .and(own)
            .map_collect(|one, other| one - other);
        largest(&differences) / largest(own)
    })
}

/// Whole windows, maps that are padded along either side and both, some of fewer tokens than a window.
const SIZES: [[i64; 3]; 5] = [[1, 8, 12], [2, 7, 8], [2, 8, 5], [2, 13, 18], [1, 2, 3]];

#[test]
fn blocks_are_those_of_the_functions_in_the_graph() {
    for size in SIZES {
        let differences = differences(IN_FLOATS, size);
        assert!(
            differences.iter().all(|&difference| difference < 1e-6),
            "{size:?}: {differences:?}"
        );
    }
}

#[test]
fn blocks_in_8_bits_are_those_of_the_functions_in_the_graph() {
    for size in SIZES {
        let differences = differences(IN_BYTES, size);
        // Both round to 8 bits what is multiplied, this token by token and the function all of them together.
        assert!(
            differences.iter().all(|&difference| difference < 0.04),
            "{size:?}: {differences:?}"
        );
    }
}

/// With so few channels most of the difference is that of the weights, which is the same in both.
#[test]
fn blocks_in_8_bits_are_as_near_to_floats_as_those_of_the_functions() {
    let size = [2, 13, 18];
    let of = |model, native| blocks(model, native, size, 468).unwrap();
    let floats = of(IN_FLOATS, false);
    let [native, own] = [true, false].map(|native| of(IN_BYTES, native));
    for block in 0..2 {
        let [native, own] = [&native, &own].map(|out| {
            let differences = (&out[block] - &floats[block]).mapv(f32::abs);
            differences.mean().unwrap()
        });
        assert!(0.0 < native && native < 1.1 * own, "{native}, {own}");
    }
}

/// Whose words an error is in shows that the operators come before the functions.
#[test]
fn sizes_of_other_tokens_are_errors() {
    for model in [IN_FLOATS, IN_BYTES] {
        let error = blocks(model, true, [1, 5, 6], 31).unwrap_err().to_string();
        assert!(
            error.contains("tokens of shape [31, 8] are not for a size"),
            "{error}"
        );
    }
}
