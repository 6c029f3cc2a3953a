//! Frames run through the loaded programs, without a network.

use super::links::causes;
use super::{Dataplane, Error};
use aya::programs::ProgramError;
use aya::{TestRun, TestRunAttrs, TestRunOptions};
use bytemuck::{Pod, Zeroable};
use gateway_common::abi::{METADATA_MAGIC, Metadata, programs};

/// Room for what a program puts in front of a frame.
const GROWTH: usize = 256;

/// A program that can be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// The XDP program.
    Xdp,
    /// The tc ingress program.
    Tc,
    /// The empty XDP program.
    Pass,
}

impl Program {
    fn name(self) -> &'static str {
        match self {
            Program::Xdp => programs::XDP,
            Program::Tc => programs::TC_INGRESS,
            Program::Pass => programs::XDP_PASS,
        }
    }
}

/// What a test run gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestRunOutcome {
    /// What the program returned: an XDP or tc action.
    pub return_value: u32,
    /// The frame afterwards, from its Ethernet header on.
    pub frame: Vec<u8>,
    /// XDP: what was put in front of the frame for tc.
    pub metadata: Option<Metadata>,
    /// tc: skb mark afterwards.
    pub mark: u32,
    /// tc: skb priority afterwards.
    pub priority: u32,
    /// Nanoseconds for one run, the mean over all.
    pub duration_ns: u64,
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

/// `struct __sk_buff` of linux/bpf.h.
#[derive(Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
struct SkBuff {
    len: u32,
    pkt_type: u32,
    mark: u32,
    queue_mapping: u32,
    protocol: u32,
    vlan_present: u32,
    vlan_tci: u32,
    vlan_proto: u32,
    priority: u32,
    ingress_ifindex: u32,
    ifindex: u32,
    /// What no test run of ours sets or looks at. Two, since no trait of bytemuck knows arrays of 37.
    rest: [u32; 32],
    rest2: [u32; 5],
}

const _: () = assert!(size_of::<SkBuff>() == 192);

impl Dataplane {
    /// Runs a frame `repeat` times (at least once) through a program as if it had arrived on the
    /// interface with index `ifindex`, or on loopback. It counts like any other packet. The frame
    /// is not restored between the runs.
    ///
    /// # Errors
    /// Where the kernel refuses: frames shorter than an Ethernet header, or an interface that is not
    /// there.
    pub fn test_run(
        &self,
        program: Program,
        frame: &[u8],
        ifindex: Option<u32>,
        repeat: u32,
    ) -> Result<TestRunOutcome, Error> {
        match program {
            Program::Xdp => run_xdp(&self.programs.xdp, program, frame, ifindex, repeat),
            Program::Pass => run_xdp(&self.programs.pass, program, frame, ifindex, repeat),
            Program::Tc => self.run_tc(frame, ifindex, repeat),
        }
    }

    /// Sends `repeat` copies of a frame through the XDP program as live frames: what it redirects
    /// or sends back leaves, and what it passes enters the stack as if received on `ifindex`.
    /// Returns the nanoseconds for one frame.
    ///
    /// # Errors
    /// Where the kernel refuses, see [`Dataplane::test_run`].
    pub fn send_live(&self, program: Program, frame: &[u8], ifindex: u32, repeat: u32) -> Result<u64, Error> {
        const BATCH: u32 = 64;
        let xdp = match program {
            Program::Xdp => &self.programs.xdp,
            Program::Pass => &self.programs.pass,
            Program::Tc => {
                let reason = "live frames are for XDP programs".to_owned();
                return Err(Error::TestRun { program: program.name(), reason });
            }
        };
        let context = context(frame, Some(ifindex));
        let options = TestRunOptions {
            data_in: Some(frame),
            ctx_in: Some(bytemuck::bytes_of(&context)),
            repeat,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..Default::default()
        };
        let result = xdp.test_run(options).map_err(refused(program))?;
        Ok(result.duration.as_nanos() as u64)
    }

    fn run_tc(&self, frame: &[u8], ifindex: Option<u32>, repeat: u32) -> Result<TestRunOutcome, Error> {
        let context = SkBuff { ifindex: ifindex.unwrap_or_default(), ..Default::default() };
        let mut after = SkBuff::default();
        let mut out = vec![0; frame.len() + GROWTH];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ctx_in: Some(bytemuck::bytes_of(&context)),
            ctx_out: Some(bytemuck::bytes_of_mut(&mut after)),
            repeat: repeat.max(1),
            ..Default::default()
        };
        let result = self.programs.tc.test_run(options).map_err(refused(Program::Tc))?;
        out.truncate(result.data_size_out as usize);
        Ok(TestRunOutcome {
            return_value: result.return_value,
            frame: out,
            metadata: None,
            mark: after.mark,
            priority: after.priority,
            duration_ns: result.duration.as_nanos() as u64,
        })
    }
}

fn run_xdp(
    xdp: &aya::programs::Xdp,
    program: Program,
    frame: &[u8],
    ifindex: Option<u32>,
    repeat: u32,
) -> Result<TestRunOutcome, Error> {
    let before = context(frame, ifindex);
    let mut after = XdpMd::default();
    let mut out = vec![0; frame.len() + GROWTH];
    let options = TestRunOptions {
        data_in: Some(frame),
        data_out: Some(&mut out),
        ctx_in: Some(bytemuck::bytes_of(&before)),
        ctx_out: Some(bytemuck::bytes_of_mut(&mut after)),
        repeat: repeat.max(1),
        ..Default::default()
    };
    let result = xdp.test_run(options).map_err(refused(program))?;
    out.truncate(result.data_size_out as usize);
    // The kernel gives back what lies from the metadata on; `data` is then the metadata's length.
    let frame = out.split_off((after.data as usize).min(out.len()));
    let metadata = bytemuck::try_pod_read_unaligned::<Metadata>(&out).ok();
    Ok(TestRunOutcome {
        return_value: result.return_value,
        frame,
        metadata: metadata.filter(|metadata| metadata.magic == METADATA_MAGIC),
        mark: 0,
        priority: 0,
        duration_ns: result.duration.as_nanos() as u64,
    })
}

fn context(frame: &[u8], ifindex: Option<u32>) -> XdpMd {
    XdpMd { data_end: frame.len() as u32, ingress_ifindex: ifindex.unwrap_or_default(), ..Default::default() }
}

fn refused(program: Program) -> impl FnOnce(ProgramError) -> Error {
    move |error| Error::TestRun { program: program.name(), reason: causes(&error) }
}
