//! One flipped bit anywhere in a directory costs one record at most.

use crate::mutants::Mutant;
use crate::tests::{Table, below, directory, file_bytes, load};
use crate::{Disk as _, MemoryDisk, Storage, examine};

/// What a start reads, and whether it found damage.
fn read(disk: MemoryDisk, mutant: Option<Mutant>) -> (Table, bool) {
    let mut storage = Storage::open(disk, 3).unwrap();
    storage.set_mutant(mutant);
    let (loaded, table) = load(&mut storage).unwrap();
    let is_torn = loaded.journals.iter().any(|journal| journal.torn_bytes > 0);
    (table, is_torn || !loaded.findings.is_empty())
}

/// Flips one bit and reads. Tells what was lost, or what is wrong with what was read.
fn flip(
    sound: &MemoryDisk,
    (whole, files): (&Table, &[(String, Vec<u8>)]),
    (file, bit): (usize, usize),
    mutant: Option<Mutant>,
) -> Result<usize, String> {
    let (name, bytes) = &files[file];
    let mut disk = sound.clone();
    disk.write(name, bit as u64 / 8, &[bytes[bit / 8] ^ (1 << (bit % 8))]).unwrap();
    let (read, is_found) = read(disk.clone(), mutant);
    let fail = |what: &str| Err(format!("{what} after bit {bit} of {name}"));
    if !read.iter().all(|(key, number)| whole.get(key) == Some(number)) {
        return fail("what was read was never written");
    }
    if whole.len() - read.len() > 1 {
        return fail("more than one record is lost");
    }
    if !is_found {
        return fail("nothing is found");
    }
    let storage = Storage::open(disk.clone(), 3).unwrap();
    if storage.identity().map(|identity| identity.incarnation) != Some(7) {
        return fail("the incarnation is lost");
    }
    let mut seen = 0;
    examine(&mut disk, |_| seen += 1).unwrap();
    if mutant.is_none() && seen != read.len() {
        return fail("an examination reads something else");
    }
    Ok(whole.len() - read.len())
}

fn prepare(records: u8) -> (MemoryDisk, Table, Vec<(String, Vec<u8>)>) {
    let mut sound = directory(records);
    let (whole, is_damaged) = read(sound.clone(), None);
    assert!(!is_damaged && whole.len() == usize::from(records));
    let names = sound.names().unwrap();
    let files = names.into_iter().map(|name| (name.clone(), file_bytes(&mut sound, &name)));
    let files = files.collect();
    (sound, whole, files)
}

/// Every bit of every file of a small directory.
fn flip_every_bit(mutant: Option<Mutant>) -> Result<(), String> {
    let (sound, whole, files) = prepare(5);
    for (file, (name, bytes)) in files.iter().enumerate() {
        let mut lost = 0;
        for bit in 0..8 * bytes.len() {
            lost += flip(&sound, (&whole, &files), (file, bit), mutant)?;
        }
        // Each bit of a record costs that record, and no other costs anything.
        assert_eq!(lost == 0, name == "identity", "{lost} of {name}");
    }
    Ok(())
}

#[test]
fn one_flipped_bit_anywhere_costs_one_record_at_most() {
    flip_every_bit(None).unwrap();
}

#[test]
fn one_flipped_bit_of_a_larger_directory_costs_one_record_at_most() {
    // Records of some bytes and of some thousands.
    let (sound, whole, files) = prepare(80);
    let mut seed = 1;
    let mut below = below(&mut seed);
    for _ in 0..3_000 {
        // By their length, but the small file is not left out.
        let file = usize::from(below(10) > 0);
        let bit = below(8 * files[file].1.len());
        flip(&sound, (&whole, &files), (file, bit), None).unwrap();
    }
}

#[test]
fn recovery_that_gives_up_early_is_found() {
    for mutant in [Mutant::StopsAtDamage, Mutant::HeadRequired] {
        assert!(flip_every_bit(Some(mutant)).is_err(), "{mutant:?}");
    }
}

/// A value may be anything, the bytes of a record included. They are none of this directory's, since its key
/// is not known to who chose them.
#[test]
fn a_value_cannot_pass_for_records_when_its_own_record_is_damaged() {
    use crate::{Batch, Part};
    use herd_proto::Record;
    let record =
        |key, value| Record { key, effective_ns: 1, received_ns: 1, tombstone: true, value };
    let mut forged = Batch::default();
    forged.push(&record(b"victim", b""));
    let value = forged.sealed(0).to_vec();
    let mut storage = Storage::open(directory(0), 8).unwrap();
    load(&mut storage).unwrap();
    let mut batch = Batch::default();
    batch.push(&record(b"mallory", &value));
    batch.push(&record(b"kiwi", b""));
    storage.append(Part::Live, &mut batch).unwrap();
    let mut disk = storage.into_disk();
    let end = file_bytes(&mut disk, "journal-1").len() - batch.len();
    disk.write("journal-1", end as u64, b"????").unwrap();
    let (table, _) = read(disk, None);
    assert_eq!(table.into_keys().collect::<Vec<_>>(), [b"kiwi".to_vec()]);
}
