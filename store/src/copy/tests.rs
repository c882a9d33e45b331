//! Copies between images of a format made for the purpose, compared with what a plain reading of
//! the sources says.

use std::path::Path;
use std::sync::{Arc, Mutex};

use formats::codec::Decoder;
use formats::driver::Durability;
use formats::{
    Allocation, Codec, Compression, Driver, Format, FormatDetails, GuestOffset, Holes, HostOffset, Image,
    ImageFile, Mapping, Result, Target, Writer, engine,
};
use journal::sim::{Fault, Lasting};
use journal::{Disk, Fs, OpenOptions, SimFs, Zeroing};

use super::{Beneath, Copy, Method, Unreadable};
use crate::NoProgress;

/// What a unit of the test format is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Unallocated,
    Zero,
    Data,
}

/// A format in which each unit of the disk is data at its own offset, zero, or not there.
#[derive(Debug, Clone)]
struct TestFormat {
    disk: Arc<dyn Disk>,
    size: u64,
    unit: u64,
    units: Arc<Mutex<Vec<Unit>>>,
}

impl TestFormat {
    fn set(&self, at: GuestOffset, len: u64, to: Unit) {
        assert!(at.is_aligned(self.unit) && (len.is_multiple_of(self.unit) || at.0 + len == self.size));
        let mut units = self.units.lock().unwrap();
        for index in at.0 / self.unit..(at.0 + len).div_ceil(self.unit) {
            units[index as usize] = to;
        }
    }

    fn units(&self) -> Vec<Unit> {
        self.units.lock().unwrap().clone()
    }
}

impl Driver for TestFormat {
    fn format(&self) -> Format {
        Format::Raw
    }

    fn virtual_size(&self) -> u64 {
        self.size
    }

    fn map(&self, at: GuestOffset, len: u64) -> Result<Mapping> {
        let len = len.min(self.unit - at.0 % self.unit);
        let offset = HostOffset(at.0);
        let target = match self.units()[(at.0 / self.unit) as usize] {
            Unit::Unallocated => Target::Unallocated { host: None },
            Unit::Zero => Target::Zero { host: None },
            Unit::Data => Target::Data { disk: Arc::clone(&self.disk), offset, holes: Holes::Ignored },
        };
        Ok(Mapping { len, target })
    }

    fn details(&self) -> Result<FormatDetails> {
        Ok(FormatDetails::default())
    }

    fn files(&self) -> Vec<ImageFile> {
        Vec::new()
    }

    fn writer(&self) -> Option<&dyn Writer> {
        Some(self)
    }
}

impl Writer for TestFormat {
    fn granularity(&self) -> u64 {
        self.unit
    }

    fn prepare(&self, at: GuestOffset, len: u64) -> Result<Allocation> {
        // Short runs, so that several are needed.
        let len = len.min(3 * self.unit - at.0 % self.unit);
        Ok(Allocation { at, len, disk: Arc::clone(&self.disk), offset: HostOffset(at.0) })
    }

    fn link(&self, allocation: &Allocation) -> Result<()> {
        self.set(allocation.at, allocation.len, Unit::Data);
        Ok(())
    }

    fn zero(&self, at: GuestOffset, len: u64, _how: Zeroing) -> Result<()> {
        self.set(at, len, Unit::Zero);
        Ok(())
    }

    fn discard(&self, at: GuestOffset, len: u64) -> Result<()> {
        self.set(at, len, Unit::Unallocated);
        Ok(())
    }

    fn compression(&self) -> Option<Compression> {
        Some(Compression { stream: Codec::Deflate.into(), cluster_size: self.unit, max_len: self.unit - 1 })
    }

    fn write_compressed(&self, at: GuestOffset, payload: &[u8]) -> Result<()> {
        let mut cluster = vec![0; self.unit as usize];
        Decoder::default().decode(Codec::Deflate, payload, &mut cluster)?;
        cluster.truncate((self.size - at.0).min(self.unit) as usize);
        self.disk.write_at(at.0, &cluster)?;
        self.set(at, cluster.len() as u64, Unit::Data);
        Ok(())
    }

    fn commit(&self, _durability: Durability) -> Result<()> {
        Ok(())
    }
}

/// A generator of numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

struct Made {
    image: Image,
    format: TestFormat,
}

fn disk(fs: &SimFs, name: &str) -> Arc<dyn Disk> {
    fs.add_file(name, &[]);
    fs.open(Path::new(name), OpenOptions::WRITE).unwrap()
}

fn empty(fs: &SimFs, name: &str, size: u64, unit: u64, backing: Option<Arc<Image>>) -> Made {
    let units = vec![Unit::Unallocated; size.div_ceil(unit) as usize];
    let format = TestFormat { disk: disk(fs, name), size, unit, units: Arc::new(Mutex::new(units)) };
    Made { image: Image::new(name.to_owned(), Box::new(format.clone()), backing), format }
}

/// An image whose units are of all kinds, some data units being zeroes in part or wholly.
fn motley(fs: &SimFs, name: &str, size: u64, unit: u64, backing: Option<Arc<Image>>, seed: u64) -> Made {
    let made = empty(fs, name, size, unit, backing);
    let mut numbers = Numbers(seed);
    for index in 0..size.div_ceil(unit) {
        let at = index * unit;
        let len = unit.min(size - at);
        match numbers.below(5) {
            0 => {}
            1 => made.format.set(GuestOffset(at), len, Unit::Zero),
            kind => {
                let mut bytes = vec![0; len as usize];
                if kind > 2 {
                    let from = numbers.below(len) as usize;
                    bytes[from..].fill(numbers.below(255) as u8 + 1);
                }
                made.format.disk.write_at(at, &bytes).unwrap();
                made.format.set(GuestOffset(at), len, Unit::Data);
            }
        }
    }
    made
}

