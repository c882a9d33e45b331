//! `blkdebug`: files and images whose requests fail as rules say.

use testkit::case::{Case, label};
use testkit::shapes;

/// `BB` is the driver over a file, `RR` a raw image on it, `QQ` a qcow2 one, `TT` one over another; `WW` is
/// the driver over a qcow2 image. `FF` begins a rule for those two that have it in their file.
const LINES: &[&str] = &[
    "info blkdebug::a.qcow2",
    "info blkdebug:ok.cfg:a.qcow2",
    "info --output=json blkdebug::a.qcow2",
    "info --output=json blkdebug:ok.cfg:d.raw",
    "info -f blkdebug blkdebug::a.qcow2",
    "info -f blkdebug blkdebug:ok.cfg:a.qcow2",
    "info -f blkdebug d.raw",
    "info --output=json -f blkdebug d.raw",
    "info -f raw blkdebug::a.qcow2",
    "info blkdebug::t.qcow2",
    "info --backing-chain blkdebug::t.qcow2",
    "info blkdebug::odd.raw",
    "info blkdebug:x",
    "info blkdebug:",
    "info blkdebug::",
    "info blkdebug:::",
    "info blkdebug::missing",
    "info blkdebug:missing:d.raw",
    "info blkdebug:.:d.raw",
    "info blkdebug::dir/../d.raw",
    "info blkdebug::file:d.raw",
    "info blkdebug::foo:d.raw",
    "info blkdebug::blkdebug::d.raw",
    "info blkdebug::json:{}",
    "info 'blkdebug::json:{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\",\"filename\":\"a.qcow2\"}}'",
    "info file:blkdebug::d.raw",
    "info blkdebug::null-co://",
    "info --output=json blkdebug::null-co://",
    "map blkdebug::a.qcow2",
    "map --output=json blkdebug::a.qcow2",
    "map blkdebug::t.qcow2",
    "map --output=json blkdebug::t.qcow2",
    "map blkdebug::d.raw",
    "map --output=json blkdebug::d.raw",
    "map -f blkdebug d.raw",
    "map --image-opts WW",
    "map --output=json --image-opts WW",
    "map --output=json --image-opts driver=raw,file.driver=blkdebug,file.image.driver=qcow2,file.image.file.filename=a.qcow2",
    "info --image-opts driver=raw,file.driver=blkdebug,file.image.driver=qcow2,file.image.file.filename=a.qcow2",
    "info --image-opts driver=blkdebug,image.driver=raw,image.file.filename=a.qcow2",
    "info --image-opts driver=blkdebug,image.driver=qcow2,image.file.filename=t.qcow2",
    "info --image-opts WW",
    "info --output=json --image-opts WW",
    "check blkdebug::a.qcow2",
    "check --output=json blkdebug:ok.cfg:a.qcow2",
    "check -f blkdebug d.raw",
    "check -r all blkdebug::a.qcow2",
    "measure -O qcow2 blkdebug::a.qcow2",
    "convert -O raw blkdebug::a.qcow2 out.raw",
    "convert -O qcow2 blkdebug:ok.cfg:d.raw out.qcow2",
    "convert -O raw blkdebug::t.qcow2 out.raw",
    "convert --image-opts -O raw WW out.raw",
    "convert --image-opts -O raw BB out.raw",
    "convert -n -O raw d2.raw blkdebug::d.raw",
    "convert -n -O qcow2 d2.raw blkdebug::a.qcow2",
    "convert -n -O qcow2 d2.raw blkdebug::t.qcow2",
    "convert -n -O vdi d2.raw blkdebug::v.vdi",
    "convert -n --target-image-opts d2.raw BB",
    "convert -O raw d.raw blkdebug::out.raw",
    "convert -O blkdebug d.raw out.raw",
    "compare blkdebug::a.qcow2 d.raw",
    "compare blkdebug::d2.raw d.raw",
    "dd -f raw -O raw bs=64k count=3 if=blkdebug::d.raw of=out.raw",
    "dd -f raw -O raw if=d2.raw of=blkdebug::d.raw",
    "create -f raw blkdebug::n.raw 1M",
    "create -f qcow2 blkdebug::n.qcow2 1M",
    "create -f blkdebug n.raw 1M",
    "create -f qcow2 blkdebug:x 1M",
    "create -f qcow2 -b blkdebug::a.qcow2 -F qcow2 n.qcow2",
    "resize blkdebug::a.qcow2 8M",
    "resize --shrink blkdebug::a.qcow2 256k",
    "resize -f raw blkdebug::d.raw 8M",
    "resize --shrink -f raw blkdebug::d.raw 256k",
    "resize -f blkdebug d.raw 8M",
    "bench -c 3 blkdebug::a.qcow2",
    "bench -w -c 3 blkdebug::a.qcow2",
    "bench -w -c 3 --pattern=7 -f raw blkdebug::d.raw",
    "snapshot -c x blkdebug::a.qcow2",
    "snapshot -a one blkdebug::s.qcow2",
    "snapshot -d one blkdebug::s.qcow2",
    "bitmap --add blkdebug::a.qcow2 b",
    "amend -o lazy_refcounts=on blkdebug::a.qcow2",
    "commit blkdebug::t.qcow2",
    "rebase -u -b d.raw -F raw blkdebug::t.qcow2",
    "rebase -b d.raw -F raw blkdebug::t.qcow2",
    "info --image-opts driver=blkdebug",
    "info --image-opts driver=blkdebug,filename=d.raw",
    "info --image-opts driver=blkdebug,x-image=d.raw",
    "info --image-opts driver=blkdebug,x-image=d.raw,align=4096",
    "info --image-opts driver=blkdebug,x-image=d.raw,image.filename=d.raw",
    "info --image-opts driver=blkdebug,image=d.raw",
    "info --image-opts BB,config=ok.cfg",
    "info --image-opts BB,config=ok.cfg,align=512",
    "info --output=json --image-opts QQ,file.align=4096",
    "info --image-opts BB,foo=1",
    "info --image-opts BB,config=",
    "info --image-opts BB,config=missing",
    "info --image-opts BB,read-only=on,node-name=x",
    "bench -w -c 1 --image-opts BB,read-only=on",
    "info --image-opts BB,align=3",
    "info --image-opts BB,align=x",
    "info --image-opts BB,align=0",
    "info --image-opts BB,align=2G",
    "info --image-opts BB,align=1G",
    "info --image-opts BB,max-transfer=5",
    "info --image-opts BB,max-transfer=2G",
    "info --image-opts BB,max-transfer=2147483646",
    "info --image-opts BB,align=4096,max-transfer=512",
    "info --image-opts BB,align=4096,opt-write-zero=512",
    "info --image-opts BB,align=4096,opt-write-zero=8k,max-write-zero=4k",
    "info --image-opts BB,align=4096,opt-discard=512",
    "info --image-opts BB,align=4096,opt-discard=8k,max-discard=4k",
    "info --image-opts BB,max-discard=x",
    "info --image-opts BB,take-child-perms=x",
    "info --image-opts BB,take-child-perms.0=x",
    "info --image-opts BB,take-child-perms.0=write",
    "info --image-opts BB,take-child-perms.0=resize",
    "info --image-opts BB,take-child-perms.0=consistent-read,take-child-perms.1=write-unchanged",
    "info --image-opts BB,take-child-perms.1=consistent-read",
    "info --image-opts BB,take-child-perms.0.x=consistent-read",
    "info --image-opts BB,take-child-perms.a=consistent-read",
    "info --image-opts BB,unshare-child-perms.0=write",
    "info --image-opts BB,unshare-child-perms.0=graph-mod",
    "info --image-opts BB,inject-error.0.event=none,inject-error.0.iotype=flush",
    "info --image-opts BB,inject-error.event=none,inject-error.iotype=write",
    "info --image-opts BB,inject-error.0.foo=none",
    "info --image-opts BB,inject-error.foo=none",
    "info --image-opts BB,inject-error.event=none,inject-error.foo=none",
    "info --image-opts BB,inject-error.1.event=none",
    "info --image-opts BB,inject-error.0=none",
    "info --image-opts BB,inject-error=none",
    "info --image-opts BB,inject-error.0.event=none,inject-error.0.iotype=write,inject-error.event=none",
    "info --image-opts BB,inject-error.0.state=x",
    "info --image-opts BB,inject-error.0.event=foo",
    "info --image-opts BB,set-state.0.event=none",
    "info --image-opts BB,set-state.event=none,set-state.new_state=99999999999999999999999",
    "info 'json:{\"driver\":\"qcow2\",\"file\":{\"driver\":\"blkdebug\",\"inject-error\":[{\"event\":\"none\",\"iotype\":\"flush\"},{\"event\":\"l1_update\",\"errno\":28,\"once\":true}],\"set-state\":[{\"event\":\"none\",\"new_state\":3}],\"image\":{\"driver\":\"file\",\"filename\":\"a.qcow2\"}}}'",
    "convert -O raw 'json:{\"driver\":\"raw\",\"file\":{\"driver\":\"blkdebug\",\"inject-error\":[{\"event\":\"none\",\"errno\":28,\"sector\":1500}],\"image\":{\"driver\":\"file\",\"filename\":\"d.raw\"}}}' out.raw",
    "info 'json:{\"driver\":\"blkdebug\",\"inject-error\":[],\"image.filename\":\"d.raw\"}'",
    "info 'json:{\"driver\":\"blkdebug\",\"inject-error\":[{}],\"image.filename\":\"d.raw\"}'",
];

