//! The bench object and the gateway's own programs, as the benchmarks use them.

use crate::frames::{Frame, RESTORED};
use anyhow::{Context, Result, anyhow};
use aya::maps::{Array, MapData, ProgramArray};
use aya::programs::{ProgramError, ProgramFd, Xdp};
use aya::{Ebpf, EbpfLoader, TestRun, TestRunAttrs, TestRunOptions};
use bytemuck::{Pod, Zeroable};
use gateway_common::abi::{self, ABI_VERSION, TARGET_KNOWN, TARGET_MEASURED, TargetState};
use gateway_common::packet::address_of;
use gateway_tests::object::PinFolder;
use gateway_user::compile::{self, LabelTable, Names, PoolTables, Surroundings};
use gateway_user::dataplane::{Dataplane, Options};
use gateway_user::policy::{Policy, Pool, Target};
use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::sync::OnceLock;

const OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/bench.bpf.o"));

/// Most frames that take turns.
pub const FRAMES: u32 = 1 << 20;

/// Most points of a sender's progress that are kept: two a millisecond.
const POINTS: u32 = 1 << 17;
/// Elements before them.
const HEADS: u32 = 2;

/// The interface of frames of which nothing else is said.
const LOOPBACK: u32 = 1;

/// How a frame arrives.
#[derive(Clone, Copy)]
pub struct Arrival {
    /// Bytes.
    pub length: usize,
    /// Index of the interface.
    pub ifindex: u32,
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

/// The bench object, loaded.
pub struct Bench {
    ebpf: Ebpf,
    frames: Array<MapData, Frame>,
    cursor: Array<MapData, [u32; 3]>,
    target: ProgramArray<MapData>,
    progress: Array<MapData, [u64; 2]>,
}

impl Bench {
    pub fn load() -> Result<Bench> {
        let mut loader = EbpfLoader::new();
        loader.map_max_entries("FRAMES", FRAMES).map_max_entries("PROGRESS", HEADS + POINTS);
        let mut ebpf = loader.load(OBJECT)?;
        for (_, program) in ebpf.programs_mut() {
            let xdp: &mut Xdp = program.try_into()?;
            xdp.load()?;
        }
        let mut take =
            |name: &str| ebpf.take_map(name).ok_or_else(|| anyhow!("the bench object lacks {name}"));
        let (frames, cursor, target, progress) =
            (take("FRAMES")?, take("CURSOR")?, take("TARGET")?, take("PROGRESS")?);
        Ok(Bench {
            frames: frames.try_into()?,
            cursor: cursor.try_into()?,
            target: target.try_into()?,
            progress: progress.try_into()?,
            ebpf,
        })
    }

    /// The frames: a power of two of them.
    pub fn load_frames(&mut self, frames: &[Frame]) -> Result<()> {
        anyhow::ensure!(frames.len().is_power_of_two() && frames.len() <= FRAMES as usize, "frames");
        for (index, frame) in (0..).zip(frames) {
            self.frames.set(index, frame, 0)?;
        }
        self.take_turns(frames.len() as u32)
    }

    /// The first so many of the frames take turns from now on: a power of two.
    pub fn take_turns(&mut self, count: u32) -> Result<()> {
        let [_, _, length] = self.cursor.get(&0, 0)?;
        Ok(self.cursor.set(0, [0, count - 1, length], 0)?)
    }

    /// How long the buffers are, bytes.
    fn set_length(&mut self, length: u32) -> Result<()> {
        let [next, mask, before] = self.cursor.get(&0, 0)?;
        if length != before {
            self.cursor.set(0, [next, mask, length], 0)?;
        }
        Ok(())
    }

    /// The interface that live frames leave by.
    pub fn set_out(&mut self, ifindex: u32) -> Result<()> {
        let mut out: Array<&mut MapData, u32> = self.ebpf.map_mut("OUT").context("OUT")?.try_into()?;
        Ok(out.set(0, ifindex, 0)?)
    }

    /// Frames that came to their end.
    pub fn ended(&self) -> Result<u64> {
        let ended: Array<&MapData, u64> = self.ebpf.map("ENDED").context("ENDED")?.try_into()?;
        let mut sum = 0;
        for cpu in 0..abi::MAX_CPUS as u32 {
            sum += ended.get(&cpu, 0)?;
        }
        Ok(sum)
    }

    pub fn program(&mut self, name: &str) -> Result<&mut Xdp> {
        Ok(self.ebpf.program_mut(name).with_context(|| format!("no program {name}"))?.try_into()?)
    }

