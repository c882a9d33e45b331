//! The scenarios of each operation.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::sync::Arc;

use formats::create::OptionList;
use formats::{Error, OpenContext, OpenFlags, Repair, Result};
use journal::sim::Frozen;
use journal::{Access, Zeroing};
use store::catalog::{Dependent, Role};
use store::ops::bitmap::{Action, ChangeBitmap};
use store::ops::check;
use store::ops::convert::{self, BitmapPolicy, Convert, Transfer, UnreadablePolicy};
use store::ops::create::{BackingTrust, Create};
use store::ops::dd::{self, Dd, Streams};
use store::ops::mv::Move;
use store::ops::snapshot;
use store::{ImageName, NewTarget, NoProgress};

use crate::damage::Damage;
use crate::scenario::{Foreign, Scenario, Watched, qcow2, raw};
use crate::subject::{
    BASE, Chain, Content, DATA, DataFile, SIDE, SOURCE, Shape, TOP, open_for_writing, put, writer, zero,
};

/// How many scenarios each operation has, at least.
const EACH: usize = 104;
/// How many shapes there are to choose from.
const POOL: usize = 800;

/// A shape and the tree in which it stands.
#[derive(Debug)]
struct Subject {
    shape: Shape,
    tree: Arc<Frozen>,
}

/// Every scenario of every operation.
pub fn all() -> Vec<Scenario> {
    let built = Shape::all(POOL).into_iter().map(|shape| {
        let tree = shape.build().unwrap_or_else(|error| panic!("{}: {}", shape.name(), error.report()));
        Subject { shape, tree: Arc::new(tree) }
    });
    let subjects: Vec<Subject> = built.collect();
    let mut scenarios = Vec::new();
    for family in FAMILIES {
        let suited = subjects.iter().filter_map(|subject| family(subject).map(|made| (subject, made)));
        for (number, (subject, mut made)) in suited.take(EACH).enumerate() {
            made.name = format!("{}/{number:03}-{}", made.name, subject.shape.name());
            scenarios.push(made);
        }
    }
    scenarios
}

/// Makes an operation's scenario of a subject, if it is one for it.
type Family = fn(&Subject) -> Option<Scenario>;

const FAMILIES: &[Family] = &[
    create_new,
    create_over,
    convert_new,
    convert_over,
    convert_raw,
    convert_existing,
    dd_existing,
    write_guest,
    several,
    move_base,
    snapshot_create,
    snapshot_apply,
    snapshot_delete,
    bitmap_add,
    bitmap_remove,
    bitmap_clear,
    bitmap_switch,
    bitmap_merge,
    bitmap_several,
    check_repair,
    check_leaks,
];