/// Images over it, and images of more than one file on it.
const CHAINS: &[&str] = &[
    "info --backing-chain o.qcow2",
    "info --output=json --backing-chain o.qcow2",
    "map o.qcow2",
    "map --output=json o.qcow2",
    "check o.qcow2",
    "convert -O raw o.qcow2 out.raw",
    "convert -O qcow2 -B blkdebug::a.qcow2 -F qcow2 o.qcow2 out.qcow2",
    "convert -O raw blkdebug::o.qcow2 out.raw",
    "commit o.qcow2",
    "commit -d o.qcow2",
    "rebase -u -b blkdebug::d2.raw -F raw t.qcow2",
    "rebase -b blkdebug::d2.raw -F raw t.qcow2",
    "rebase -b '' o.qcow2",
    "create -f qcow2 -b blkdebug:ok.cfg:o.qcow2 -F qcow2 n.qcow2",
    "create -f qcow2 -b blkdebug:missing:o.qcow2 -F qcow2 n.qcow2",
    "create -f qcow2 -b blkdebug:o.qcow2 -F qcow2 n.qcow2",
    "info blkdebug::flat.vmdk",
    "map --output=json blkdebug::flat.vmdk",
    "map blkdebug::flat.vmdk",
    "convert -O raw blkdebug::flat.vmdk out.raw",
    "convert -n -O vmdk d2.raw blkdebug::flat.vmdk",
    "info blkdebug::dir/flat.vmdk",
    "info blkdebug::dir/t.qcow2",
    "convert -O raw blkdebug::dir/t.qcow2 out.raw",
    "info blkdebug::data.qcow2",
    "map blkdebug::data.qcow2",
    "map --image-opts driver=qcow2,file.filename=data.qcow2,data-file.driver=blkdebug,data-file.image.filename=data.raw",
    "info --image-opts driver=qcow2,file.filename=data.qcow2,data-file.driver=blkdebug,data-file.image.filename=data.raw",
    "convert -n -O qcow2 d2.raw blkdebug::data.qcow2",
    "bench -w -c 2 --image-opts driver=qcow2,file.filename=data.qcow2,data-file.driver=blkdebug,data-file.image.filename=data.raw",
    "convert --image-opts -O raw driver=qcow2,file.filename=t.qcow2,backing.driver=qcow2,backing.file.driver=blkdebug,backing.file.image.filename=a.qcow2,backing.file.inject-error.event=none,backing.file.inject-error.sector=1600 out.raw",
];

