//! Masks as JSON.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{mask::Mask, rle::Rle};
use crate::detection::finite;

/// COCO's run lengths, with the score.
#[derive(Serialize, Deserialize)]
struct Scored {
    #[serde(flatten)]
    rle: Rle,
    #[serde(default = "certain", serialize_with = "finite")]
    score: f32,
}

fn certain() -> f32 {
    1.0
}

impl Serialize for Mask {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (rle, score) = (self.rle(), self.score());
        Scored { rle, score }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Mask {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Scored { rle, score } = Scored::deserialize(deserializer)?;
        Ok(Self::from(&rle).with_score(score))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{geometry::ImageSize, mask::mask::tests::any_mask};

    #[test]
    fn a_score_that_is_no_number_is_not_written() {
        let mask = Mask::from_fn(ImageSize::new(1, 1), |_, _| true).unwrap();
        let error = serde_json::to_string(&mask.with_score(f32::NAN)).unwrap_err();
        assert!(error.to_string().contains("score NaN"), "{error}");
    }

    proptest! {
        #[test]
        fn json_gives_it_back(mask in any_mask(), score in 0.0f32..1.0) {
            let mask = mask.with_score(score);
            let json = serde_json::to_string(&mask).unwrap();
            prop_assert_eq!(serde_json::from_str::<Mask>(&json).unwrap(), mask);
        }
    }
}
