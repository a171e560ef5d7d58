//! What pictures may take.

use glip_tools::PictureLimits;

/// Options that every command which reads pictures has.
#[derive(clap::Args)]
pub(crate) struct PictureOptions {
    /// The most pixels that a picture may have.
    #[arg(long, value_name = "N", default_value_t = PictureLimits::default().max_pixels)]
    max_pixels: u64,
    /// The most bytes that all pictures in memory may take, while they are decoded and until the model has
    /// seen them.
    #[arg(long, value_name = "N", default_value_t = PictureLimits::default().max_bytes)]
    max_bytes: u64,
}

impl PictureOptions {
    pub(crate) fn limits(&self) -> PictureLimits {
        PictureLimits::default()
            .with_max_pixels(self.max_pixels)
            .with_max_bytes(self.max_bytes)
    }
}