/// Other nodes over it and under it. `II` is a raw image on it on a qcow2 one.
const NODES: &[&str] = &[
    "convert -n --target-image-opts d2.raw WW",
    "convert -n --target-image-opts d2.raw II",
    "convert -n --target-image-opts holes.raw II",
    "bench -w -c 2 --image-opts WW",
    "bench -w -c 2 --image-opts II",
    "bench -w -c 2 --image-opts WW,read-only=on",
    "resize --image-opts WW 8M",
    "resize --image-opts II 8M",
    "resize --shrink --image-opts II 256k",
    "convert -n --target-image-opts d2.raw WW,inject-error.event=none,inject-error.iotype=write",
    "convert -n --target-image-opts d2.raw II,file.inject-error.event=none,file.inject-error.iotype=write",
    "bench -w -c 2 --image-opts II,file.inject-error.event=write_aio,file.inject-error.errno=28",
    "convert --image-opts -O raw II out.raw",
    "convert --image-opts -O raw II,file.inject-error.event=read_aio out.raw",
    "convert --image-opts -O raw II,file.image.file.driver=blkdebug out.raw",
    "convert --image-opts -O raw driver=blkdebug,image.driver=qcow2,image.file.driver=blkdebug,image.file.image.filename=a.qcow2 out.raw",
    "info --image-opts driver=preallocate,file.driver=blkdebug,file.image.filename=d.raw",
    "bench -w -c 2 --image-opts driver=preallocate,file.driver=blkdebug,file.image.filename=d.raw",
    "bench -w -c 2 --image-opts driver=preallocate,file.driver=blkdebug,file.image.filename=d.raw,file.inject-error.event=pwritev",
    "convert -n --target-image-opts d2.raw driver=raw,file.driver=preallocate,file.file.driver=blkdebug,file.file.image.filename=d.raw",
    "info --image-opts driver=compress,file.driver=QQ",
    "info --image-opts driver=compress,file.driver=qcow2,file.file.driver=blkdebug,file.file.image.filename=a.qcow2",
    "info --image-opts driver=blkdebug,image.driver=preallocate,image.file.filename=d.raw",
    "map --image-opts driver=blkdebug,image.driver=preallocate,image.file.filename=d.raw",
    "bench -w -c 2 --image-opts driver=blkdebug,image.driver=preallocate,image.file.filename=d.raw",
    "convert --image-opts -O raw driver=blkdebug,image.driver=quorum,image.vote-threshold=1,image.children.0.driver=raw,image.children.0.file.filename=d.raw out.raw",
    "convert --image-opts -O raw driver=quorum,vote-threshold=1,children.0.driver=raw,children.0.file.driver=blkdebug,children.0.file.image.filename=d.raw,children.1.driver=raw,children.1.file.filename=d.raw out.raw",
    "info --image-opts driver=quorum,vote-threshold=1,children.0.driver=raw,children.0.file.driver=blkdebug,children.0.file.image.filename=d.raw",
    "info --image-opts driver=raw,offset=512,size=1k,file.driver=blkdebug,file.image.filename=d.raw",
    "convert --image-opts -O raw driver=raw,offset=512,size=1k,file.driver=blkdebug,file.image.filename=d.raw,file.inject-error.event=read_aio,file.inject-error.sector=2 out.raw",
    "convert --image-opts -O raw driver=raw,offset=512,size=1k,file.driver=blkdebug,file.image.filename=d.raw,file.inject-error.event=read_aio,file.inject-error.sector=3 out.raw",
    "convert --image-opts -O raw driver=raw,file.driver=blkdebug,file.image.driver=raw,file.image.offset=512,file.image.file.filename=d.raw out.raw",
];

