//! Power cuts on real filesystems: a loop mount is shut down under the command, its journal not
//! flushed, and mounted again.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use testkit::oracle::in_path;

use crate::jobs::{JOBS, Stage};
use crate::{Tally, command, prepare, ready, undisturbed, verdict};

/// `FS_IOC_SHUTDOWN`: the filesystem stops at once.
const SHUTDOWN: libc::c_ulong = 0x8004_587d;
/// Without writing the filesystem's journal first.
const NO_LOG_FLUSH: u32 = 2;
/// Large enough for every filesystem's smallest.
const SIZE: u64 = 400 << 20;

/// Filesystems, and how they are made.
const KINDS: [(&str, &[&str]); 2] = [("ext4", &["-q", "-F"]), ("xfs", &["-q", "-f"])];

/// Cuts the power so many times on each filesystem that can be mounted here.
pub fn run(cuts: u64) -> Tally {
    let mut total = Tally::default();
    for (kind, options) in KINDS {
        match Mount::make(kind, options) {
            Err(reason) => println!("SKIPPED power cuts on {kind}: {reason}"),
            Ok(mount) => {
                let tally = mount.torment(cuts);
                println!("power cuts on {kind}: {} cuts, {} old, {} new", tally.kills, tally.old, tally.new);
                total = total.plus(tally);
            }
        }
    }
    total
}

/// A filesystem in a file.
struct Mount {
    directory: TempDir,
}

impl Mount {
    fn make(kind: &str, options: &[&str]) -> Result<Self, String> {
        let mkfs = in_path(&format!("mkfs.{kind}")).ok_or_else(|| format!("mkfs.{kind} is not installed"))?;
        if !rustix::process::geteuid().is_root() {
            return Err("only root can mount".to_owned());
        }
        let mount = Self { directory: TempDir::new().unwrap() };
        File::create(mount.image()).unwrap().set_len(SIZE).unwrap();
        fs::create_dir(mount.point()).unwrap();
        let made =
            Command::new(mkfs).args(options).arg(mount.image()).stdout(Stdio::null()).status().unwrap();
        if !made.success() {
            return Err(format!("mkfs.{kind} fails"));
        }
        mount.mount()?;
        Ok(mount)
    }

    fn image(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    fn point(&self) -> PathBuf {
        self.directory.path().join("mnt")
    }

    fn mount(&self) -> Result<(), String> {
        let mut mount = Command::new("mount");
        mount.args(["-o", "loop"]).arg(self.image()).arg(self.point());
        let output = mount.output().map_err(|error| error.to_string())?;
        if output.status.success() {
            return Ok(());
        }
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }

    fn unmount(&self) {
        let gone = Command::new("umount").arg(self.point()).stderr(Stdio::null()).status();
        assert!(gone.is_ok_and(|status| status.success()), "{} cannot be unmounted", self.point().display());
    }

    fn torment(&self, cuts: u64) -> Tally {
        let mut tally = Tally::default();
        let share = cuts.div_ceil(JOBS.len() as u64);
        for &job in JOBS {
            let mut stage = Stage::new(job);
            let room = ready(&stage);
            assert!(command(job, room.path()).status().unwrap().success(), "{} fails undisturbed", job.name);
            stage.learn(room.path());
            let duration = undisturbed(&stage);
            for number in 0..share {
                // Some cuts come after the end: exit status 0 means that it is on the disk.
                let delay = duration.mul_f64(((number * 37 + 11) % 120) as f64 / 80.0);
                self.cut(&stage, delay, &mut tally);
            }
        }
        tally
    }

    fn cut(&self, stage: &Stage, delay: Duration, tally: &mut Tally) {
        let room = self.point().join("room");
        stage.furnish(&room);
        prepare(stage.job, &room);
        sync(&room);
        let mut child = command(stage.job, &room).spawn().unwrap();
        std::thread::sleep(delay);
        let ended_well = child.try_wait().unwrap().is_some_and(|status| status.success());
        self.shut_down();
        let _ = child.kill();
        child.wait().unwrap();
        self.unmount();
        self.mount().unwrap();
        let when = format!("{}, power cut after {delay:?}", stage.job.name);
        verdict(stage, &room, &when, ended_well, tally);
        fs::remove_dir_all(&room).unwrap();
    }

    fn shut_down(&self) {
        let point = File::open(self.point()).unwrap();
        let how = NO_LOG_FLUSH;
        // SAFETY: the request reads four bytes of a number that outlives the call.
        let done = unsafe { libc::ioctl(point.as_raw_fd(), SHUTDOWN, &raw const how) };
        assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l"]).arg(self.point()).stderr(Stdio::null()).status();
    }
}

/// Makes a directory and all of its filesystem durable.
fn sync(directory: &Path) {
    let directory = File::open(directory).unwrap();
    rustix::fs::syncfs(&directory).unwrap();
}
