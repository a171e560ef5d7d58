//! Prompts as the tensors that decoders take.

use std::iter;

use ndarray::{ArrayD, IxDyn};

use super::prompt::NetworkPrompt;
use crate::{
    error::{Error, Result},
    family::{PromptKind, PromptTensor, SegmenterFamily},
    geometry::ImageSize,
    session::{Element, HostTensor},
};

/// What a point is to a decoder.
const PADDING: f32 = -1.0;
const BESIDE_IT: f32 = 0.0;
const ON_IT: f32 = 1.0;
const UPPER_LEFT: f32 = 2.0;
const LOWER_RIGHT: f32 = 3.0;

/// Prompts of one run: as many points each, and all with a box or none.
pub(super) struct PromptTensors<'a> {
    prompts: &'a [NetworkPrompt],
    /// Rows and columns of a mask to start from.
    map: [usize; 2],
    /// What x and y are multiplied by.
    scale: [f32; 2],
    /// Whether the decoder adds padding itself.
    decoder_pads: bool,
}

impl<'a> PromptTensors<'a> {
    /// Prompts in pixels of an image of this size.
    pub(super) fn new(
        prompts: &'a [NetworkPrompt],
        image: ImageSize,
        map: [usize; 2],
        family: &SegmenterFamily,
    ) -> Self {
        let [rows, columns] = map.map(|side| side as f32);
        let scale = match family.points_in_told_size {
            true => [columns / image.width as f32, rows / image.height as f32],
            false => [1.0; 2],
        };
        Self {
            prompts,
            map,
            scale,
            decoder_pads: family.decoder_pads,
        }
    }

    /// What an input wants to know of them.
    pub(super) fn of(&self, input: PromptTensor) -> Result<HostTensor> {
        let count = self.prompts.len();
        let [rows, columns] = self.map;
        let (values, shape) = match input.kind {
            PromptKind::PointsAndCorners => {
                self.coordinates(|prompt| self.points_and_corners(prompt))
            }
            PromptKind::LabelsOfAll => self.labels(|prompt| self.points_and_corners(prompt)),
            PromptKind::Points => self.coordinates(points),
            PromptKind::Labels => self.labels(points),
            PromptKind::Boxes => self.boxes(),
            PromptKind::Mask => zeros(vec![1, 1, rows, columns]),
            PromptKind::MaskOfEach => zeros(vec![count, 1, rows, columns]),
            PromptKind::HasMask => zeros(vec![1]),
            PromptKind::HasMaskOfEach => zeros(vec![count]),
            // The graph resizes masks to it, whose time is wasted: no larger than they are.
            PromptKind::ImageSize => (vec![rows as f32, columns as f32], vec![2]),
        };
        tensor(input, values, shape)
    }

    /// Points, then the box's corners or, in their place, a point of padding.
    fn points_and_corners(&self, prompt: &NetworkPrompt) -> Vec<Labelled> {
        let last = match prompt.corners {
            Some([first, second]) => vec![(first, UPPER_LEFT), (second, LOWER_RIGHT)],
            None if self.decoder_pads => Vec::new(),
            None => vec![([0.0, 0.0], PADDING)],
        };
        [points(prompt), last].concat()
    }

    fn coordinates(&self, points: impl Fn(&NetworkPrompt) -> Vec<Labelled>) -> Values {
        let each = self.prompts.iter().map(points).collect::<Vec<_>>();
        let shape = vec![each.len(), each.first().map_or(0, Vec::len), 2];
        let points = each.into_iter().flatten();
        (
            points.flat_map(|(place, _)| self.scaled(place)).collect(),
            shape,
        )
    }

    fn labels(&self, points: impl Fn(&NetworkPrompt) -> Vec<Labelled>) -> Values {
        let each = self.prompts.iter().map(points).collect::<Vec<_>>();
        let shape = vec![each.len(), each.first().map_or(0, Vec::len)];
        let points = each.into_iter().flatten();
        (points.map(|(_, label)| label).collect(), shape)
    }

    fn boxes(&self) -> Values {
        let boxes = self.prompts.iter().filter_map(|prompt| prompt.corners);
        let corners = boxes.flatten();
        let values: Vec<f32> = corners.flat_map(|place| self.scaled(place)).collect();
        let shape = vec![values.len() / 4, 4];
        (values, shape)
    }

    fn scaled(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        [x * self.scale[0], y * self.scale[1]]
    }
}

/// A point with what it is.
type Labelled = ([f32; 2], f32);

/// Numbers and their shape.
type Values = (Vec<f32>, Vec<usize>);

