use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::*;
use crate::PageHash;
use crate::hash_page;

/// A database of pages that all differ; only its page size is right.
fn database(page_size: u32, pages: u32) -> Vec<u8> {
    let size = page_size as usize;
    let mut bytes = vec![0; size * pages as usize];
    for (number, page) in bytes.chunks_exact_mut(size).enumerate() {
        page[..8].copy_from_slice(&(number as u64 + 1).to_le_bytes());
        page[size - 1] = 7;
    }
    let stored = if page_size == 65_536 { 1 } else { page_size as u16 };
    bytes[16..18].copy_from_slice(&stored.to_be_bytes());
    bytes
}

#[expect(clippy::disallowed_methods, reason = "a file of this test")]
fn open(path: &Path) -> File {
    File::options().read(true).write(true).create(true).truncate(false).open(path).unwrap()
}

fn header(page_size: u32, pages: u32) -> Header {
    Header {
        litekeeper: "0.1.0".to_owned(),
        backup: "books.backup".to_owned(),
        origin: Origin { path: "/srv/\"books\"\n.db".to_owned(), ..Origin::default() },
        page_size,
        pages,
        file_size: u64::from(page_size) * u64::from(pages),
        ..Header::default()
    }
}

/// Writes the manifest of a database in pieces of so many bytes, the first one first and the others
/// from the end.
fn write(path: &Path, page_size: u32, pages: u32, piece: usize) {
    let bytes = database(page_size, pages);
    let writer = ManifestWriter::new(open(path), &header(0, 0)).unwrap();
    let mut pieces: Vec<(usize, &[u8])> = bytes.chunks(piece).enumerate().collect();
    pieces[1..].reverse();
    for (number, bytes) in pieces {
        writer.write((number * piece) as u64, bytes).unwrap();
    }
    assert!(writer.has_page_size(page_size));
    writer.finish(&header(page_size, pages)).unwrap();
}

fn compare(manifest: &Manifest, bytes: &[u8]) -> Compared {
    let blocks = |number: u64| manifest.block(number);
    let mut comparer = Comparer::new(&blocks, manifest.header().page_size, manifest.header().pages);
    bytes.chunks(1 << 20).for_each(|piece| comparer.update(piece));
    comparer.finish()
}

#[test]
fn a_manifest_is_read_as_it_was_written_with_every_page_size() {
    let directory = tempfile::tempdir().unwrap();
    for page_size in [512, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536] {
        for pages in [1, 510, 511, 512, 1200] {
            if page_size * pages > 8 << 20 {
                continue;
            }
            let path = directory.path().join(format!("{page_size}-{pages}"));
            write(&path, page_size, pages, 65_536 * 4);
            let manifest = Manifest::read(open(&path)).unwrap();
            assert_eq!(*manifest.header(), header(page_size, pages));
            manifest.check().unwrap();
            let bytes = database(page_size, pages);
            let compared = compare(&manifest, &bytes);
            assert_eq!((compared.equal, compared.different, compared.unknown), (pages, 0, 0), "{page_size}");
            let last = &bytes[bytes.len() - page_size as usize..];
            assert_eq!(manifest.hash_of(pages).unwrap(), Some(hash_page(last)));
            assert_eq!(manifest.hash_of(pages + 1).unwrap(), None);
            assert_eq!(manifest.hash_of(0).unwrap(), None);
            let length = std::fs::metadata(&path).unwrap().len();
            assert_eq!(length, 4096 + u64::from(pages).div_ceil(511) * 4096);
        }
    }
}

#[test]
fn each_change_of_a_backup_is_found_and_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("manifest");
    write(&path, 4096, 600, 1 << 20);
    let manifest = Manifest::read(open(&path)).unwrap();
    let change = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = database(4096, 600);
        change(&mut bytes);
        let compared = compare(&manifest, &bytes);
        assert_eq!(compared.equal + compared.different, 600);
        (compared.different, compared.first_different)
    };
    assert_eq!(change(&|bytes| bytes[8191] ^= 1), (1, vec![2]), "a bit of page 2");
    assert_eq!(change(&|bytes| bytes[4096 * 599..].fill(0)), (1, vec![600]), "the last page");
    let swap = |bytes: &mut Vec<u8>| {
        let (first, second) = bytes.split_at_mut(4096 * 550);
        first[4096 * 3..4096 * 4].swap_with_slice(&mut second[..4096]);
    };
    assert_eq!(change(&swap), (2, vec![4, 551]), "two pages in two blocks are swapped");
    assert_eq!(change(&|bytes| bytes.truncate(4096 * 598 + 10)), (2, vec![599, 600]), "truncated");
    assert_eq!(change(&|bytes| bytes.clear()).0, 600);
    // Bytes after the last page count for the hash of the file.
    let longer = [database(4096, 600), vec![0; 100]].concat();
    let compared = compare(&manifest, &longer);
    assert_eq!((compared.equal, compared.different), (600, 0));
    assert_ne!(compared.sha256, compare(&manifest, &database(4096, 600)).sha256);
}

