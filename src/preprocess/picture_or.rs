//! What calls take for an image: a picture, or what was made of one before.

use std::borrow::Cow;

use image::DynamicImage;

use super::source_image::SourceImage;

/// A picture, borrowed or owned, or one that was encoded.
#[derive(Debug, Clone)]
pub(crate) enum PictureOr<'a, Encoded: Clone> {
    Picture(SourceImage<'a>),
    Owned(Box<DynamicImage>),
    Encoded(Cow<'a, Encoded>),
}

/// Makes a type that wraps a [`PictureOr`] of pictures of the `image` crate, of a [`SourceImage`], and of what is encoded,
/// borrowed or owned.
macro_rules! from_pictures_or {
    ($encoded:ty => $input:ident) => {
        impl<'a> From<&'a $encoded> for $input<'a> {
            fn from(image: &'a $encoded) -> Self {
                Self(PictureOr::Encoded(
                    std::borrow::Cow::Borrowed(image),
                ))
            }
        }

        impl From<$encoded> for $input<'_> {
            fn from(image: $encoded) -> Self {
                Self(PictureOr::Encoded(
                    std::borrow::Cow::Owned(image),
                ))
            }
        }

        impl<'a> From<SourceImage<'a>> for $input<'a> {
            fn from(image: SourceImage<'a>) -> Self {
                Self(PictureOr::Picture(image))
            }
        }

        from_pictures_or!(borrowed $input:
            SourceImage<'_>,
            image::DynamicImage,
            image::RgbImage,
            image::RgbaImage,
            image::GrayImage
        );
        from_pictures_or!(owned $input:
            image::DynamicImage,
            image::RgbImage,
            image::RgbaImage,
            image::GrayImage
        );
    };
    (borrowed $input:ident: $($picture:ty),+) => {$(
        impl<'a> From<&'a $picture> for $input<'a> {
            fn from(image: &'a $picture) -> Self {
                SourceImage::from(image).into()
            }
        }
    )+};
    (owned $input:ident: $($picture:ty),+) => {$(
        impl From<$picture> for $input<'_> {
            fn from(image: $picture) -> Self {
                Self(PictureOr::Owned(Box::new(image.into())))
            }
        }
    )+};
}

pub(crate) use from_pictures_or;
