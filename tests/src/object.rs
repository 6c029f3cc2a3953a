//! The real object, loaded under a private pin folder and attached to real veth pairs in a namespace
//! of its own, with frames put to it by test runs.

use crate::BPF_FOLDER;
use crate::counters::Snapshot;
use crate::golden::{ABSENT, INTERFACE, TARGET, TARGET_WITHOUT_XDP};
use crate::model::{Counter, World};
use crate::netns::{Namespace, unique_name};
use anyhow::{Context, Result, ensure};
use gateway_common::abi::{
    COUNTER_DEFAULT, COUNTER_FIRST_ROUTE, COUNTER_MALFORMED, COUNTER_NO_POLICY, COUNTER_NOT_IP, Hook,
};
use gateway_user::compile::{Names, compile};
use gateway_user::dataplane::{AttachedMode, Dataplane, Mode, Options, Program, TestRunOutcome};
use gateway_user::policy::Policy;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Interfaces of a [`Lab`], with their slots.
const SLOTS: [(&str, u8); 4] = [(INTERFACE, 7), (TARGET, 8), (TARGET_WITHOUT_XDP, 9), (ABSENT, 255)];

/// A private pin folder; removed when dropped, and with it every program that is pinned there.
#[derive(Debug)]
pub struct PinFolder(PathBuf);

