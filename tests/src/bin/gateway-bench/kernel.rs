//! The bench object and the gateway's own programs, as the benchmarks use them.

use crate::frames::Frame;
use anyhow::{Context, Result, anyhow};
use aya::maps::{Array, MapData, ProgramArray};
use aya::programs::{ProgramFd, Xdp};
use aya::{Ebpf, EbpfLoader, TestRun, TestRunAttrs, TestRunOptions};
use gateway_common::abi::{self, ABI_VERSION};
use gateway_tests::object::PinFolder;
use gateway_user::compile::{self, Names};
use gateway_user::dataplane::{Dataplane, Options};
use gateway_user::policy::{self, Policy};

const OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/bench.bpf.o"));

/// Most frames that take turns.
pub const FRAMES: u32 = 1 << 20;

/// The bench object, loaded.
pub struct Bench {
    ebpf: Ebpf,
    frames: Array<MapData, Frame>,
    cursor: Array<MapData, [u32; 2]>,
    target: ProgramArray<MapData>,
}

impl Bench {
    pub fn load() -> Result<Bench> {
        let mut ebpf = EbpfLoader::new().map_max_entries("FRAMES", FRAMES).load(OBJECT)?;
        for (_, program) in ebpf.programs_mut() {
            let xdp: &mut Xdp = program.try_into()?;
            xdp.load()?;
        }
        let mut take =
            |name: &str| ebpf.take_map(name).ok_or_else(|| anyhow!("the bench object lacks {name}"));
        let (frames, cursor, target) = (take("FRAMES")?, take("CURSOR")?, take("TARGET")?);
        Ok(Bench { frames: frames.try_into()?, cursor: cursor.try_into()?, target: target.try_into()?, ebpf })
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
        Ok(self.cursor.set(0, [0, count - 1], 0)?)
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
        self.target.set(0, program, 0)?;
        let restore = self.program("bench_restore")?;
        let options = TestRunOptions { data_in: Some(&[0; 64]), repeat, ..Default::default() };
        Ok(restore.test_run(options)?.duration.as_nanos() as f64)
    }

    /// Sends `count` live frames.
    pub fn generate(&mut self, count: u32) -> Result<()> {
        let generate = self.program("bench_generate")?;
        let options = TestRunOptions {
            data_in: Some(&[0; 64]),
            repeat: count,
            attrs: TestRunAttrs::new().xdp_live_frames(64),
            ..Default::default()
        };
        generate.test_run(options)?;
        Ok(())
    }
}

/// The gateway's object under a private pin folder.
pub struct Gateway {
    pub dataplane: Dataplane,
    pins: PinFolder,
}

impl Gateway {
    pub fn load(flow_accounting: bool) -> Result<Gateway> {
        let pins = PinFolder::new("bench");
        let mut options = Options::new(pins.path());
        options.flow_accounting = flow_accounting;
        Ok(Gateway { dataplane: Dataplane::open(&options)?, pins })
    }

    /// A descriptor of one of its programs.
    pub fn program_fd(&self, name: &str) -> Result<ProgramFd> {
        let pin = self.pins.path().join(format!("v{ABI_VERSION}/programs/{name}"));
        let program = Xdp::from_pin(pin, aya_obj::programs::XdpAttachType::Interface)?;
        Ok(program.fd()?.try_clone()?)
    }

    /// Parses, compiles and applies a policy.
    pub fn apply(&mut self, text: &str, slots: &[(&str, u8)]) -> Result<()> {
        let image = compiled(&read(text)?, slots)?;
        self.dataplane.apply(&image, [0; 4], 0)?;
        Ok(())
    }
}

/// A policy's model.
pub fn read(text: &str) -> Result<Policy> {
    policy::parse("bench", text).map_err(|errors| anyhow!("{}", errors.render(false)))
}

/// A policy's image.
pub fn compiled(policy: &Policy, slots: &[(&str, u8)]) -> Result<compile::Image> {
    let order = policy.routes.iter().enumerate();
    let counters = order.map(|(n, route)| (route.name.as_str(), n as u32 + abi::COUNTER_FIRST_ROUTE));
    let names = BenchNames { slots, counters: counters.collect() };
    compile::compile(policy, &names).map_err(|error| anyhow!("{error}"))
}

struct BenchNames<'a> {
    slots: &'a [(&'a str, u8)],
    counters: std::collections::HashMap<&'a str, u32>,
}

impl Names for BenchNames<'_> {
    fn interface_slot(&self, name: &str) -> Option<u8> {
        self.slots.iter().find(|(known, _)| *known == name).map(|(_, slot)| *slot)
    }
    fn counter_slot(&self, route: &str) -> u32 {
        self.counters.get(route).copied().unwrap_or(abi::COUNTER_DEFAULT)
    }
}
