//! Pixels whose levels lie side by side.

/// Of pixels of so many bytes, those at `order` are red, green and blue.
#[inline(always)]
pub(super) fn read<const BYTES: usize>(row: &[u8], order: [usize; 3], rgb: &mut [u8]) {
    let (pixels, _) = row.as_chunks::<BYTES>();
    let (rgb, _) = rgb.as_chunks_mut::<3>();
    for (rgb, pixel) in rgb.iter_mut().zip(pixels) {
        *rgb = order.map(|place| pixel[place]);
    }
}

/// Grey levels of 16 bits, the lower byte first, shifted right to 8 bits and white beyond.
#[inline(always)]
pub(super) fn read_words(row: &[u8], shift: u8, rgb: &mut [u8]) {
    let (pixels, _) = row.as_chunks::<2>();
    let (rgb, _) = rgb.as_chunks_mut::<3>();
    for (rgb, &pixel) in rgb.iter_mut().zip(pixels) {
        *rgb = [(u16::from_le_bytes(pixel) >> shift).min(255) as u8; 3];
    }
}