impl PinFolder {
    /// One that does not exist yet.
    #[must_use]
    pub fn new(label: &str) -> PinFolder {
        PinFolder(Path::new(BPF_FOLDER).join(unique_name(label)))
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for PinFolder {
    fn drop(&mut self) {
        if self.0.exists()
            && let Err(error) = std::fs::remove_dir_all(&self.0)
        {
            eprintln!("pins {}: {error}", self.0.display());
        }
    }
}

/// Names as the laboratory has them: route `n` of the policy in force has the `n`th counter.
#[derive(Clone, Debug, Default)]
struct LabNames {
    routes: BTreeMap<String, u32>,
}

impl Names for LabNames {
    fn interface_slot(&self, name: &str) -> Option<u8> {
        SLOTS.iter().find(|(known, _)| *known == name).map(|(_, slot)| *slot)
    }

    fn counter_slot(&self, route: &str) -> u32 {
        self.routes.get(route).copied().unwrap_or(COUNTER_DEFAULT)
    }
}

/// The object with interfaces to judge for. The calling thread stays in its namespace.
pub struct Lab {
    /// The data plane.
    pub dataplane: Dataplane,
    /// Where frames are judged.
    pub hook: Hook,
    /// Redirect targets and the interface itself that take XDP frames.
    pub takes_xdp_frames: Vec<&'static str>,
    names: LabNames,
    ifindex: BTreeMap<&'static str, u32>,
    _pins: PinFolder,
    _namespace: Namespace,
    _peers: Namespace,
}

/// What came of a frame.
#[derive(Clone, Debug)]
pub struct Observed {
    /// What the test run gave.
    pub outcome: TestRunOutcome,
    /// What was counted.
    pub delta: Snapshot,
}

impl Lab {
    /// Sets everything up; frames are judged at this hook.
    ///
    /// # Errors
    /// If the kernel refuses the object, or an attachment is not what was asked for.
    pub fn new(hook: Hook) -> Result<Lab> {
        Lab::with_memo(hook, 1 << 10)
    }

    /// The same, with so many sets of the flow memo for each CPU.
    ///
    /// # Errors
    /// As [`Lab::new`].
    pub fn with_memo(hook: Hook, sets_per_cpu: u32) -> Result<Lab> {
        let (namespace, peers) = (Namespace::new("lab")?, Namespace::new("peers")?);
        namespace.silence()?;
        peers.silence()?;
        for (link, peer) in [(INTERFACE, "peer0"), (TARGET, "peer1"), (TARGET_WITHOUT_XDP, "peer2")] {
            namespace.veth(link, &peers, peer)?;
        }
        // A veth takes XDP frames where its peer has generic receive offload; before 6.3 the kernel
        // does not tell, and nothing is relied upon.
        let takes_xdp_frames = if kernel_tells_features()? { vec![INTERFACE, TARGET] } else { Vec::new() };
        for peer in ["peer0", "peer1"] {
            peers.run(|| crate::netns::receive_offload(peer, true))?;
        }
        namespace.enter()?;
        let pins = PinFolder::new("lab");
        let mut options = Options::new(pins.path());
        options.arena_lines = 1 << 17;
        options.memo_sets_per_cpu = sets_per_cpu;
        let mut dataplane = Dataplane::open(&options).context("opening the data plane")?;
        let (mode, wanted) = match hook {
            Hook::Xdp => (Mode::Native, AttachedMode::Native),
            Hook::TcIngress => (Mode::Tc, AttachedMode::Tc),
        };
        let mut ifindex = BTreeMap::new();
        for (name, slot) in SLOTS {
            if name == INTERFACE {
                let attachment = dataplane.attach(name, slot, mode)?;
                ensure!(attachment.mode == wanted, "attached as {attachment:?}");
            } else {
                dataplane.register_egress(name, slot)?;
            }
            if name != ABSENT {
                ifindex.insert(name, nix::net::if_::if_nametoindex(name)?);
            }
        }
        Ok(Lab {
            dataplane,
            hook,
            takes_xdp_frames,
            names: LabNames::default(),
            ifindex,
            _pins: pins,
            _namespace: namespace,
            _peers: peers,
        })
    }

    /// Index of one of the interfaces.
    ///
    /// # Panics
    /// If there is none of that name.
    #[must_use]
    pub fn ifindex(&self, name: &str) -> u32 {
        self.ifindex[name]
    }

    /// The slot of the interface that frames arrive on.
    #[must_use]
    pub fn slot(&self) -> u8 {
        SLOTS[0].1
    }

    /// What the model must know of the laboratory.
    #[must_use]
    pub fn world(&self) -> World {
        World {
            interface: INTERFACE.to_owned(),
            present: self.ifindex.keys().map(|name| (*name).to_owned()).collect(),
        }
    }

    /// Compiles a policy and makes it live.
    ///
    /// # Errors
    /// If it does not compile or fit.
    pub fn apply(&mut self, policy: &Policy) -> Result<()> {
        let routes = policy.routes.iter().zip(COUNTER_FIRST_ROUTE..);
        self.names.routes = routes.map(|(route, slot)| (route.name.clone(), slot)).collect();
        let image = compile(policy, &self.names).context("compiling")?;
        self.dataplane.apply(&image, [0; 4], 0).context("applying")?;
        Ok(())
    }

    /// The slot of a counter under the policy in force.
    #[must_use]
    pub fn counter_slot(&self, counter: &Counter) -> u32 {
        match counter {
            Counter::Route(name) => self.names.counter_slot(name),
            Counter::Default => COUNTER_DEFAULT,
            Counter::NotIp => COUNTER_NOT_IP,
            Counter::Malformed => COUNTER_MALFORMED,
            Counter::NoPolicy => COUNTER_NO_POLICY,
        }
    }

    /// All counters.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let fixed = COUNTER_DEFAULT..COUNTER_FIRST_ROUTE;
        let routes = fixed.chain(self.names.routes.values().copied());
        Snapshot::take(&self.dataplane.readers(), SLOTS.iter().map(|(_, slot)| *slot), routes)
    }

    /// Puts a frame to the program of the hook, as if it had arrived on the interface.
    ///
    /// # Errors
    /// If the test run itself fails.
    pub fn put(&self, frame: &[u8]) -> Result<Observed> {
        let before = self.snapshot();
        let ifindex = self.ifindex(INTERFACE);
        let program = match self.hook {
            Hook::Xdp => Program::Xdp,
            Hook::TcIngress => Program::Tc,
        };
        let outcome = self.dataplane.test_run(program, frame, Some(ifindex), 1)?;
        Ok(Observed { outcome, delta: self.snapshot().since(&before) })
    }
}

/// Whether this kernel tells what its devices can do: since 6.3.
fn kernel_tells_features() -> Result<bool> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok((major, minor) >= (6, 3)),
        _ => anyhow::bail!("kernel release {release}"),
    }
}
