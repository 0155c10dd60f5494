//! What the kernel says about the server process and the machine.
//!
//! In: a process id. Out: its CPU time and its user memory, from `/proc`.

use std::{fs, io, time::Duration};

/// `/proc/PID/stat` counts in hundredths of a second on every Linux (USER_HZ).
const TICK: Duration = Duration::from_millis(10);

/// User and system time of all threads the process ever had.
pub(crate) fn cpu_time(pid: u32) -> io::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse_cpu_time(&stat).ok_or_else(|| unreadable("stat"))
}

/// Anonymous memory (heap and stacks) that is resident, bytes. Sockets and their buffers are
/// the kernel's and not in it; nor is the program's text.
pub(crate) fn user_memory_bytes(pid: u32) -> io::Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    parse_anonymous(&rollup).ok_or_else(|| unreadable("smaps_rollup"))
}

/// One line on what this machine is.
pub(crate) fn machine() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model);
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    format!("{cores} cores, {model}, Linux {}", release.trim())
}

fn unreadable(file: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("/proc/PID/{file} has an unknown form"))
}

fn parse_cpu_time(stat: &str) -> Option<Duration> {
    // The second field is the program's name, in parentheses, with anything in it.
    let (_, behind_name) = stat.rsplit_once(") ")?;
    let mut fields = behind_name.split(' ').skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(TICK * (user + system))
}

fn parse_anonymous(rollup: &str) -> Option<u64> {
    let value = rollup.lines().find_map(|line| line.strip_prefix("Anonymous:"))?;
    let kilobytes: u64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// proc(5): utime and stime are fields 14 and 15.
    #[test]
    fn cpu_time_is_read_behind_a_name_with_spaces_and_parentheses() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194304 100 0 0 0 250 31 7 8 20 0 1 0 5 6 7";
        assert_eq!(parse_cpu_time(stat), Some(Duration::from_millis(2_810)));
    }

    #[test]
    fn anonymous_memory_is_read_in_bytes() {
        let rollup = "0-1 ---p 0 00:00 0 [rollup]\nRss:   1640 kB\nAnonymous:    112 kB\n";
        assert_eq!(parse_anonymous(rollup), Some(112 * 1024));
    }

    #[test]
    fn this_process_has_figures() {
        assert!(user_memory_bytes(std::process::id()).expect("memory") > 0);
        cpu_time(std::process::id()).expect("cpu time");
    }
}
