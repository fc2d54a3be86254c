//! What the operating system says of this process; nothing where it does not say it in /proc.

/// The process as the kernel counts it.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    /// Resident memory.
    pub resident_bytes: u64,
    /// Threads.
    pub threads: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// Processor time used.
    pub cpu_seconds: f64,
}

impl Process {
    /// Reads all of it: some ten microseconds, more with thousands of open files.
    ///
    /// Source: proc(5), `/proc/pid/status` and `/proc/pid/stat`.
    pub fn read() -> Option<Self> {
        /// What the kernel counts processor time in for user space, on every architecture.
        const TICKS_PER_SECOND: f64 = 100.0;
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        // The second field is the program's name and may hold anything, but a parenthesis ends it.
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        let (_, after_name) = stat.rsplit_once(')')?;
        let mut times = after_name.split_ascii_whitespace().skip(11);
        let mut ticks = || times.next()?.parse::<u64>().ok();
        let ticks = ticks()? + ticks()?;
        Some(Self {
            resident_bytes: field(&status, "VmRSS:")? * 1024,
            threads: field(&status, "Threads:")?,
            open_fds: std::fs::read_dir("/proc/self/fd").ok()?.count() as u64,
            cpu_seconds: ticks as f64 / TICKS_PER_SECOND,
        })
    }

    /// Resident memory alone, which costs the same however many files are open.
    pub fn resident_bytes() -> Option<u64> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        Some(field(&status, "VmRSS:")? * 1024)
    }
}

fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}
