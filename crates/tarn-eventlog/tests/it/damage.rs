//! Torn tails are cut off, damage is reported, and wrong rows are never given.

use std::fs::OpenOptions;
use std::path::Path;
use std::sync::Arc;

use tarn_core::Env;
use tarn_eventlog::{Append, Compression, EventLog, EventLogConfig, EventLogError, ReadLimits, SegmentLog};

use crate::rig::{Rig, context, copy, folder, ids, rows, segments, small_segments, state, topic};

async fn open(folder: &Path) -> Arc<SegmentLog> {
    SegmentLog::open(folder, EventLogConfig::default(), Env::system()).await.unwrap()
}

/// Ids from the start up to the end or the first error.
async fn readable(log: &SegmentLog) -> (Vec<i64>, Option<EventLogError>) {
    let mut found = Vec::new();
    loop {
        match log.read(&context(), &topic(), 0, found.len() as u64, ReadLimits::default()).await {
            Ok(read) if read.batches.is_empty() => return (found, None),
            Ok(read) => found.extend(read.batches.iter().flat_map(|one| ids(&one.batch))),
            Err(error) => return (found, Some(error)),
        }
    }
}

/// A log of `appends` appends of 3 rows, each flushed by itself; returns the length of the newest segment before the
/// last append.
async fn written(rig: &Rig, appends: i64) -> u64 {
    let mut before = 0;
    for i in 0..appends {
        before = std::fs::metadata(segments(rig.path()).last().unwrap()).unwrap().len();
        rig.append_as("shop", i as u64 + 1, i * 3..i * 3 + 3).await.unwrap();
    }
    rig.log.close().await;
    before
}

