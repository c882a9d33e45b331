//! Parts of one cluster that are written side by side.

use std::path::Path;

use formats::create::{CreateRequest, OptionList, OptionTable, create};
use formats::{Durability, Format, GuestOffset, OpenContext, PermissiveGate, engine};
use journal::SimFs;

#[test]
fn parts_of_a_cluster_that_are_prepared_before_any_is_linked_share_it() {
    let fs = SimFs::new();
    let context = OpenContext { fs: &fs, gate: &PermissiveGate, secrets: None };
    let mut list = OptionList::default();
    list.add("extended_l2=on,size=1M".as_ref()).unwrap();
    let options = OptionTable::for_file(Format::Qcow2).parse(&list).unwrap();
    let request = CreateRequest {
        target: Path::new("/image"),
        format: Format::Qcow2,
        options: &options,
        backing: None,
        durability: Durability::Durable,
    };
    let new = create(&context, request).unwrap();
    let writer = new.image().driver().writer().unwrap();

    let parts = [(8192, 1), (0, 2), (62 << 10, 3)].map(|(at, fill)| {
        let allocation = writer.prepare(GuestOffset(at), 2048).unwrap();
        assert!(allocation.len <= 65536 - at, "an allocation of a part ends with the cluster");
        (allocation, fill)
    });
    for (allocation, fill) in parts.iter().rev() {
        allocation.disk.write_at(allocation.offset.0, &vec![*fill; allocation.len as usize]).unwrap();
        writer.link(allocation).unwrap();
    }
    let hosts = parts.each_ref().map(|(allocation, _)| allocation.offset.align_down(65536));
    assert_eq!(hosts[0], hosts[1]);
    assert_eq!(hosts[0], hosts[2]);

    let mut bytes = vec![0; 65536];
    engine::read(new.image(), 0, &mut bytes).unwrap();
    let expected = |at: usize| match at {
        0..2048 => 2,
        8192..10240 => 1,
        63488.. => 3,
        _ => 0,
    };
    assert!(bytes.iter().enumerate().all(|(at, &byte)| byte == expected(at)));
}