const CHAINS_SETUP: &str = "img create -q -f qcow2 -b blkdebug::a.qcow2 -F qcow2 o.qcow2
    io o.qcow2 | write -q -P 6 100k 30k
    dir dir\nimg create -q -f vmdk -o subformat=monolithicFlat flat.vmdk 1M
    io flat.vmdk | write -q -P 4 64k 64k
    img create -q -f vmdk -o subformat=monolithicFlat dir/flat.vmdk 1M
    img create -q -f qcow2 -u -b ../a.qcow2 -F qcow2 dir/t.qcow2 1M
    img create -q -f qcow2 -o data_file=data.raw data.qcow2 1M\nio data.qcow2 | write -q -P 4 64k 64k";

/// What is read of an image with snapshots.
const SNAPSHOTS: &[&str] = &[
    "snapshot -l blkdebug::{img}",
    "snapshot -l --image-opts driver=blkdebug,image.driver=qcow2,image.file.filename={img}",
    "convert -O raw -l s1 blkdebug::{img} out.raw",
];

/// Commands on images with a rule, which stands where it says `RULE`.
const UNDER_RULES: &[&str] = &[
    "convert --image-opts -O raw BB,RULE out.raw",
    "convert --image-opts -O raw RR,FILE out.raw",
    "convert --image-opts -O raw QQ,FILE out.raw",
    "convert --image-opts -O raw WW,RULE out.raw",
    "info --image-opts BB,RULE",
    "info --image-opts file.driver=blkdebug,file.image.filename=d.raw,FILE",
    "info --image-opts QQ,FILE",
    "map --output=json --image-opts BB,RULE",
    "map --output=json --image-opts RR,FILE",
    "map --output=json --image-opts QQ,FILE",
    "check --image-opts QQ,FILE",
    "compare --image-opts RR,FILE driver=raw,file.filename=d.raw",
    "compare --image-opts QQ,FILE driver=raw,file.filename=d.raw",
    "measure -O qcow2 --image-opts RR,FILE",
    "dd --image-opts -O raw bs=64k if=RR,FILE of=out.raw",
    "bench -c 2 --image-opts RR,FILE",
    "bench -w -c 2 --image-opts RR,FILE",
    "bench -w -c 2 --image-opts QQ,FILE",
    "convert -n --target-image-opts holes.raw RR,FILE",
    "convert -n --target-image-opts d2.raw QQ,FILE",
    "resize --image-opts RR,FILE 8M",
    "resize --image-opts QQ,FILE 8M",
    "snapshot -c x --image-opts QQ,FILE",
    "amend -o lazy_refcounts=on --image-opts QQ,FILE",
    "rebase -u -b d.raw -F raw --image-opts TT,FILE",
    "commit --image-opts TT,FILE",
];