fn content(image: &Image) -> Vec<u8> {
    let mut bytes = vec![0; image.virtual_size() as usize];
    engine::read(image, 0, &mut bytes).unwrap();
    bytes
}

fn copy<'a>(sources: &'a [Image], target: &'a Image, beneath: Beneath<'a>, method: Method) -> Copy<'a> {
    Copy {
        sources,
        skip: 0,
        len: sources.iter().map(Image::virtual_size).sum(),
        target,
        beneath,
        method,
        min_sparse: 4096,
        unreadable: Unreadable::Fails,
        workers: 3,
        rate: None,
    }
}

const SIZE: u64 = 5 * (1 << 20) + 512 * 77;

#[test]
fn several_sources_end_up_one_after_another() {
    for (number, unit) in [512, 4096, 65536, 1 << 20].into_iter().enumerate() {
        for method in [Method::Plain, Method::Compressed, Method::Offload] {
            for min_sparse in [0, 512, 4096, 1 << 18] {
                let fs = SimFs::new();
                let sources = [
                    motley(&fs, "/a", SIZE, 2048, None, number as u64).image,
                    motley(&fs, "/b", 512 * 333, 512, None, 7).image,
                ];
                let target = empty(&fs, "/t", SIZE + 512 * 333, unit, None);
                let copy = Copy { min_sparse, ..copy(&sources, &target.image, Beneath::Zeroes, method) };
                copy.run(&NoProgress).unwrap();
                let expected = [content(&sources[0]), content(&sources[1])].concat();
                assert!(content(&target.image) == expected, "unit {unit} {method:?} min_sparse {min_sparse}");
                if min_sparse == 0 && method != Method::Compressed {
                    assert!(target.format.units().iter().all(|unit| *unit == Unit::Data));
                }
            }
        }
    }
}

#[test]
fn what_the_backing_image_shows_is_not_copied() {
    for (unit, source_unit) in [(4096, 4096), (65536, 4096), (512, 65536)] {
        for method in [Method::Plain, Method::Compressed] {
            let fs = SimFs::new();
            // The backing image ends in the middle of the overlays.
            let base = Arc::new(motley(&fs, "/base", SIZE - 512 * 1001, 4096, None, 3).image);
            let source = motley(&fs, "/s", SIZE, source_unit, Some(Arc::clone(&base)), 4);
            let target = empty(&fs, "/t", SIZE, unit, Some(Arc::clone(&base)));
            let sources = [source.image];
            let beneath = Beneath::Backing(base.virtual_size());
            copy(&sources, &target.image, beneath, method).run(&NoProgress).unwrap();
            assert!(
                content(&target.image) == content(&sources[0]),
                "unit {unit} of {source_unit} {method:?}"
            );
            if unit == source_unit {
                let pairs = source.format.units().into_iter().zip(target.format.units());
                let copied = pairs.filter(|pair| matches!(pair, (Unit::Unallocated, Unit::Data)));
                assert_eq!(copied.count(), 0);
            }
        }
    }
}

#[test]
fn zeroes_are_written_over_what_is_not_known() {
    let fs = SimFs::new();
    let sources = [motley(&fs, "/s", SIZE, 4096, None, 11).image];
    let target = motley(&fs, "/t", SIZE, 65536, None, 12);
    copy(&sources, &target.image, Beneath::Unknown, Method::Plain).run(&NoProgress).unwrap();
    assert!(content(&target.image) == content(&sources[0]));
}

#[test]
fn a_part_of_the_source_goes_to_the_start_of_the_target() {
    let fs = SimFs::new();
    let sources = [motley(&fs, "/s", SIZE, 4096, None, 5).image];
    for (skip, len) in [(0, 1000), (512 * 3 + 1, 100_000), (SIZE - 7, 7), (3 << 20, 0)] {
        let target = empty(&fs, "/t", SIZE, 65536, None);
        let copy = Copy { skip, len, ..copy(&sources, &target.image, Beneath::Zeroes, Method::Plain) };
        copy.run(&NoProgress).unwrap();
        let mut expected = content(&sources[0])[skip as usize..(skip + len) as usize].to_vec();
        expected.resize(SIZE as usize, 0);
        assert!(content(&target.image) == expected, "{len} bytes from {skip}");
    }
}

#[test]
fn unreadable_sectors_become_zeroes_and_are_told() {
    let fs = SimFs::new();
    let source = empty(&fs, "/s", 4 * 4096, 4096, None);
    source.format.disk.write_at(0, &[7; 4 * 4096]).unwrap();
    source.format.set(GuestOffset(0), 4 * 4096, Unit::Data);
    let sources = [source.image];
    let target = empty(&fs, "/t", 4 * 4096, 4096, None);
    let told = Mutex::new(0);
    let tell = |_: u64, _: &formats::Error| *told.lock().unwrap() += 1;
    let calls = fs.calls();
    fs.fail_at(calls + 1, Fault::Io, Lasting::Once);
    let copy = Copy {
        unreadable: Unreadable::BecomesZeroes(&tell),
        workers: 1,
        ..copy(&sources, &target.image, Beneath::Zeroes, Method::Plain)
    };
    copy.run(&NoProgress).unwrap();
    // The failure was of the first try only, so sector by sector everything is there.
    assert!(content(&target.image) == [7; 4 * 4096] && *told.lock().unwrap() == 0);
}
