//! Work compiled for the widest vectors that the processor has.

/// Does the work, which is inlined for the processor and vectorised by the compiler.
#[inline(always)]
pub(super) fn on_widest(work: impl FnOnce()) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        #[allow(
            unsafe_code,
            reason = "AVX2 is known to be there when the program runs only"
        )]
        // SAFETY: the processor has AVX2.
        unsafe {
            return on_avx2(work);
        }
    }
    // Elsewhere the vectors that every processor has are the widest that compilers use unasked.
    work();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn on_avx2(work: impl FnOnce()) {
    work();
}
