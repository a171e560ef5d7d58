//! Cores that threads stay on.

use std::io;

/// Binds the thread that calls to a core, from 0. Threads that it starts are bound to that one, too.
///
/// # Errors
/// There is no such core, or it is not this process's to use; or the system is not Linux, where nothing is bound.
#[allow(unsafe_code)]
pub(crate) fn bind_thread(core: usize) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        if core >= libc::CPU_SETSIZE as usize {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: a set of cores is a mask of bits, of which none is set, and `core` is one of them. The call reads as many
        // bytes as the set has; thread 0 is the one that calls.
        let failed = unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(core, &mut set);
            libc::sched_setaffinity(0, size_of_val(&set), &raw const set) != 0
        };
        match failed {
            true => Err(io::Error::last_os_error()),
            false => Ok(()),
        }
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let _ = core;
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
pub(crate) mod tests {
    use std::{fs, thread};

    use super::*;

    /// The cores of the thread that calls, as the system lists them: `0-3,7`.
    pub(crate) fn cores() -> String {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        let cores = status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        cores.unwrap().trim().to_owned()
    }

    pub(crate) fn last_core() -> usize {
        cores().rsplit([',', '-']).next().unwrap().parse().unwrap()
    }

    #[test]
    fn a_thread_stays_on_its_core_and_others_where_they_were() {
        let before = cores();
        let last = last_core();
        let bound = thread::spawn(move || bind_thread(last).map(|()| cores()));
        assert_eq!(bound.join().unwrap().unwrap(), last.to_string());
        assert_eq!(cores(), before);
    }

    #[test]
    fn cores_that_are_none_are_refused() {
        for core in [1023, 1024, usize::MAX] {
            assert!(bind_thread(core).is_err(), "{core}");
        }
    }
}
