//! Packets that nobody here made: the captures that tcpdump tests itself with. They come from the
//! distribution's source package, are fetched once and kept in `target/captures`.

use crate::netns::run;
use anyhow::{Context, Result, bail, ensure};
use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError, create_reader};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Larger than any block of these captures.
const BUFFER_BYTES: usize = 1 << 20;
/// The part of a link type that is not about frame check sequences.
const LINK_TYPE_MASK: i32 = 0xffff;

/// A frame of a capture.
#[derive(Clone, Debug)]
pub struct Captured {
    /// The capture's file name.
    pub file: String,
    /// Its number in the file, from 1.
    pub number: usize,
    /// The bytes that were captured.
    pub frame: Vec<u8>,
}

/// What was read.
#[derive(Clone, Debug, Default)]
pub struct Captures {
    /// Every Ethernet frame.
    pub frames: Vec<Captured>,
    /// Files with at least one.
    pub files: usize,
    /// Files of other link types.
    pub other_link_types: usize,
    /// Files that are damaged on purpose; their frames up to the damage count.
    pub damaged: usize,
}

/// Reads every Ethernet frame of every capture, fetching them if need be.
///
/// # Errors
/// If they cannot be fetched or read.
pub fn ethernet_frames() -> Result<Captures> {
    let folder =
        fetched().context("fetching tcpdump's captures (they come with the source package tcpdump)")?;
    let mut paths: Vec<_> = fs::read_dir(&folder)?.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "pcap" || e == "pcapng"));
    paths.sort();
    let mut captures = Captures::default();
    for path in paths {
        let before = captures.frames.len();
        let whole = read(&path, &mut captures.frames).with_context(|| format!("{}", path.display()))?;
        captures.damaged += usize::from(!whole);
        match captures.frames.len() > before {
            true => captures.files += 1,
            false => captures.other_link_types += 1,
        }
    }
    Ok(captures)
}

/// Adds a file's Ethernet frames; false if the file is damaged.
fn read(path: &Path, frames: &mut Vec<Captured>) -> Result<bool> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let Ok(mut reader) = create_reader(BUFFER_BYTES, File::open(path)?) else { return Ok(false) };
    // Legacy captures have one link type, the newer ones one for each interface.
    let mut link_types = Vec::new();
    let mut number = 0;
    loop {
        let length = match reader.next() {
            Ok((length, block)) => {
                if let Some((interface, frame)) = packet(&block, &mut link_types) {
                    number += 1;
                    if link_types.get(interface).is_some_and(|l: &Linktype| l.0 & LINK_TYPE_MASK == 1) {
                        frames.push(Captured { file: name.clone(), number, frame });
                    }
                }
                length
            }
            Err(PcapError::Eof) => return Ok(true),
            Err(PcapError::Incomplete(_)) => 0,
            Err(_) => return Ok(false),
        };
        if length > 0 {
            reader.consume(length);
        } else if reader.reader_exhausted() || reader.refill().is_err() {
            return Ok(false);
        }
    }
}

/// A block's packet and its interface; keeps the link types up to date.
fn packet(block: &PcapBlockOwned<'_>, link_types: &mut Vec<Linktype>) -> Option<(usize, Vec<u8>)> {
    let (interface, data, length) = match block {
        PcapBlockOwned::LegacyHeader(header) => {
            *link_types = vec![header.network];
            return None;
        }
        PcapBlockOwned::NG(Block::SectionHeader(_)) => {
            link_types.clear();
            return None;
        }
        PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
            link_types.push(interface.linktype);
            return None;
        }
        PcapBlockOwned::Legacy(packet) => (0, packet.data, packet.caplen as usize),
        PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
            (packet.if_id as usize, packet.data, packet.caplen as usize)
        }
        PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
            (0, packet.data, packet.data.len().min(packet.origlen as usize))
        }
        PcapBlockOwned::NG(_) => return None,
    };
    Some((interface, data.get(..length)?.to_vec()))
}

/// The folder with the captures.
fn fetched() -> Result<PathBuf> {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let folder = target.join("captures");
    if folder.join("complete").exists() {
        return Ok(folder);
    }
    // Made aside and renamed: an interrupted fetch leaves nothing that looks whole.
    let work = target.join(format!("captures-{}", std::process::id()));
    let done = fetch(&work).and_then(|tests| {
        fs::write(tests.join("complete"), "")?;
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        Ok(fs::rename(&tests, &folder)?)
    });
    let cleaned = fs::remove_dir_all(&work);
    if !folder.join("complete").exists() {
        done?;
    }
    cleaned?;
    Ok(folder)
}

/// Downloads and unpacks the source package below `work`, and names the folder with its tests.
fn fetch(work: &Path) -> Result<PathBuf> {
    for folder in ["lists/partial", "cache/archives/partial", "source"] {
        fs::create_dir_all(work.join(folder))?;
    }
    let list = work.join("sources.list");
    fs::write(&list, sources()?)?;
    let option = |name: &str, value: &Path| format!("{name}={}", value.display());
    let options = [
        option("Dir::Etc::sourcelist", &list),
        "Dir::Etc::sourceparts=-".into(),
        option("Dir::State::lists", &work.join("lists")),
        option("Dir::Cache", &work.join("cache")),
        "APT::Sandbox::User=root".into(),
    ];
    let apt = |verb: &[&str]| {
        let mut command = std::process::Command::new("apt-get");
        command.current_dir(work.join("source")).args(options.iter().flat_map(|option| ["-o", option]));
        let output = command.args(verb).output().context("apt-get")?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "apt-get {}: {}", verb.join(" "), error.trim());
        Ok(())
    };
    apt(&["update"])?;
    apt(&["source", "--download-only", "tcpdump"])?;
    let archive = fs::read_dir(work.join("source"))?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| {
            path.to_string_lossy().contains(".orig.tar") && !path.to_string_lossy().ends_with(".asc")
        })
        .context("the source package holds no archive")?;
    let out = work.join("source");
    run("tar", &["-xf", &archive.display().to_string(), "-C", &out.display().to_string()])?;
    let tests =
        fs::read_dir(&out)?.flatten().map(|entry| entry.path().join("tests")).find(|path| path.is_dir());
    tests.context("the source package holds no tests")
}

/// `deb-src` lines for the distribution's own archives among the machine's sources.
fn sources() -> Result<String> {
    let format = "$(REPO_URI) $(RELEASE) $(COMPONENT)";
    let targets =
        run("apt-get", &["indextargets", "--no-release-info", "--format", format, "Created-By: Packages"])?;
    let mut lines: Vec<_> = targets
        .lines()
        .filter(|line| {
            let archive = line.split_whitespace().next().unwrap_or_default().trim_end_matches('/');
            ["/debian", "/ubuntu"].iter().any(|end| archive.ends_with(end)) && line.ends_with(" main")
        })
        .map(|line| format!("deb-src {line}\n"))
        .collect();
    lines.sort();
    lines.dedup();
    if lines.is_empty() {
        bail!("no Debian or Ubuntu archive among the machine's package sources:\n{targets}");
    }
    Ok(lines.concat())
}