const RULES: &[(&str, &str)] = &[
    ("all", "R.0.event=none"),
    ("read", "R.0.event=none,R.0.iotype=read"),
    ("write", "R.0.event=none,R.0.iotype=write,R.0.errno=28"),
    ("write-zeroes", "R.0.event=none,R.0.iotype=write-zeroes"),
    ("discard", "R.0.event=none,R.0.iotype=discard"),
    ("flush", "R.0.event=none,R.0.iotype=flush"),
    ("block-status", "R.0.event=none,R.0.iotype=block-status"),
    ("state", "R.0.event=none,R.0.state=2"),
    ("sector", "R.0.event=none,R.0.iotype=read,R.0.sector=1600"),
    ("once", "R.0.event=none,R.0.iotype=read,R.0.once=on,R.0.errno=1"),
];

/// Events that happen here, and some that do not: with which requests of a raw image they are.
const EVENTS: &[&str] =
    &["read_aio", "write_aio", "pwritev", "pwritev_done", "flush_to_disk", "l1_update", "cow_read"];

const UNDER_EVENTS: &[&str] = &[
    "convert -f raw -O raw blkdebug:e.cfg:d.raw out.raw",
    "bench -c 2 -f raw blkdebug:e.cfg:d.raw",
    "bench -w -d 1 -c 3 -f raw blkdebug:e.cfg:d.raw",
    "bench -w -d 1 -c 3 -f blkdebug blkdebug:e.cfg:d.raw",
];

