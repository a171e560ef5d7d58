//! What does not depend on which processor this is. That operators do what ONNX says is tested where they are
//! registered, beside ONNX Runtime's own.

use ndarray::{Array4, ArrayD};

use super::{
    instructions::Instructions,
    product::{Weights, WeightsShape},
    transpose::Transpose,
    *,
};

/// Numbers from -1 to 1 that look random.
fn numbers(count: usize) -> Vec<f32> {
    let number = |index: usize| (index * 7919 + 13) % 2011;
    (0..count)
        .map(|index| number(index) as f32 / 1005.0 - 1.0)
        .collect()
}

fn array(shape: [usize; 4]) -> Array4<f32> {
    let numbers = numbers(shape.iter().product());
    Array4::from_shape_vec(shape, numbers).unwrap()
}

#[test]
fn products_are_sums_of_products_for_any_instructions() {
    let shapes = [
        (1, 1, 1, 1),
        (2, 3, 7, 2),
        (1, 33, 17, 9),
        (3, 8, 64, 1),
        (2, 9, 33, 4),
    ];
    for (instructions, (groups, inner, outer, taps)) in all(&shapes) {
        let shape = WeightsShape {
            groups,
            outer,
            inner,
            taps,
        };
        let weights = numbers(groups * outer * inner * taps);
        let packed = Weights::pack(&weights, shape, vec![7.0; 5], instructions, &Threads::NONE);
        for (count, group, tap) in [
            (1, 0, 0),
            (13, groups - 1, taps - 1),
            (25, groups / 2, taps / 2),
        ] {
            let rows = numbers(count * inner);
            let mut sums = vec![1.0; count * outer];
            packed.add_product(group, tap, &rows, &mut sums);
            for (place, sum) in sums.iter().enumerate() {
                let (row, column) = (place / outer, group * outer + place % outer);
                let weight = |at: usize| weights[(column * inner + at) * taps + tap];
                let products = (0..inner).map(|at| rows[row * inner + at] * weight(at));
                let expected = 1.0 + products.sum::<f32>();
                assert!(
                    (sum - expected).abs() < 1e-5,
                    "{instructions:?}: {sum} for {expected}"
                );
            }
        }
    }
}

/// Each case with each set of instructions that there is here.
fn all<T: Copy>(cases: &[T]) -> impl Iterator<Item = (Instructions, T)> {
    let all = Instructions::all().into_iter();
    all.flat_map(move |instructions| cases.iter().map(move |case| (instructions, *case)))
}

#[test]
fn axes_change_places_for_any_instructions() {
    for (instructions, (rows, columns)) in all(&[(1, 1), (8, 8), (9, 23), (16, 7), (3, 40)]) {
        let from = numbers(rows * columns);
        let mut to = vec![f32::NAN; rows * columns];
        instructions.run(Transpose {
            rows,
            columns,
            from: &from,
            from_step: columns,
            to: &mut to,
            to_step: rows,
        });
        let expected = |place: usize| from[place % rows * columns + place / rows];
        assert!(
            (0..to.len()).all(|place| to[place] == expected(place)),
            "{rows} {columns}"
        );
    }
}

fn convolved(instructions: Instructions, offsets: &Array4<f32>) -> Result<ArrayD<f32>, String> {
    let spec = DeformConvSpec {
        strides: [1, 1],
        pads: [1, 1],
        dilations: [1, 1],
        groups: 1,
        offset_groups: 1,
    };
    let conv = DeformConv::new(
        spec,
        array([6, 10, 3, 3]).view(),
        instructions,
        Vec::new(),
        &Threads::NONE,
    )?;
    let pixels = array([1, 10, 12, 11]);
    let inputs = DeformConvInputs {
        pixels: pixels.view(),
        offsets: offsets.view(),
        mask: None,
        bias: None,
    };
    let mut out = Array4::zeros(conv.shape(&inputs));
    let workspace = Workspace::default();
    conv.run(&inputs, out.view_mut(), &workspace, &Threads::NONE)?;
    Ok(out.into_dyn())
}

#[test]
fn convolutions_are_the_same_for_any_instructions() {
    let offsets = 3.0 * array([1, 18, 12, 11]);
    let all = Instructions::all().into_iter();
    let all: Vec<_> = all
        .map(|instructions| convolved(instructions, &offsets).unwrap())
        .collect();
    for other in &all[1..] {
        let difference = (other - &all[0]).mapv(f32::abs);
        assert!(
            difference.iter().all(|&difference| difference < 1e-4),
            "{difference}"
        );
    }
}

/// Whatever a network makes of a picture, memory outside of the image is not read.
#[test]
fn offsets_that_are_no_places_see_nothing() {
    for number in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 3e38, -1e9] {
        let out = convolved(
            Instructions::detect(),
            &Array4::from_elem((1, 18, 12, 11), number),
        );
        assert!(out.unwrap().iter().all(|&number| number == 0.0), "{number}");
        let grid = Array4::from_elem((1, 4, 5, 2), number);
        for padding in [Padding::Zeros, Padding::Border, Padding::Reflection] {
            for interpolation in [Interpolation::Linear, Interpolation::Nearest] {
                let sample = GridSample::new(interpolation, padding, false, Instructions::detect());
                let mut out = Array4::zeros((1, 3, 4, 5));
                let workspace = Workspace::default();
                let threads = Threads::NONE;
                let images = array([1, 3, 7, 6]);
                sample
                    .run(
                        images.view(),
                        grid.view(),
                        out.view_mut(),
                        &workspace,
                        &threads,
                    )
                    .unwrap();
                assert!(out.iter().all(|number| number.abs() <= 1.0));
            }
        }
    }
}

#[test]
fn shapes_that_do_not_fit_are_told() {
    let error = convolved(Instructions::detect(), &array([1, 17, 12, 11])).unwrap_err();
    assert!(error.contains("17"), "{error}");
}
