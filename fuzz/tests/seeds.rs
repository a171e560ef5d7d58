//! Every seed through its target, on any compiler: what was found once stays mended.

use glip_fuzz::{TARGETS, seeds};

#[test]
fn no_seed_is_a_finding() {
    for (name, run) in TARGETS {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for (path, data) in seeds {
            println!("{}", path.display()); // shown if it panics
            run(&data);
        }
    }
}