async fn check_cut(original: &Path, damage: impl FnOnce(&Path), what: &str) {
    let torn = folder();
    copy(original, torn.path());
    damage(segments(torn.path()).last().unwrap());
    let log = open(torn.path()).await;
    let (found, error) = readable(&log).await;
    assert!(error.is_none(), "{what}: {error:?}");
    assert_eq!(found, (0..9).collect::<Vec<_>>(), "{what}");
    let stored = log.producer_state(&context(), &topic(), 0, "shop").await.unwrap();
    assert_eq!(stored, Some(state("shop", 3)), "{what}: the state goes with its rows");
    let append = Append { batch: rows(9..12), state: Some(state("shop", 4)) };
    assert_eq!(log.append(&context(), &topic(), 0, append).await.unwrap().first_offset, 9, "{what}");
    log.close().await;
    let log = open(torn.path()).await;
    assert_eq!(readable(&log).await.0, (0..12).collect::<Vec<_>>(), "{what}");
    log.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_torn_at_any_byte_is_cut_off() {
    let rig = Rig::new(EventLogConfig::default()).await;
    let before = written(&rig, 4).await;
    let whole = std::fs::metadata(&segments(rig.path())[0]).unwrap().len();
    assert!(whole - before > 200);
    for len in before..whole {
        let cut = |path: &Path| OpenOptions::new().write(true).open(path).unwrap().set_len(len).unwrap();
        check_cut(rig.path(), cut, &format!("cut at {len} of {before}..{whole}")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_of_zeros_or_noise_is_cut_off() {
    let rig = Rig::new(EventLogConfig::default()).await;
    let before = written(&rig, 4).await as usize;
    let whole = std::fs::read(&segments(rig.path())[0]).unwrap();
    // A crash may leave the length without the bytes, from any block on.
    for from in [before, before + 4, before + 80, before + 96, whole.len() - 20] {
        for byte in [0_u8, 0xA5] {
            let mut bytes = whole.clone();
            bytes[from..].fill(byte);
            bytes.extend([byte; 5_000]);
            let replace = |path: &Path| std::fs::write(path, &bytes).unwrap();
            check_cut(rig.path(), replace, &format!("{byte:#x} from {from}")).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_never_gives_wrong_rows_and_never_loses_flushed_ones_silently() {
    for compression in [Compression::None, Compression::Lz4] {
        let rig = Rig::new(EventLogConfig { compression, ..EventLogConfig::default() }).await;
        let before = written(&rig, 4).await as usize;
        let whole = std::fs::read(&segments(rig.path())[0]).unwrap();
        let flipped = folder();
        let (mut reported, mut cut) = (0, 0);
        for (at, bit) in (0..whole.len()).map(|at| (at, at % 8)) {
            let _ = std::fs::remove_dir_all(flipped.path().join("main"));
            copy(rig.path(), flipped.path());
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            std::fs::write(&segments(flipped.path())[0], &bytes).unwrap();
            let log = open(flipped.path()).await;
            let (found, error) = readable(&log).await;
            assert!(found.iter().copied().eq(0..found.len() as i64), "byte {at}: rows are a prefix");
            match error {
                Some(EventLogError::CorruptSegment { .. }) => reported += 1,
                Some(other) => panic!("byte {at}: {other}"),
                None if found.len() == 12 => {}
                None => {
                    assert!(
                        at >= before && found.len() == 9,
                        "byte {at}: flushed rows are missing, no error"
                    );
                    cut += 1;
                }
            }
            log.close().await;
        }
        assert!(reported > before / 2, "{reported} of {before} bytes");
        assert!(cut > (whole.len() - before) / 2, "{cut}");
    }
}

#[tokio::test]
async fn a_damaged_partition_gives_what_is_before_and_takes_nothing() {
    let rig = Rig::new(EventLogConfig::default()).await;
    written(&rig, 4).await;
    let path = segments(rig.path())[0].clone();
    let mut bytes = std::fs::read(&path).unwrap();
    // The header of the second append's frame: behind the first append and its schema.
    let second = (bytes.len() / 2..).step_by(16).find(|at| &bytes[*at..at + 4] == b"TFR1").unwrap();
    bytes[second + 40] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let log = open(rig.path()).await;
    let (found, error) = readable(&log).await;
    assert!(!found.is_empty() && found.len() < 12);
    let is_there = |error: &EventLogError| matches!(error, EventLogError::CorruptSegment { at, .. } if *at == second as u64);
    assert!(error.as_ref().is_some_and(is_there), "{error:?}");
    let append = log.append(&context(), &topic(), 0, Append { batch: rows(0..1), state: None }).await;
    assert!(is_there(&append.unwrap_err()));
    let state = log.producer_state(&context(), &topic(), 0, "shop").await;
    assert!(is_there(&state.unwrap_err()), "an old state would make its producer write rows twice");
    log.close().await;
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "the damaged file is left as it is");
}

#[tokio::test]
async fn damage_in_a_sealed_segment_is_reported_where_it_is() {
    let rig = Rig::new(small_segments()).await;
    for i in 0..100 {
        rig.append(rows(i * 10..i * 10 + 10)).await.unwrap();
    }
    let all = segments(rig.path());
    assert!(all.len() > 4);
    rig.log.close().await;
    let second_first: i64 = all[1].file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let third_first: u64 = all[2].file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let original = std::fs::read(&all[1]).unwrap();
    let (last, middle) = (original.len() - 40, original.len() / 2);
    let mut damages: Vec<(String, Vec<u8>)> = Vec::new();
    for at in [3, 20, middle, last] {
        let mut bytes = original.clone();
        bytes[at] ^= 4;
        damages.push((format!("flip at {at}"), bytes));
    }
    for len in [0, 30, 64, middle] {
        damages.push((format!("cut at {len}"), original[..len].to_vec()));
    }
    for (what, bytes) in damages {
        std::fs::write(&all[1], &bytes).unwrap();
        let log = open(rig.path()).await;
        let (found, error) = readable(&log).await;
        assert!(found.len() as i64 >= second_first && (found.len() as u64) < third_first, "{what}");
        assert!(
            matches!(
                error,
                Some(EventLogError::CorruptSegment { .. } | EventLogError::OffsetOutOfRange { .. })
            ),
            "{what}: {error:?}"
        );
        let beyond = log.read(&context(), &topic(), 0, third_first, ReadLimits::default()).await.unwrap();
        assert_eq!(ids(&beyond.batches[0].batch)[0], third_first as i64, "{what}");
        log.append(&context(), &topic(), 0, Append { batch: rows(1_000..1_001), state: None }).await.unwrap();
        log.close().await;
    }
    std::fs::remove_file(&all[1]).unwrap();
    let log = open(rig.path()).await;
    let (found, error) = readable(&log).await;
    assert_eq!(found.len() as i64, second_first);
    assert!(
        matches!(error, Some(EventLogError::OffsetOutOfRange { low, .. }) if low == third_first),
        "{error:?}"
    );
    log.close().await;
}

#[tokio::test]
async fn a_stored_copy_of_a_segment_is_not_taken_for_frames() {
    use arrow::array::{ArrayRef, BinaryArray, RecordBatch};
    let config = EventLogConfig { compression: Compression::None, ..EventLogConfig::default() };
    let rig = Rig::new(config).await;
    for i in 0..4 {
        rig.append(rows(i..i + 1)).await.unwrap();
    }
    let path = segments(rig.path())[0].clone();
    let before = std::fs::metadata(&path).unwrap().len();
    let copies = BinaryArray::from_vec(vec![&std::fs::read(&path).unwrap(); 3]);
    let batch = RecordBatch::try_from_iter([("segment", Arc::new(copies) as ArrayRef)]).unwrap();
    rig.append(batch).await.unwrap();
    rig.log.close().await;
    // Tear the frame that holds the copies: nothing behind its header may count as proof.
    let mut bytes = std::fs::read(&path).unwrap();
    let schema = bytes[before as usize..].windows(4).skip(1).step_by(1).position(|w| w == b"TFR1").unwrap();
    bytes[before as usize + 1 + schema] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let log = open(rig.path()).await;
    let read = log.read(&context(), &topic(), 0, 0, ReadLimits::default()).await.unwrap();
    assert_eq!((read.next_offset, read.high_offset), (4, 4));
    log.append(&context(), &topic(), 0, Append { batch: rows(4..5), state: None }).await.unwrap();
    log.close().await;
}

#[tokio::test]
async fn a_damaged_description_of_a_topic_is_named() {
    let rig = Rig::new(EventLogConfig::default()).await;
    rig.log.close().await;
    let path = rig.path().join("main").join(topic().as_str()).join("meta.json");
    std::fs::write(&path, b"{\"version\":1").unwrap();
    let error = SegmentLog::open(rig.path(), EventLogConfig::default(), Env::system()).await.unwrap_err();
    let EventLogError::CorruptSegment { path: named, .. } = error else { panic!("{error}") };
    assert!(named.ends_with("meta.json"), "{named}");
}