    /// A descriptor of one of the bench object's programs.
    pub fn program_fd(&mut self, name: &str) -> Result<ProgramFd> {
        Ok(self.program(name)?.fd()?.try_clone()?)
    }

    /// Nanoseconds of one run of a program behind the restorer, the mean of `repeat`.
    pub fn measure(&mut self, program: &ProgramFd, repeat: u32) -> Result<f64> {
        self.aim(program)?;
        self.put(Arrival { length: RESTORED, ifindex: LOOPBACK }, repeat)
    }

    /// The program that [`Bench::put`] runs.
    pub fn aim(&mut self, program: &ProgramFd) -> Result<()> {
        Ok(self.target.set(0, program, 0)?)
    }

    /// Nanoseconds of one run of the program, the mean of `repeat`. What a signal interrupts begins anew.
    pub fn put(&mut self, arrival: Arrival, repeat: u32) -> Result<f64> {
        self.put_by("bench_restore", arrival, repeat)
    }

    /// As [`Bench::put`], and notes for [`Bench::progress`] how it gets on.
    pub fn put_watched(&mut self, arrival: Arrival, repeat: u32) -> Result<f64> {
        self.put_by("bench_restore_watched", arrival, repeat)
    }

    /// Begins to note progress anew, `now`: `CLOCK_MONOTONIC` nanoseconds.
    pub fn begin_progress(&mut self, now: u64) -> Result<()> {
        self.progress.set(0, [0, 0], 0)?;
        Ok(self.progress.set(1, [now, now], 0)?)
    }

    /// How many frames [`Bench::put_watched`] had put by when, `CLOCK_MONOTONIC` nanoseconds, in order: around each time
    /// without a frame of a millisecond or more, and every millisecond.
    pub fn progress(&self) -> Result<Vec<[u64; 2]>> {
        let [count, _] = self.progress.get(&0, 0)?;
        anyhow::ensure!(count <= POINTS.into(), "{count} points of a sender's progress do not fit");
        (0..count as u32).map(|point| Ok(self.progress.get(&(HEADS + point), 0)?)).collect()
    }

    fn put_by(&mut self, restorer: &str, arrival: Arrival, repeat: u32) -> Result<f64> {
        let data_end = u32::try_from(arrival.length)?;
        self.set_length(data_end)?;
        let restore = self.program(restorer)?;
        let frame = vec![0; arrival.length];
        let context = XdpMd { data_end, ingress_ifindex: arrival.ifindex, ..XdpMd::default() };
        loop {
            let options = TestRunOptions {
                data_in: Some(&frame),
                ctx_in: Some(bytemuck::bytes_of(&context)),
                repeat,
                ..Default::default()
            };
            match restore.test_run(options) {
                Err(error) if is_interrupted(&error) => {}
                result => return Ok(result?.duration.as_nanos() as f64),
            }
        }
    }

    /// Sends `count` live frames of this length, bytes. False where a signal ended it before.
    pub fn generate(&mut self, length: usize, count: u32) -> Result<bool> {
        self.set_length(u32::try_from(length)?)?;
        let generate = self.program("bench_generate")?;
        let options = TestRunOptions {
            data_in: Some(&vec![0; length]),
            repeat: count,
            attrs: TestRunAttrs::new().xdp_live_frames(64),
            ..Default::default()
        };
        match generate.test_run(options) {
            Err(error) if is_interrupted(&error) => Ok(false),
            result => Ok(result.map(|_| true)?),
        }
    }
}

fn is_interrupted(error: &ProgramError) -> bool {
    matches!(error, ProgramError::SyscallError(call) if call.io_error.kind() == ErrorKind::Interrupted)
}

/// Lines of an arena that takes a small policy.
pub const SMALL_ARENA: u32 = 1 << 14;

/// The gateway's object under a private pin folder.
pub struct Gateway {
    pub dataplane: Dataplane,
    pins: PinFolder,
}

impl Gateway {
    pub fn load(flow_accounting: bool) -> Result<Gateway> {
        Gateway::with(|options| options.flow_accounting = flow_accounting)
    }

    /// Loads it with other options than the defaults.
    pub fn with(change: impl FnOnce(&mut Options)) -> Result<Gateway> {
        let pins = PinFolder::new("bench");
        let mut options = Options::new(pins.path());
        change(&mut options);
        Ok(Gateway { dataplane: Dataplane::open(&options)?, pins })
    }

