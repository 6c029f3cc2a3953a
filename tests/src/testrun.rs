//! Frames put to a pinned program by BPF_PROG_TEST_RUN, with all that the kernel gives back.

use anyhow::{Context, Result, ensure};
use aya::programs::{SchedClassifier, Xdp};
use aya::{TestRun, TestRunOptions};
use aya_obj::programs::XdpAttachType;
use bytemuck::{Pod, Zeroable};
use gateway_common::abi::{Hook, METADATA_MAGIC, Metadata, programs};
use std::path::{Path, PathBuf};

/// Room for what a program puts in front of a frame.
const GROWTH: usize = 256;
/// What an Ethernet header takes; a test run wants as many bytes in all.
const ETHERNET: usize = 14;

/// What came of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestRunOutcome {
    /// The `XDP_*` or `TC_ACT_*` that the program returned.
    pub code: u32,
    /// The frame afterwards.
    pub frame: Vec<u8>,
    /// XDP: what was put in front of the frame, if it is ours.
    pub metadata: Option<Metadata>,
    /// tc: skb mark afterwards.
    pub mark: u32,
    /// tc: skb priority afterwards.
    pub priority: u32,
}

/// `struct xdp_md` of linux/bpf.h.
#[derive(Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
struct XdpMd {
    data: u32,
    data_end: u32,
    data_meta: u32,
    ingress_ifindex: u32,
    rx_queue_index: u32,
    egress_ifindex: u32,
}

/// Words of `struct __sk_buff` of linux/bpf.h, and the places of those that matter here.
const SKB_WORDS: usize = 48;
const SKB_MARK: usize = 2;
const SKB_PRIORITY: usize = 8;
const SKB_IFINDEX: usize = 10;

/// The programs of a pin folder, opened for test runs.
#[derive(Debug)]
pub struct Programs {
    xdp: Xdp,
    tc: SchedClassifier,
}

impl Programs {
    /// Finds them, wherever below the folder they are pinned.
    ///
    /// # Errors
    /// If they are not there.
    pub fn find(pins: &Path) -> Result<Programs> {
        let path =
            |name: &str| find(pins, name).with_context(|| format!("no pin {name} in {}", pins.display()));
        let xdp = Xdp::from_pin(path(programs::XDP)?, XdpAttachType::Interface)?;
        let tc = SchedClassifier::from_pin(path(programs::TC_INGRESS)?)?;
        Ok(Programs { xdp, tc })
    }

    /// Puts a frame to the XDP program. A frame shorter than an Ethernet header goes behind some
    /// metadata, since a run wants that many bytes in all; kernels that look closer refuse it.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn xdp(&self, frame: &[u8], ifindex: u32) -> Result<TestRunOutcome> {
        let in_front = ETHERNET.saturating_sub(frame.len()).next_multiple_of(4);
        let data = [vec![0; in_front].as_slice(), frame].concat();
        let before = XdpMd {
            data: in_front as u32,
            data_end: data.len() as u32,
            ingress_ifindex: ifindex,
            ..Default::default()
        };
        let mut after = XdpMd::default();
        let mut out = vec![0; data.len() + GROWTH];
        let options = TestRunOptions {
            data_in: Some(&data),
            data_out: Some(&mut out),
            ctx_in: Some(bytemuck::bytes_of(&before)),
            ctx_out: Some(bytemuck::bytes_of_mut(&mut after)),
            repeat: 1,
            ..Default::default()
        };
        let result = self.xdp.test_run(options)?;
        out.truncate(result.data_size_out as usize);
        ensure!(after.data as usize <= out.len(), "the frame starts at {} of {}", after.data, out.len());
        // What comes back starts with the metadata; `data` says how long that is.
        let frame = out.split_off(after.data as usize);
        let metadata = bytemuck::try_pod_read_unaligned::<Metadata>(&out).ok();
        let metadata = metadata.filter(|metadata| metadata.magic == METADATA_MAGIC);
        Ok(TestRunOutcome { code: result.return_value, frame, metadata, mark: 0, priority: 0 })
    }

    /// Puts a frame to the tc program.
    ///
    /// # Errors
    /// If the kernel refuses: frames shorter than an Ethernet header, and too long ones.
    pub fn tc(&self, frame: &[u8], ifindex: u32) -> Result<TestRunOutcome> {
        let mut before = [0u32; SKB_WORDS];
        before[SKB_IFINDEX] = ifindex;
        let mut after = [0u32; SKB_WORDS];
        let mut out = vec![0; frame.len() + GROWTH];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ctx_in: Some(bytemuck::bytes_of(&before)),
            ctx_out: Some(bytemuck::bytes_of_mut(&mut after)),
            repeat: 1,
            ..Default::default()
        };
        let result = self.tc.test_run(options)?;
        out.truncate(result.data_size_out as usize);
        Ok(TestRunOutcome {
            code: result.return_value,
            frame: out,
            metadata: None,
            mark: after[SKB_MARK],
            priority: after[SKB_PRIORITY],
        })
    }
}

/// Why some kernels let no such frame into a test run at this hook, if that is so. 6.18 does not.
#[must_use]
pub fn may_be_refused(hook: Hook, frame: &[u8]) -> Option<&'static str> {
    let ip_header = match frame.get(12..14) {
        None => return Some("test runs of this kernel take no frame below 14 bytes"),
        Some([0x08, 0x00]) => 20,
        Some([0x86, 0xdd]) => 40,
        Some(_) => 0,
    };
    let cut = hook == Hook::TcIngress && frame.len() < ETHERNET + ip_header;
    cut.then_some("tc test runs of this kernel take no IP frame that ends inside the IP header")
}

/// The file of this name, anywhere below a folder.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let entries: Vec<_> = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).collect();
    let here = entries.iter().find(|path| path.file_name().is_some_and(|found| found == name));
    here.cloned().or_else(|| entries.iter().filter(|path| path.is_dir()).find_map(|path| find(path, name)))
}
