//! A full disk: appends are refused whole, and go on when there is room again.
//!
//! The child processes run with a limit on file sizes, or with a small file system of their own where the machine
//! lets a test mount one.

use std::path::Path;
use std::process::{Command, Output};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tarn_core::{Env, Fault, FaultKind};
use tarn_eventlog::{EventLog, EventLogConfig, EventLogError, SegmentLog};

use crate::rig::{Rig, context, folder, ids, read_all, rows, spec, state, topic};
use tarn_eventlog::Append;

const CHILD_FOLDER: &str = "TARN_EVENTLOG_FULL_FOLDER";

/// Runs a test of this binary behind a shell script that prepares its surroundings.
fn run_child(script: &str, test: &str, folder: &Path) -> Output {
    Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD_FOLDER, folder)
        .output()
        .unwrap()
}

fn assert_passed(output: &Output) {
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// Appends until the disk is full; what was refused must not be there, what was taken must be.
async fn fill_and_go_on(folder: &str, make_room: impl FnOnce()) {
    let open = || SegmentLog::open(folder, EventLogConfig::default(), Env::system());
    let log = open().await.unwrap();
    log.create_topic(&context(), spec(1)).await.unwrap();
    let append = |seq: u64| {
        let first = seq as i64 * 200;
        let append = Append { batch: rows(first..first + 200), state: Some(state("shop", seq + 1)) };
        let log = log.clone();
        async move { log.append(&context(), &topic(), 0, append).await }
    };
    let mut taken = 0;
    let full = loop {
        assert!(taken < 10_000, "the disk is never full");
        match append(taken).await {
            Ok(done) => assert_eq!(done.first_offset, taken * 200),
            Err(error) => break error,
        }
        taken += 1;
    };
    assert!(taken > 3, "{taken}");
    for error in [full, append(taken).await.unwrap_err(), append(taken).await.unwrap_err()] {
        assert!(matches!(error, EventLogError::DiskFull { .. }), "{error:?}");
        assert_eq!(error.kind(), FaultKind::Exhausted);
        let info = log.topic(&context(), &topic()).await.unwrap();
        assert_eq!(info.partitions[0].high_offset, taken * 200, "nothing of it was kept");
        let stored = log.producer_state(&context(), &topic(), 0, "shop").await.unwrap();
        assert_eq!(stored, Some(state("shop", taken)));
    }
    make_room();
    assert_eq!(append(taken).await.unwrap().first_offset, taken * 200, "goes on by itself");
    let expected: Vec<i64> = (0..(taken as i64 + 1) * 200).collect();
    log.close().await;
    let log = open().await.unwrap();
    let found = read_all(&*log, &context(), 0, 0).await.unwrap();
    assert_eq!(found.iter().flat_map(|one| ids(&one.batch)).collect::<Vec<_>>(), expected);
    log.close().await;
}

#[tokio::test]
async fn limited_child() {
    let Ok(folder) = std::env::var(CHILD_FOLDER) else { return };
    let hard = getrlimit(Resource::Fsize).maximum;
    fill_and_go_on(&folder, || setrlimit(Resource::Fsize, Rlimit { current: hard, maximum: hard }).unwrap())
        .await;
}

#[test]
fn a_limit_on_file_size_is_a_full_disk() {
    let folder = folder();
    let script = r#"trap "" XFSZ; ulimit -S -f 100; exec "$0" "$@""#;
    assert_passed(&run_child(script, "disk_full::limited_child", folder.path()));
}

#[tokio::test]
async fn small_file_system_child() {
    let Ok(folder) = std::env::var(CHILD_FOLDER) else { return };
    let ballast = Path::new(&folder).join("ballast");
    std::fs::write(&ballast, vec![1; 900 << 10]).unwrap();
    let log = Path::new(&folder).join("log");
    fill_and_go_on(log.to_str().unwrap(), || std::fs::remove_file(&ballast).unwrap()).await;
}

#[test]
fn a_full_file_system_is_a_full_disk() {
    let folder = folder();
    // In a mount namespace of its own, so that nothing is left mounted.
    let script = r#"exec unshare -m sh -c 'mount -t tmpfs -o size=1m tarn "$TARN_EVENTLOG_FULL_FOLDER" || exit 77; exec "$0" "$@"' "$0" "$@""#;
    let output = run_child(script, "disk_full::small_file_system_child", folder.path());
    if String::from_utf8_lossy(&output.stdout).contains("running 1 test") {
        assert_passed(&output);
    } else {
        println!("not run: this machine does not let the test mount a file system");
    }
}

#[tokio::test]
async fn a_full_disk_at_the_start_of_a_segment_loses_nothing() {
    // The folder of the partition cannot take the new segment: a folder stands where its file would be written.
    let mut rig = Rig::new(crate::rig::small_segments()).await;
    let mut next = 0;
    let mut blocked = None;
    for _ in 0..60 {
        if blocked.is_none() {
            let folder = crate::rig::segments(rig.path())[0].parent().unwrap().to_path_buf();
            for offset in next..next + 400 {
                std::fs::create_dir_all(folder.join(format!("{offset:020}.new"))).unwrap();
            }
            blocked = Some(folder);
        }
        match rig.append(rows(next..next + 20)).await {
            Ok(_) => next += 20,
            Err(error) => {
                assert!(matches!(error, EventLogError::Io { .. }), "{error:?}");
                break;
            }
        }
    }
    assert!(next > 20);
    let again = rig.append(rows(next..next + 20)).await;
    assert!(again.is_err(), "still blocked");
    for entry in std::fs::read_dir(blocked.unwrap()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            std::fs::remove_dir(path).unwrap();
        }
    }
    rig.append(rows(next..next + 20)).await.unwrap();
    assert_eq!(rig.all_ids().await, (0..next + 20).collect::<Vec<_>>());
    rig.reopen().await;
    assert_eq!(rig.all_ids().await, (0..next + 20).collect::<Vec<_>>());
}
