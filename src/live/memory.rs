//! How much memory the process has.

/// The resident set; `None` where the system does not say.
#[cfg(target_os = "linux")]
pub(super) fn resident_bytes() -> Option<u64> {
    use std::{fs::File, io::Read};

    // Some two kilobytes; the line is in the first of them.
    let mut status = [0; 4096];
    let mut file = File::open("/proc/self/status").ok()?;
    let length = file.read(&mut status).ok()?;
    let status = str::from_utf8(&status[..length]).ok()?;
    let kilobytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = kilobytes.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(1024 * kilobytes)
}

/// The resident set; `None` where the system does not say.
#[cfg(not(target_os = "linux"))]
pub(super) fn resident_bytes() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    #[test]
    fn a_program_takes_memory() {
        let megabytes = super::resident_bytes().unwrap() >> 20;
        assert!((1..100_000).contains(&megabytes), "{megabytes}");
    }
}