#[test]
fn the_hash_of_the_file_is_that_of_sha256sum() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("manifest");
    write(&path, 512, 1, 512);
    let compared = compare(&Manifest::read(open(&path)).unwrap(), b"abc");
    assert_eq!(compared.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a file of this test")]
fn a_damaged_manifest_is_no_damaged_backup() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("manifest");
    write(&path, 512, 1200, 65_536);
    let sound = std::fs::read(&path).unwrap();
    let spoiled = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = sound.clone();
        change(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
        Manifest::read(open(&path))
    };
    for at in [0, 20, 23, 30, 4000, 4079, 4095] {
        let read = spoiled(&|bytes| bytes[at] ^= 1);
        assert!(matches!(read, Err(ManifestError::Damaged(_) | ManifestError::Newer(_))), "{at}: {read:?}");
    }
    for length in [0, 63, 4095] {
        let read = spoiled(&|bytes| bytes.truncate(length));
        assert!(matches!(read, Err(ManifestError::Damaged(_))), "{length}: {read:?}");
    }
    let newer = spoiled(&|bytes| bytes[20] = b'2');
    assert!(matches!(newer, Err(ManifestError::Newer(2))), "{newer:?}");
    // A hash in the second of three blocks: its 511 pages are unknown, and no page is different.
    let manifest = spoiled(&|bytes| bytes[4096 * 2 + 100] ^= 1).unwrap();
    assert!(matches!(manifest.check(), Err(ManifestError::Damaged(_))));
    let compared = compare(&manifest, &database(512, 1200));
    assert_eq!((compared.equal, compared.different, compared.unknown), (1200 - 511, 0, 511));
    assert!(matches!(manifest.hash_of(600), Err(ManifestError::Damaged(_))));
    assert!(matches!(manifest.hash_of(1), Ok(Some(_))));
    // Two blocks that changed places, each of them sound.
    let manifest = spoiled(&|bytes| {
        let (first, second) = bytes.split_at_mut(4096 * 2);
        first[4096..].swap_with_slice(&mut second[..4096]);
    });
    assert!(matches!(manifest.unwrap().check(), Err(ManifestError::Damaged(_))));
}

#[test]
fn a_copy_that_begins_again_leaves_no_hash_of_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("manifest");
    let writer = ManifestWriter::new(open(&path), &header(0, 0)).unwrap();
    writer.write(0, &database(512, 2000)).unwrap();
    writer.restart();
    let bytes = database(1024, 300);
    writer.write(0, &bytes).unwrap();
    assert!(writer.has_page_size(1024) && !writer.has_page_size(512));
    writer.finish(&header(1024, 300)).unwrap();
    let manifest = Manifest::read(open(&path)).unwrap();
    assert_eq!(compare(&manifest, &bytes).equal, 300);
    assert!(manifest.block(0).unwrap()[300..].iter().all(Option::is_none));
    // Without a new begin, the hashes are of pages of two sizes.
    writer.write(0, &database(512, 1)).unwrap();
    assert!(!writer.has_page_size(1024) && !writer.has_page_size(512));
}

#[test]
fn the_page_of_the_lock_bytes_is_never_compared() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("manifest");
    let writer = ManifestWriter::new(open(&path), &header(0, 0)).unwrap();
    writer.write(0, &database(65_536, 1)).unwrap();
    let (lock, pages) = (lock_page(65_536), 16_386);
    assert_eq!((lock, lock_page(512), lock_page(4096)), (16_385, 2_097_153, 262_145));
    let three = [1_u8, 2, 3].map(|byte| vec![byte; 65_536]).concat();
    writer.write(u64::from(lock - 2) * 65_536, &three).unwrap();
    writer.finish(&header(65_536, pages)).unwrap();
    let manifest = Manifest::read(open(&path)).unwrap();
    let known = |page: u32| manifest.hash_of(page).unwrap().map(PageHash::stored);
    assert_eq!(known(lock), None);
    assert_eq!(known(lock - 1), Some(hash_page(&[1; 65_536]).stored()));
    assert_eq!(known(lock + 1), Some(hash_page(&[3; 65_536]).stored()));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a file of this test")]
fn a_header_is_text_for_a_person() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("manifest");
    write(&path, 512, 3, 512 * 3);
    let bytes = std::fs::read(&path).unwrap();
    let text = String::from_utf8(bytes[..4096].to_vec()).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("litekeeper-manifest 1 4096"));
    let second = lines.next().unwrap();
    let json = &second[..=second.rfind('}').unwrap()];
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!((&json["pages"], &json["path"]), (&3.into(), &"/srv/\"books\"\n.db".into()));
    // A header that is longer gets more blocks.
    let long = Header { backup: "x".repeat(5000), ..header(512, 3) };
    let longer = directory.path().join("longer");
    let writer = ManifestWriter::new(open(&longer), &long).unwrap();
    writer.write(0, &database(512, 3)).unwrap();
    writer.finish(&long).unwrap();
    assert_eq!(*Manifest::read(open(&longer)).unwrap().header(), long);
    let file = open(&longer);
    file.write_all_at(b"99999999", 22).unwrap();
    assert!(matches!(Manifest::read(file), Err(ManifestError::Damaged(_))));
}