fn points(prompt: &NetworkPrompt) -> Vec<Labelled> {
    let points = prompt.points.iter();
    let labelled = |&(place, on_it)| (place, if on_it { ON_IT } else { BESIDE_IT });
    points.map(labelled).collect()
}

fn zeros(shape: Vec<usize>) -> Values {
    (vec![0.0; shape.iter().product()], shape)
}

/// The values in the element type and the rank that an input has.
fn tensor(input: PromptTensor, values: Vec<f32>, shape: Vec<usize>) -> Result<HostTensor> {
    let leading = input.rank.saturating_sub(shape.len());
    let shape: Vec<usize> = iter::repeat_n(1, leading).chain(shape).collect();
    let unfit = |_| Error::Shape {
        tensor: input.name.to_owned(),
        expected: format!("of rank {}", input.rank),
        found: shape.clone(),
    };
    let array = ArrayD::from_shape_vec(IxDyn(&shape), values).map_err(unfit)?;
    Ok(match input.element {
        Element::I64 => HostTensor::I64(array.mapv(|value| value as i64)),
        _ => HostTensor::F32(array),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A box with a point on the thing and one beside it, and a point alone.
    fn prompts() -> [NetworkPrompt; 2] {
        let with_box = NetworkPrompt {
            points: vec![([5.0, 6.0], true), ([7.0, 8.0], false)],
            corners: Some([[1.0, 2.0], [3.0, 4.0]]),
        };
        let point = NetworkPrompt {
            points: vec![([5.0, 6.0], true)],
            corners: None,
        };
        [with_box, point]
    }

    /// The shape and the numbers of an input of a family, for one prompt.
    fn tensor_of(family: &str, input: &str, prompt: &NetworkPrompt) -> (Vec<usize>, Vec<f32>) {
        let family = SegmenterFamily::named(family).unwrap();
        let prompts = std::slice::from_ref(prompt);
        let image = ImageSize::new(24, 32);
        let tensors = PromptTensors::new(prompts, image, [8, 12], family);
        match tensors.of(family.input(input).unwrap()).unwrap() {
            HostTensor::F32(array) => (array.shape().to_vec(), array.into_iter().collect()),
            HostTensor::I64(array) => {
                let numbers = array.iter().map(|&number| number as f32);
                (array.shape().to_vec(), numbers.collect())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_family_is_told_of_points_and_boxes_in_its_own_way() {
        let [with_box, point] = prompts();
        let all = vec![5.0, 6.0, 7.0, 8.0, 1.0, 2.0, 3.0, 4.0];
        for (family, input, prompt, shape, numbers) in [
            ("sam", "point_coords", &with_box, vec![1, 4, 2], all.clone()),
            (
                "sam",
                "point_labels",
                &with_box,
                vec![1, 4],
                vec![1.0, 0.0, 2.0, 3.0],
            ),
            // Without a box a point of padding ends it, unless the decoder adds that.
            ("sam", "point_labels", &point, vec![1, 2], vec![1.0, -1.0]),
            ("sam2", "point_coords", &with_box, vec![1, 4, 2], all),
            ("sam2", "point_labels", &point, vec![1, 1], vec![1.0]),
            ("sam", "has_mask_input", &point, vec![1], vec![0.0]),
            ("sam", "orig_im_size", &point, vec![2], vec![8.0, 12.0]),
            (
                "sam2-hf",
                "input_labels",
                &with_box,
                vec![1, 1, 2],
                vec![1.0, 0.0],
            ),
            (
                "sam2-hf",
                "input_boxes",
                &with_box,
                vec![1, 1, 4],
                vec![1.0, 2.0, 3.0, 4.0],
            ),
            // In pixels of the map, of 12 x 8 for an image of 24 x 32.
            (
                "efficient-sam",
                "batched_point_coords",
                &with_box,
                vec![1, 1, 4, 2],
                vec![2.5, 1.5, 3.5, 2.0, 0.5, 0.5, 1.5, 1.0],
            ),
            (
                "efficient-sam",
                "batched_point_labels",
                &point,
                vec![1, 1, 1],
                vec![1.0],
            ),
            (
                "efficient-sam",
                "orig_im_size",
                &point,
                vec![2],
                vec![8.0, 12.0],
            ),
        ] {
            let found = tensor_of(family, input, prompt);
            assert_eq!(found, (shape, numbers), "{family} {input}");
        }
        let (shape, numbers) = tensor_of("sam", "mask_input", &point);
        assert_eq!((shape, numbers), (vec![1, 1, 8, 12], vec![0.0; 96]));
    }
}