impl Subject {
    /// An operation on the image under test.
    fn scenario(
        &self,
        name: &str,
        images: Vec<Watched>,
        run: impl Fn(&OpenContext<'_>) -> Result<()> + Send + Sync + 'static,
    ) -> Scenario {
        let mut scenario = Scenario::new(name.to_owned(), self.tree.clone(), images, run);
        if self.shape.data != DataFile::None {
            scenario.foreign = Foreign::Anything;
        }
        scenario
    }

    /// The image under test, and its data file.
    fn images(&self) -> Vec<Watched> {
        let data = (self.shape.data != DataFile::None).then(|| raw(DATA));
        [qcow2(TOP)].into_iter().chain(data).collect()
    }
}

fn create_new(subject: &Subject) -> Option<Scenario> {
    let create = creation(subject, "/new");
    let plain = subject.shape.data == DataFile::None;
    plain.then(|| {
        subject.scenario("create", vec![qcow2("/new")], move |context| create.plan(context)?.run(context))
    })
}

fn create_over(subject: &Subject) -> Option<Scenario> {
    let mut create = creation(subject, TOP);
    create.size = Some(subject.shape.size + 4096);
    let plain = subject.shape.data == DataFile::None;
    plain.then(|| {
        subject.scenario("create-over", vec![qcow2(TOP)], move |context| create.plan(context)?.run(context))
    })
}

/// The making of an image of the subject's shape.
fn creation(subject: &Subject, path: &str) -> Create {
    let options = subject.shape.options();
    let (_, options) = options.split_once(',').unwrap_or_default();
    Create {
        filename: path.into(),
        format: "qcow2".to_owned(),
        options: list(options),
        size: Some(subject.shape.size),
        backing: None,
        backing_format: None,
        trust: BackingTrust::Verify,
    }
}

fn convert_new(subject: &Subject) -> Option<Scenario> {
    let options = format!("cluster_size={},refcount_bits={}", subject.shape.cluster, 16);
    let transfer = if subject.shape.seed.is_multiple_of(3) { Transfer::Compressed } else { Transfer::Plain };
    let target = new_target("/new", "qcow2", &options);
    Some(subject.scenario("convert", vec![qcow2("/new")], move |context| {
        conversion(TOP, "qcow2", convert::Target::New(target.clone()), transfer).run(context, &NoProgress)
    }))
}

fn convert_over(subject: &Subject) -> Option<Scenario> {
    let plain = subject.shape.data == DataFile::None && subject.shape.content != Content::Empty;
    let target = new_target(TOP, "qcow2", &format!("cluster_size={}", subject.shape.cluster));
    plain.then(|| {
        subject.scenario("convert-over", vec![qcow2(TOP)], move |context| {
            let target = convert::Target::New(target.clone());
            conversion(SOURCE, "raw", target, Transfer::Plain).run(context, &NoProgress)
        })
    })
}

fn convert_raw(subject: &Subject) -> Option<Scenario> {
    let target = new_target(SOURCE, "raw", "");
    Some(subject.scenario("convert-raw", vec![raw(SOURCE)], move |context| {
        conversion(TOP, "qcow2", convert::Target::New(target.clone()), Transfer::Plain)
            .run(context, &NoProgress)
    }))
}

fn convert_existing(subject: &Subject) -> Option<Scenario> {
    if subject.shape.data != DataFile::None {
        return None;
    }
    Some(subject.scenario("convert-n", subject.images(), |context| {
        let target = convert::Target::Existing {
            name: name(TOP, "qcow2"),
            flags: WRITE,
            content: convert::Content::Unknown,
        };
        conversion(SOURCE, "raw", target, Transfer::Plain).run(context, &NoProgress)
    }))
}

fn dd_existing(subject: &Subject) -> Option<Scenario> {
    if subject.shape.data != DataFile::None {
        return None;
    }
    Some(subject.scenario("dd", subject.images(), |context| {
        let dd = Dd {
            source: Some(name(SOURCE, "raw")),
            source_flags: OpenFlags::READ,
            snapshot: None,
            target: dd::Target::Existing { name: name(TOP, "qcow2"), flags: WRITE },
            block_size: 512,
            count: Some(24),
            skip: 3,
            input_size: None,
            output_size: None,
        };
        dd.run(context, Streams { input: &mut std::io::empty(), output: &mut std::io::sink() })
    }))
}

/// Writes of every kind, as operations are made of them.
fn write_guest(subject: &Subject) -> Option<Scenario> {
    let (cluster, size, seed) = (subject.shape.cluster, subject.shape.size, subject.shape.seed + 100);
    if subject.shape.data != DataFile::None {
        return None;
    }
    Some(subject.scenario("write", subject.images(), move |context| {
        let image = name(TOP, "qcow2").open(context, WRITE)?;
        put(&image, 10, seed, 100)?;
        put(&image, cluster * 2, seed + 1, cluster * 3 + 100)?;
        zero(&image, size / 2, cluster * 2 + 512, Zeroing::Unmap)?;
        zero(&image, size / 3, cluster, Zeroing::Keep)?;
        put(&image, size - 600, seed + 2, 600)?;
        writer(&image)?.commit(formats::Durability::Durable)
    }))
}

/// Changes of two images and the making of a third, in two directories, as one transaction.
fn several(subject: &Subject) -> Option<Scenario> {
    let (cluster, seed) = (subject.shape.cluster, subject.shape.seed + 200);
    let create = Create { filename: "/far/new".into(), ..creation(subject, "/far/new") };
    let images = subject.images().into_iter().chain([qcow2(SIDE), qcow2("/far/new")]).collect();
    let plain = subject.shape.data == DataFile::None && subject.shape.chain == Chain::None;
    plain.then(|| {
        subject.scenario("several", images, move |context| {
            for path in [TOP, SIDE] {
                let image = open_for_writing(context, path)?;
                put(&image, cluster + 10, seed, cluster * 2)?;
                writer(&image)?.commit(formats::Durability::Durable)?;
            }
            create.plan(context)?.run(context)
        })
    })
}

/// A backing image goes to another directory, and the image that names it follows.
fn move_base(subject: &Subject) -> Option<Scenario> {
    const MOVED: &str = "/far/moved";
    let watch = if subject.shape.chain == Chain::Raw { raw } else { qcow2 };
    let images = subject.images().into_iter().chain([watch(BASE), watch(MOVED)]).collect();
    let suited = subject.shape.chain != Chain::None && subject.shape.data == DataFile::None;
    suited.then(|| {
        let mut scenario = subject.scenario("mv", images, |context| {
            let top = name(TOP, "qcow2").open(context, OpenFlags { backing: false, ..OpenFlags::READ })?;
            let reference = top.driver().backing().map(|backing| backing.name.clone()).unwrap_or_default();
            drop(top);
            let dependent = Dependent {
                path: TOP.into(),
                role: Role::Backing,
                base: BASE.into(),
                name: OsString::from_vec(reference),
                via: BASE.into(),
                format: "qcow2".to_owned(),
            };
            let (from, to) = (Path::new(BASE), Path::new(MOVED));
            Move { from, to, dependents: &[dependent] }.run(context).map(drop)
        });
        // The name and what says it are in different places: for a moment one is without the other.
        scenario.foreign = Foreign::Anything;
        scenario
    })
}

fn snapshot_create(subject: &Subject) -> Option<Scenario> {
    let plain = subject.shape.data == DataFile::None && subject.shape.refcount_bits > 1;
    let few = subject.shape.refcount_bits > 4;
    (plain && few).then(|| {
        subject.scenario("snapshot-c", subject.images(), |context| {
            snapshot::create(&open_for_writing(context, TOP)?, "another one")
        })
    })
}

fn snapshot_apply(subject: &Subject) -> Option<Scenario> {
    let shape = &subject.shape;
    let name = format!("s{}", shape.seed as usize % shape.snapshots.max(1));
    // One more reference to each cluster, while the old table stands.
    let room = shape.refcount_bits > 2;
    (shape.snapshots > 0 && shape.bitmaps == 0 && room).then(|| {
        subject.scenario("snapshot-a", subject.images(), move |context| {
            snapshot::apply(&open_for_writing(context, TOP)?, &name)
        })
    })
}

fn snapshot_delete(subject: &Subject) -> Option<Scenario> {
    let shape = &subject.shape;
    let name = format!("s{}", shape.seed as usize % shape.snapshots.max(1));
    (shape.snapshots > 0).then(|| {
        subject.scenario("snapshot-d", subject.images(), move |context| {
            snapshot::delete(&open_for_writing(context, TOP)?, &name)
        })
    })
}

fn bitmap_add(subject: &Subject) -> Option<Scenario> {
    (subject.shape.version == 3).then(|| bitmap_scenario(subject, "bitmap-add", "new", vec![Action::Add]))
}

fn bitmap_remove(subject: &Subject) -> Option<Scenario> {
    (subject.shape.bitmaps > 0).then(|| bitmap_scenario(subject, "bitmap-remove", "b0", vec![Action::Remove]))
}

fn bitmap_clear(subject: &Subject) -> Option<Scenario> {
    (subject.shape.bitmaps > 0).then(|| bitmap_scenario(subject, "bitmap-clear", "b0", vec![Action::Clear]))
}

fn bitmap_switch(subject: &Subject) -> Option<Scenario> {
    match subject.shape.bitmaps {
        0 => None,
        1 => Some(bitmap_scenario(subject, "bitmap-switch", "b0", vec![Action::Disable])),
        _ => Some(bitmap_scenario(subject, "bitmap-switch", "b1", vec![Action::Enable])),
    }
}

fn bitmap_merge(subject: &Subject) -> Option<Scenario> {
    let merge = vec![Action::Merge("b1".into())];
    (subject.shape.bitmaps > 1).then(|| bitmap_scenario(subject, "bitmap-merge", "b0", merge))
}

fn bitmap_several(subject: &Subject) -> Option<Scenario> {
    let actions = vec![Action::Add, Action::Merge("b0".into()), Action::Disable];
    (subject.shape.bitmaps > 0).then(|| bitmap_scenario(subject, "bitmap-several", "sum", actions))
}

fn bitmap_scenario(subject: &Subject, operation: &str, bitmap: &str, actions: Vec<Action>) -> Scenario {
    let change = ChangeBitmap {
        image: name(TOP, "qcow2"),
        name: bitmap.into(),
        actions,
        granularity: None,
        source: None,
    };
    let mut scenario = subject.scenario(operation, subject.images(), move |context| change.run(context));
    // No guest data is touched.
    scenario.foreign = Foreign::OldOrNew;
    scenario
}

fn check_repair(subject: &Subject) -> Option<Scenario> {
    let damage = Damage::ALL[subject.shape.seed as usize % Damage::ALL.len()];
    // Without an entry in its L1 table there is no flag to be wrong.
    let suits = damage != Damage::Copied || !matches!(subject.shape.content, Content::Empty);
    suits.then(|| repair_scenario(subject, "check-r-all", damage, Repair::All))
}

fn check_leaks(subject: &Subject) -> Option<Scenario> {
    Some(repair_scenario(subject, "check-r-leaks", Damage::Leak, Repair::Leaks))
}

fn repair_scenario(subject: &Subject, operation: &str, damage: Damage, what: Repair) -> Scenario {
    let tree = Arc::new(damage.inflict(&subject.tree));
    Scenario::new(operation.to_owned(), tree, subject.images(), move |context| {
        let flags = OpenFlags { check: true, ..WRITE };
        let image = name(TOP, "qcow2").open(context, flags)?;
        match check::repair(&image, what, &mut |_| {}) {
            // What is left to repair is no success.
            check::Verdict::Checked(report) if report.corruptions + report.check_errors > 0 => {
                Err(Error::corrupt("not everything could be repaired"))
            }
            check::Verdict::Checked(_) => Ok(()),
            check::Verdict::Impossible => Err(Error::unsupported("nothing to repair")),
            check::Verdict::Failed { reason, .. } => Err(reason),
        }
    })
}

/// For writing.
const WRITE: OpenFlags = OpenFlags { access: Access::Write, ..OpenFlags::READ };

fn name(path: &str, format: &str) -> ImageName {
    ImageName::File { name: OsString::from(path), format: Some(format.to_owned()) }
}

fn list(options: &str) -> OptionList {
    let mut list = OptionList::default();
    if !options.is_empty() {
        list.add(OsStr::new(options)).unwrap();
    }
    list
}

fn new_target(path: &str, format: &str, options: &str) -> NewTarget {
    NewTarget {
        filename: path.into(),
        format: format.to_owned(),
        options: list(options),
        backing: None,
        backing_format: None,
    }
}

fn conversion(source: &str, format: &str, target: convert::Target, transfer: Transfer) -> Convert {
    Convert {
        sources: vec![name(source, format)],
        source_flags: OpenFlags::READ,
        snapshot: None,
        target,
        transfer,
        min_sparse: 4096,
        bitmaps: BitmapPolicy::None,
        unreadable: UnreadablePolicy::Fail,
        parallel: 1,
        rate: None,
    }
}
