//! Figures of the process and its disk.

use std::io;
use std::path::Path;

/// Files looked at by [`folder_bytes`] at most, so that a huge folder cannot hold up the overview.
const FILES_MAX: usize = 1_000_000;

/// Resident memory of this process; `None` where the system does not say (no `/proc`).
pub fn memory_bytes() -> Option<u64> {
    resident_bytes(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Processor time that the calling thread has used, in nanoseconds; `None` where the system does not say (no `/proc`).
pub fn thread_cpu_ns() -> Option<u64> {
    // "time on the processor, time waited, slices" (Linux documentation, "sched-stats").
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_ascii_whitespace().next()?.parse().ok()
}

/// Room on the disk of a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// Size of the disk.
    pub total_bytes: u64,
    /// What an ordinary user may still write.
    pub free_bytes: u64,
}

/// Room on the disk that holds `folder`.
pub fn disk_space(folder: &Path) -> io::Result<DiskSpace> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(DiskSpace {
        total_bytes: disk.f_blocks.saturating_mul(disk.f_frsize),
        free_bytes: disk.f_bavail.saturating_mul(disk.f_frsize),
    })
}

/// Bytes of all files below a folder, of at most a million files; blocks. What vanishes meanwhile counts as nothing.
pub fn folder_bytes(folder: &Path) -> u64 {
    let (mut folders, mut bytes, mut files) = (vec![folder.to_path_buf()], 0, 0);
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                folders.push(entry.path());
            } else if metadata.is_file() {
                bytes += metadata.len();
                files += 1;
            }
        }
        if files >= FILES_MAX {
            break;
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_text_is_read() {
        assert_eq!(resident_bytes("Name:\ttarn\nVmRSS:\t   12 kB\nThreads:\t1\n"), Some(12 * 1024));
        assert_eq!(resident_bytes("Name:\ttarn\n"), None);
        assert!(memory_bytes().is_none_or(|bytes| bytes > 100_000));
    }

    #[test]
    fn the_disk_of_this_folder_has_a_size() {
        // Tests run in the folder of their package, wherever they were compiled.
        let here = Path::new(".");
        let space = disk_space(here).expect("a disk");
        assert!(space.total_bytes >= space.free_bytes && space.total_bytes > 0);
        assert!(folder_bytes(&here.join("src")) > 1_000);
        assert_eq!(folder_bytes(&here.join("no-such-folder")), 0);
    }
}
