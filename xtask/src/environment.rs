//! What machine this is, and whether its disk has room.

use anyhow::{Context, Result, ensure};
use nix::sys::statvfs::statvfs;

use crate::shell::{output, program, target};

/// What the build folder holds after `test` in a new checkout, rounded up.
const SPACE: u64 = 6 << 30;

/// Says what machine this is, for whoever reads the output elsewhere.
pub fn tell() {
    println!("== environment");
    let questions: [&[&str]; 6] = [
        &["uname", "-srvm"],
        &["nproc"],
        &["rustc", "-vV"],
        &["cargo", "-V"],
        &["free", "-m"],
        &["df", "-h", "."],
    ];
    for question in questions {
        let answer =
            output(&mut program(question[0], &question[1..])).unwrap_or_else(|error| error.to_string());
        println!("$ {}\n{}", question.join(" "), answer.trim_end());
    }
}

/// That all of `test` fits on the disk; what is built already counts. Otherwise it would end somewhere within, by the
/// linker's word.
pub fn require_space() -> Result<()> {
    let folder = target();
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let disk = statvfs(&folder).with_context(|| format!("cannot ask for space at {}", folder.display()))?;
    let free = disk.blocks_available() * disk.fragment_size();
    let sizes = output(&mut program("du", ["-s", "--block-size=1", &*folder.to_string_lossy()]))?;
    let there = sizes.split_whitespace().next().and_then(|size| size.parse().ok()).unwrap_or(0);
    ensure!(
        free + there >= SPACE,
        "{} has {:.1} GiB free, and building and testing take {:.1} more: make room, or name a folder elsewhere \
         with CARGO_TARGET_DIR",
        folder.display(),
        gib(free),
        gib(SPACE - there)
    );
    Ok(())
}

fn gib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}
