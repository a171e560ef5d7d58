//! libFuzzer's entry point: the target that `FUZZ_TARGET` names.
#![no_main]

use std::{env, sync::OnceLock};

use glip_fuzz::{Target, target};
use libfuzzer_sys::fuzz_target;

static TARGET: OnceLock<Target> = OnceLock::new();

fuzz_target!(|data: &[u8]| {
    let run = TARGET.get_or_init(|| {
        let name = env::var("FUZZ_TARGET").expect("FUZZ_TARGET names a target");
        target(&name).unwrap_or_else(|| panic!("there is no target {name:?}"))
    });
    run(data);
});
