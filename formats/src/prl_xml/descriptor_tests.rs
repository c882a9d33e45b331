use super::*;

const NO_SNAPSHOTS: &str = "";

fn bundle(parameters: &str, storages: &str, snapshots: &str) -> String {
    format!(
        "<?xml version='1.0' encoding='UTF-8'?>\n<Parallels_disk_image Version=\"1.0\"><Disk_Parameters>\
         <Disk_size>4096</Disk_size>{parameters}</Disk_Parameters><StorageData>{storages}</StorageData>\
         <Snapshots>{snapshots}</Snapshots></Parallels_disk_image>"
    )
}

fn storage(start: u64, end: u64, images: &[(&str, &str, &str)]) -> String {
    let image = |(guid, kind, file): &(&str, &str, &str)| {
        format!("<Image><GUID>{guid}</GUID><Type>{kind}</Type><File>{file}</File></Image>")
    };
    let images: String = images.iter().map(image).collect();
    format!("<Storage><Start>{start}</Start><End>{end}</End><Blocksize>2048</Blocksize>{images}</Storage>")
}

fn files(text: &str) -> Vec<Vec<String>> {
    let storages = Descriptor::parse(text).unwrap().storages;
    storages.into_iter().map(|it| it.layers.into_iter().map(|layer| layer.file).collect()).collect()
}

fn refusal(text: &str) -> String {
    Descriptor::parse(text).unwrap_err().report()
}

#[test]
fn parts_and_snapshots_are_found() {
    let storages = storage(1024, 4096, &[("{A}", "Compressed", "b.hds")])
        + &storage(
            0,
            1024,
            &[("{B}", "Compressed", "top"), (TOP, "Plain", "other"), ("{a}", "Plain", "root")],
        );
    let snapshots = format!(
        "<TopGUID>{{b}}</TopGUID><Shot><GUID>{{B}}</GUID><ParentGUID>{{A}}</ParentGUID></Shot>\
         <Shot><GUID>{{a}}</GUID><ParentGUID>{NOBODY}</ParentGUID></Shot>"
    );
    let text = bundle("<Padding>0</Padding>", &storages, &snapshots);
    assert_eq!(files(&text), [vec!["top", "root"], vec!["b.hds"]]);
    assert_eq!(Descriptor::parse(&text).unwrap().size, 2 << 20);
}

#[test]
fn the_usual_name_is_on_top() {
    let storages = storage(0, 4096, &[("{a}", "Plain", "root"), (&TOP.to_uppercase(), "Compressed", "top")]);
    let shot = format!("<Shot><GUID>{TOP}</GUID><ParentGUID>{{A}}</ParentGUID></Shot>");
    assert_eq!(files(&bundle("", &storages, &shot)), [["top", "root"]]);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let one = storage(0, 4096, &[("{a}", "Plain", "root")]);
    let two = [("{a}", "Compressed", "x"), ("{b}", "Compressed", "y")];
    let top = "<TopGUID>{a}</TopGUID>";
    let shot = |child: &str, parent: &str| {
        format!("<Shot><GUID>{child}</GUID><ParentGUID>{parent}</ParentGUID></Shot>")
    };
    let ring = format!("{top}{}{}", shot("{a}", "{b}"), shot("{b}", "{a}"));
    for (text, words) in [
        ("<a/>".to_owned(), "not a Parallels disk descriptor"),
        ("<a>".to_owned(), "not sound"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>".to_owned(), "not sound"),
        (bundle("<Padding>1</Padding>", &one, NO_SNAPSHOTS), "padding"),
        (bundle("<Encryption><Engine>{1}</Engine></Encryption>", &one, NO_SNAPSHOTS), "Encrypted"),
        (bundle("", &storage(0, 4097, &[("{a}", "Plain", "x")]), NO_SNAPSHOTS), "do not fit"),
        (bundle("", &(one.clone() + &one), NO_SNAPSHOTS), "do not fit"),
        (bundle("", &storage(0, 1, &[("{a}", "Other", "x")]), NO_SNAPSHOTS), "type 'Other'"),
        (bundle("", &storage(0, 1, &two), NO_SNAPSHOTS), "has no image"),
        (bundle("", &storage(0, 1, &two), &ring), "stand on each other"),
        (bundle("", &storage(0, 1, &[("{a}", "Plain", "x"), two[1]]), &ring), "plain image"),
        (bundle("", &one.replace("4096", "-1"), NO_SNAPSHOTS), "no number"),
        (bundle("", &one.replace("End", "Fin"), NO_SNAPSHOTS), "lacks 'End'"),
        (bundle("", &one, NO_SNAPSHOTS).replace("Storage", "Store"), "lacks 'StorageData'"),
    ] {
        let refused = refusal(&text);
        assert!(refused.contains(words), "{text}: {refused}");
    }
}

#[test]
fn deep_nesting_is_no_danger() {
    let text = "<a>".repeat(60_000) + &"</a>".repeat(60_000);
    assert!(Descriptor::parse(&text).is_err());
    assert!(Descriptor::parse(&"<a>".repeat(1 << 20)).is_err());
}
