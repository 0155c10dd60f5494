//! `tidegate_process_*`: what the kernel says of this process, read when somebody scrapes.

use std::fs;

/// Appends the process's figures in the text format of Prometheus.
///
/// What cannot be read (no procfs) is left out.
pub(crate) fn append(text: &mut String) {
    // Linux counts in 1/100 s here on every architecture that Rust's std supports (USER_HZ).
    const TICKS_PER_S: f64 = 100.0;
    let mut figure = |name: &str, kind: &str, help: &str, value: f64| {
        text.push_str(&format!(
            "# HELP tidegate_process_{name} {help}\n# TYPE tidegate_process_{name} {kind}\ntidegate_process_{name} {value}\n"
        ));
    };
    if let Some((cpu_ticks, resident_pages)) = stat() {
        let cpu_s = cpu_ticks / TICKS_PER_S;
        figure("cpu_seconds_total", "counter", "User and system CPU time.", cpu_s);
        // Pages are 4 KiB wherever this is run as a service today (x86-64, arm64 default).
        let bytes = resident_pages * 4096.0;
        figure("resident_memory_bytes", "gauge", "Resident memory.", bytes);
    }
    if let Some(open) = open_fds() {
        figure("open_fds", "gauge", "Open file descriptors.", open as f64);
    }
    if let Some(limit) = max_fds() {
        figure("max_fds", "gauge", "Limit of open file descriptors.", limit);
    }
}

/// CPU ticks and resident pages from `/proc/self/stat` (proc(5), fields 14, 15 and 24).
fn stat() -> Option<(f64, f64)> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the command in parentheses and may hold spaces.
    let rest = &text[text.rfind(')')? + 1..];
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<f64>().ok();
    Some((number(11)? + number(12)?, number(21)?))
}

/// Since Linux 6.2 the folder's size is the number, whatever it is; before, it is counted.
fn open_fds() -> Option<u64> {
    match fs::metadata("/proc/self/fd").ok()?.len() {
        0 => Some(fs::read_dir("/proc/self/fd").ok()?.count() as u64),
        open => Some(open),
    }
}

fn max_fds() -> Option<f64> {
    let text = fs::read_to_string("/proc/self/limits").ok()?;
    let line = text.lines().find(|line| line.starts_with("Max open files"))?;
    line["Max open files".len()..].split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_descriptors_are_counted() {
        let before = open_fds().expect("procfs");
        let files: Vec<_> =
            (0..10).map(|_| fs::File::open("/proc/self/stat").expect("open")).collect();
        let after = open_fds().expect("procfs");
        // Other tests of this process open files too.
        assert!((before + 5..before + 40).contains(&after), "{before} then {after}");
        drop(files);
    }

    #[test]
    fn the_process_reports_cpu_memory_and_descriptors() {
        let mut text = String::new();
        append(&mut text);
        for name in ["cpu_seconds_total", "resident_memory_bytes", "open_fds", "max_fds"] {
            assert!(text.contains(&format!("\ntidegate_process_{name} ")), "{name} in {text}");
        }
    }
}