/// Configuration files.
const FILES: &[&str] = &[
    "",
    "\\x0a#x\\x0a",
    " #x\\x0a",
    "  \\x0a",
    "foo\\x0a",
    "[inject-error]\\x0a",
    "[inject-error",
    "[inject-errorevent = \"x\"",
    "[foo]\\x0a",
    "[foo]\\x0aevent = \"none\"\\x0a",
    "[inject-error \"id\"]\\x0aevent = \"none\"\\x0aiotype=\"flush\"\\x0a",
    "[inject-error \"id\"]\\x0aevent = \"l1_update\"\\x0a[inject-error \"id\"]\\x0aevent = \"l1_update\"\\x0a",
    "[inject-error \"id\"]\\x0aevent = \"l1_update\"\\x0a[set-state \"id\"]\\x0aevent = \"l1_update\"\\x0a",
    "[inject-error \"1d\"]\\x0aevent = \"l1_update\"\\x0a",
    "[inject-error]\\x0aevent = none\\x0a",
    "[inject-error]\\x0aevent = \"foo\"\\x0a",
    "[inject-error]\\x0aevent=\"l1_update\"\\x0a",
    "[inject-error]\\x0aevent =\"l1_update\"\\x0a",
    "[inject-error]\\x0a\\x09event\\x09=\\x09\"l1_update\"\\x0d\\x0a",
    "[inject-error]\\x0aevent = \"\"\\x0a",
    "[inject-error]\\x0aevent = \"l1_update\" trailing\\x0a",
    "[inject-error]\\x0aevent = \"l1_update\\x0a",
    "[inject-error]\\x0afoo = \"l1_update\"\\x0a",
    "[inject-error]\\x0aevent = \"none\"\\x0aevent = \"foo\"\\x0a",
    "[inject-error]\\x0aevent = \"l1_update\"\\x0astate = \"x\"\\x0a",
    "[inject-error]\\x0aevent = \"l1_update\"\\x0aerrno = \"99999999999999999999999\"\\x0a",
    "[inject-error]\\x0aevent = \"l1_update\"\\x0aerrno = \"EIO\"\\x0a",
    "[inject-error]\\x0aevent = \"l1_update\"\\x0aonce = \"x\"\\x0a",
    "[inject-error]\\x0aevent = \"l1_update\"\\x0aimmediately = \"x\"\\x0a",
    "[inject-error]\\x0aevent = \"l1_update\"\\x0aiotype = \"x\"\\x0a",
    "[inject-error]\\x0aevent = \"l1_update\"\\x0asector = \"-5\"\\x0a",
    "[inject-error]\\x0aevent = \"l1_update\"\\x0anew_state = \"5\"\\x0a",
    "[inject-error]\\x0aevent = \"l1_update\"\\x0afoo = \"5\"\\x0abar = \"5\"\\x0astate = \"x\"\\x0a",
    "[set-state]\\x0aevent = \"l1_update\"\\x0anew_state = \"5\"\\x0a",
    "[set-state]\\x0aevent = \"l1_update\"\\x0aerrno = \"5\"\\x0a",
    "[set-state]\\x0anew_state = \"1\"\\x0a",
    "event = \"x\"\\x0a",
    "[inject-error]\\x0aevent = \"l1_update\"\\x0aid = \"x\"\\x0a",
    "[inject-error]\\x0aevent = \"l1_update\"\\x0aid = \"1x\"\\x0a",
    "[ inject-error ]\\x0aevent = \"l1_update\"\\x0a",
    "[inject-error]x\\x0aevent = \"l1_update\"\\x0a",
    "[inject-error \"x\" ]\\x0aevent = \"l1_update\"\\x0a",
    "[inject-error]\\x0aevent = \"bar\"\\x0a[foo]\\x0a",
    "[]\\x0a",
    "[[inject-error]\\x0a",
    "[inject-error]\\x0aevent = \"none\"\\x0aerrno = \"0x1c\"\\x0a",
    "[inject-error]\\x0aevent = \"none\"\\x0aerrno = \"100000\"\\x0a",
    "[inject-error]\\x0aevent = \"none\"\\x0aerrno = \"0\"\\x0a",
    "[inject-error]\\x0aevent = \"none\"\\x0astate = \"2\"\\x0a",
    "[inject-error]\\x0aevent = \"none\"\\x0asector = \"0\"\\x0a",
    "[inject-error]\\x0aevent = \"none\"\\x0asector = \"1\"\\x0a",
    "[inject-error]\\x0aevent = \"none\"\\x0aonce = \"on\"\\x0a",
    "[inject-error]\\x0aevent = \"none\"\\x0aerrno = \"0\"\\x0a[inject-error]\\x0aevent = \"none\"\\x0a",
    "[set-state]\\x0aevent = \"none\"\\x0anew_state = \"2\"\\x0a[inject-error]\\x0aevent = \"none\"\\x0astate = \"1\"\\x0a",
];