    /// A descriptor of one of its programs.
    pub fn program_fd(&self, name: &str) -> Result<ProgramFd> {
        let pin = self.pins.path().join(format!("v{ABI_VERSION}/programs/{name}"));
        let program = Xdp::from_pin(pin, aya_obj::programs::XdpAttachType::Interface)?;
        Ok(program.fd()?.try_clone()?)
    }

    /// Compiles and applies a policy.
    pub fn apply(&mut self, policy: &Policy, node: Node<'_>) -> Result<()> {
        let image = compiled(policy, node)?;
        self.dataplane.apply(&image, [0; 4], 0)?;
        self.dataplane.set_target_states(&target_states(policy))?;
        let slots: HashMap<String, u32> = compile::target_names(policy).into_iter().zip(1..).collect();
        let terms = compile::health_terms(policy, |_| false, |name| slots.get(name).copied());
        self.dataplane.set_health(&terms.targets, &terms.groups)?;
        Ok(())
    }
}

/// Every target takes connections, in the slots of [`BenchNames`].
fn target_states(policy: &Policy) -> Vec<(u32, TargetState)> {
    let targets =
        policy.pools.values().flat_map(|pool| pool.targets.values().map(move |target| (pool, target)));
    let state = |(pool, target): (&Pool, &Target)| TargetState {
        address: address_of(target.address),
        port: target.port.unwrap_or(0).into(),
        flags: if pool.health.is_some() { TARGET_KNOWN | TARGET_MEASURED } else { TARGET_KNOWN },
        ..TargetState::default()
    };
    (1..).zip(targets.map(state)).collect()
}

/// A policy's image.
pub fn compiled(policy: &Policy, node: Node<'_>) -> Result<compile::Image> {
    compiled_with(policy, node, &LabelTable::build(&policy.labels)?)
}

/// A policy's image, its labels compiled.
pub fn compiled_with(policy: &Policy, node: Node<'_>, labels: &LabelTable) -> Result<compile::Image> {
    let order = policy.routes.iter().enumerate();
    let counters = order.map(|(n, route)| (route.name.as_str(), n as u32 + abi::COUNTER_FIRST_ROUTE));
    let names = BenchNames {
        node,
        counters: counters.collect(),
        limits: compile::limit_names(policy).into_iter().zip(node.first_limit..).collect(),
        labels: policy.labels.keys().map(String::as_str).zip(1..).collect(),
        targets: compile::target_names(policy).into_iter().zip(1..).collect(),
    };
    let pools = PoolTables::default();
    let surroundings =
        Surroundings { names: &names, labels, live_sets: &[], pools: &pools, ns_per_jiffy: ns_per_jiffy()? };
    compile::compile(policy, &surroundings).map_err(|error| anyhow!("{error}"))
}

/// What names mean on the node of a benchmark.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    /// Slots of interfaces.
    pub interfaces: &'a [(&'a str, u8)],
    /// Slot of the policy's first limit; the others follow in the order of their names.
    pub first_limit: u32,
}

impl Default for Node<'_> {
    fn default() -> Self {
        Node { interfaces: &[], first_limit: 1 }
    }
}

/// Nanoseconds of a jiffy, as this kernel has it.
fn ns_per_jiffy() -> Result<u64> {
    static FOUND: OnceLock<u64> = OnceLock::new();
    if let Some(found) = FOUND.get() {
        return Ok(*found);
    }
    let clock = Gateway::with(|options| options.arena_lines = SMALL_ARENA)?.dataplane.readers().clock()?;
    Ok(*FOUND.get_or_init(|| clock.ns_per_jiffy()))
}

struct BenchNames<'a> {
    node: Node<'a>,
    counters: HashMap<&'a str, u32>,
    limits: HashMap<String, u32>,
    labels: HashMap<&'a str, u32>,
    targets: HashMap<String, u32>,
}

impl Names for BenchNames<'_> {
    fn interface_slot(&self, name: &str) -> Option<u8> {
        self.node.interfaces.iter().find(|(known, _)| *known == name).map(|(_, slot)| *slot)
    }
    fn counter_slot(&self, route: &str) -> u32 {
        self.counters.get(route).copied().unwrap_or(abi::COUNTER_DEFAULT)
    }
    fn limit_slot(&self, limit: &str) -> u32 {
        self.limits.get(limit).copied().unwrap_or(0)
    }
    fn label_number(&self, label: &str) -> u32 {
        self.labels.get(label).copied().unwrap_or(0)
    }
    fn target_slot(&self, target: &str) -> u32 {
        self.targets.get(target).copied().unwrap_or(0)
    }
    fn outer_source(&self, _: IpAddr) -> Option<IpAddr> {
        None // Pools of benchmarks name theirs.
    }
}
