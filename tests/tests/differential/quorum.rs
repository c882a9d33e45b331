//! Quorums: several images that are to be the same.

use testkit::case::{Case, label};

/// `QQ` is a quorum of three, `Q2` one of two; what follows is added to their options.
const LINES: &[&str] = &[
    "info --image-opts QQ",
    "info --output=json --image-opts QQ",
    "info --backing-chain --image-opts QQ",
    "map --image-opts QQ",
    "map --output=json --image-opts QQ",
    "check --image-opts QQ",
    "snapshot -l --image-opts QQ",
    "measure -O qcow2 --image-opts QQ",
    "measure -O raw --image-opts QQ",
    "convert --image-opts -O raw QQ out.raw",
    "convert --image-opts -O qcow2 QQ out.qcow2",
    "convert --image-opts -O raw QQ,vote-threshold=1 out.raw",
    "convert --image-opts -O raw QQ,read-pattern=fifo out.raw",
    "convert --image-opts -O raw QQ,read-pattern=quorum out.raw",
    "convert --image-opts -O raw driver=quorum,vote-threshold=3,children.0.driver=raw,children.0.file.filename=d.raw,children.1.driver=raw,children.1.file.filename=same.raw,children.2.driver=qcow2,children.2.file.filename=a.qcow2 out.raw",
    "compare --image-opts QQ driver=raw,file.filename=d.raw",
    "compare --image-opts Q2 driver=raw,file.filename=d.raw",
    "dd --image-opts -O raw bs=64k count=3 if=QQ of=out.raw",
    "bench -c 3 --image-opts QQ",
    "info --image-opts Q2",
    "info --output=json --image-opts Q2",
    "convert --image-opts -O raw Q2 out.raw",
    "convert --image-opts -O raw Q2,blkverify=on out.raw",
    "info --image-opts Q2,blkverify=on",
    "info --output=json --image-opts Q2,blkverify=off,rewrite-corrupted=off,read-pattern=quorum",
    "info --image-opts Q2,blkverify=on,rewrite-corrupted=on",
    "info --image-opts QQ,blkverify=on",
    "info --image-opts QQ,blkverify=maybe",
    "info --image-opts QQ,rewrite-corrupted=on",
    "info --image-opts QQ,rewrite-corrupted=x",
    "info --image-opts QQ,vote-threshold=0",
    "info --image-opts QQ,vote-threshold=4",
    "info --image-opts QQ,vote-threshold=-1",
    "info --image-opts QQ,vote-threshold=x",
    "info --image-opts QQ,vote-threshold=4294967297",
    "info --image-opts QQ,read-pattern=x",
    "info --image-opts QQ,foo=x",
    "info --image-opts QQ,read-only=on",
    "info --image-opts QQ,children.5.file.filename=d.raw",
    "info --image-opts QQ,children.x.file.filename=d.raw",
    "info --image-opts QQ,children.3.file.filename=missing.raw",
    "info --image-opts QQ,children.3.driver=raw,children.3.file.filename=short.raw",
    "info --image-opts driver=quorum",
    "info --image-opts driver=quorum,vote-threshold=1",
    "info --image-opts driver=quorum,children.0.file.filename=d.raw",
    "info --image-opts driver=quorum,vote-threshold=1,children.0=d.raw",
    "info --image-opts driver=quorum,vote-threshold=1,children.0.driver=raw,children.0.file.filename=d.raw",
    "convert --image-opts -O raw driver=quorum,vote-threshold=1,children.0.driver=raw,children.0.file.filename=d.raw out.raw",
    "info --image-opts driver=raw,file.driver=quorum,file.vote-threshold=1,file.children.0.driver=raw,file.children.0.file.filename=d.raw",
    "info --image-opts driver=qcow2,file.driver=quorum,file.vote-threshold=1,file.children.0.driver=raw,file.children.0.file.filename=a.qcow2",
    "convert --image-opts -O raw driver=qcow2,file.driver=quorum,file.vote-threshold=2,file.children.0.driver=file,file.children.0.filename=a.qcow2,file.children.1.driver=file,file.children.1.filename=copy.qcow2 out.raw",
    "info 'json:{\"driver\":\"quorum\",\"vote-threshold\":2,\"children\":[{\"driver\":\"raw\",\"file\":{\"driver\":\"file\",\"filename\":\"d.raw\"}},{\"driver\":\"raw\",\"file\":{\"driver\":\"file\",\"filename\":\"same.raw\"}}]}'",
    "convert -O raw 'json:{\"driver\":\"quorum\",\"vote-threshold\":2,\"children\":[{\"driver\":\"raw\",\"file\":{\"driver\":\"file\",\"filename\":\"d.raw\"}},{\"driver\":\"raw\",\"file\":{\"driver\":\"file\",\"filename\":\"same.raw\"}}]}' out.raw",
    "info -f quorum d.raw",
    "info quorum:d.raw",
    "create -f quorum x 1M",
    "rebase -u -F raw -b d.raw --image-opts QQ",
    "bench -w -c 3 -s 700 --image-opts QQ",
    "bench -w -c 3 -s 700 --image-opts QQ,rewrite-corrupted=on",
    "bench -w -c 3 -s 700 --image-opts Q2,blkverify=on",
    "bench -w -c 3 -s 700 --image-opts QQ,read-pattern=fifo",
    "bench -w -c 3 -s 700 --image-opts QQ,children.1.read-only=on",
    "bench -w -c 3 -s 700 --image-opts driver=raw,file.driver=quorum,file.vote-threshold=1,file.children.0.driver=raw,file.children.0.file.filename=d.raw",
    "convert -n -f raw --target-image-opts other.raw driver=quorum,vote-threshold=2,children.0.driver=qcow2,children.0.file.filename=a.qcow2,children.1.driver=raw,children.1.file.filename=same.raw",
    "convert -n -c -f raw --target-image-opts other.raw driver=quorum,vote-threshold=1,children.0.driver=qcow2,children.0.file.filename=a.qcow2",
    "convert -n -f raw --target-image-opts short.raw driver=quorum,vote-threshold=2,children.0.driver=qcow2,children.0.file.filename=a.qcow2,children.1.driver=raw,children.1.file.filename=same.raw",
    "resize --image-opts QQ 8M",
    "snapshot -c s --image-opts QQ",
    "bitmap --add --image-opts QQ b",
    "amend -o compat=1.1 --image-opts QQ",
    "check -r all --image-opts QQ",
];

pub fn cases() -> Vec<Case> {
    const SETUP: &str = "noise d.raw 1M 1\nnoise same.raw 1M 1\nnoise other.raw 1M 1
        io -f raw other.raw | write -q -P 7 300k 8k
        sparse short.raw 512k
        img convert -f raw -O qcow2 d.raw a.qcow2
        img convert -f raw -O qcow2 d.raw copy.qcow2";
    const THREE: &str = "driver=quorum,vote-threshold=2,children.0.driver=qcow2,children.0.file.filename=a.qcow2,\
        children.1.driver=raw,children.1.file.filename=same.raw,children.2.driver=raw,children.2.file.filename=other.raw";
    const TWO: &str = "driver=quorum,vote-threshold=2,children.0.driver=raw,children.0.file.filename=d.raw,\
        children.1.driver=raw,children.1.file.filename=other.raw";
    let case = |line: &&str| {
        let whole = line.replace("QQ", THREE).replace("Q2", TWO);
        Case::after(format!("quorum/{}", label(line)), SETUP, &whole)
    };
    LINES.iter().map(case).collect()
}