const SETUP: &str = "noise d.raw 1M 1\nnoise d2.raw 1M 2\nnoise odd.raw 1000 3
    sparse holes.raw 1M\nio -f raw holes.raw | write -q -P 5 0 128k
    img convert -f raw -O qcow2 d.raw a.qcow2
    img create -q -f qcow2 -b a.qcow2 -F qcow2 t.qcow2\nio t.qcow2 | write -q -P 2 512k 128k
    text ok.cfg '[inject-error]\\x0aevent = \"refblock_alloc\"\\x0aerrno = \"5\"\\x0a'";

fn whole(line: &str) -> String {
    line.replace("BB", "driver=blkdebug,image.filename=d.raw")
        .replace("RR", "driver=raw,file.driver=blkdebug,file.image.filename=d.raw")
        .replace("QQ", "driver=qcow2,file.driver=blkdebug,file.image.filename=a.qcow2")
        .replace("TT", "driver=qcow2,file.driver=blkdebug,file.image.filename=t.qcow2")
        .replace(
            "II",
            "driver=raw,file.driver=blkdebug,file.image.driver=qcow2,file.image.file.filename=a.qcow2",
        )
        .replace("WW", "driver=blkdebug,image.driver=qcow2,image.file.filename=a.qcow2")
}

fn under_rules() -> impl Iterator<Item = Case> {
    RULES.iter().flat_map(|(name, rule)| {
        // Of two writes that both fail nobody knows which comes first.
        let is_certain = |line: &&&str| *name != "all" || !line.starts_with("convert -n");
        UNDER_RULES.iter().filter(is_certain).map(move |line| {
            let (here, in_file) =
                (rule.replace("R.", "inject-error."), rule.replace("R.", "file.inject-error."));
            let command = whole(line).replace("RULE", &here).replace("FILE", &in_file);
            Case::after(format!("blkdebug/rule/{name}/{}", label(line)), SETUP, &command)
        })
    })
}

fn under_events() -> impl Iterator<Item = Case> {
    EVENTS.iter().flat_map(|event| {
        UNDER_EVENTS.iter().map(move |line| {
            let config = format!(
                "[set-state]\\x0aevent = \"{event}\"\\x0anew_state = \"2\"\\x0a\
                 [inject-error]\\x0aevent = \"{event}\"\\x0astate = \"2\"\\x0aerrno = \"28\"\\x0a"
            );
            let at_once = format!("[inject-error]\\x0aevent = \"{event}\"\\x0a");
            // Of several requests at once nobody knows which comes first.
            let config = if line.contains("-d 1") { config } else { at_once };
            let setup = format!("{SETUP}\ntext e.cfg '{config}'");
            Case::after(format!("blkdebug/event/{event}/{}", label(line)), setup, line)
        })
    })
}

pub fn cases() -> Vec<Case> {
    let line = |line: &&str| {
        let mut setup = SETUP.to_owned();
        if line.contains("s.qcow2") {
            setup += "\nimg convert -f raw -O qcow2 d.raw s.qcow2\nimg snapshot -c one s.qcow2";
        }
        if line.contains("v.vdi") {
            setup += "\nimg create -q -f vdi v.vdi 1M";
        }
        Case::after(format!("blkdebug/line/{}", label(line)), setup, &whole(line))
    };
    let file = |file: &&str| {
        let setup = format!("noise d.raw 64k 1\ntext c.cfg '{file}'");
        Case::after(format!("blkdebug/config/{}", label(file)), setup, "info blkdebug:c.cfg:d.raw")
    };
    let shape = shapes::named("snap/one");
    let snapshot = |line: &&str| Case::makes(format!("blkdebug/snapshot/{}", label(line)), shape, line);
    let chain = |line: &&str| {
        Case::after(format!("blkdebug/chain/{}", label(line)), format!("{SETUP}\n{CHAINS_SETUP}"), line)
    };
    let node = |line: &&str| Case::after(format!("blkdebug/node/{}", label(line)), SETUP, &whole(line));
    let given = LINES.iter().map(line).chain(SNAPSHOTS.iter().map(snapshot)).chain(CHAINS.iter().map(chain));
    let given = given.chain(NODES.iter().map(node));
    given.chain(FILES.iter().map(file)).chain(under_rules()).chain(under_events()).collect()
}
