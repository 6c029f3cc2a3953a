//! The real object, loaded under a private pin folder and attached to real veth pairs in a namespace
//! of its own, with frames put to it by test runs.

use crate::BPF_FOLDER;
use crate::counters::Snapshot;
use crate::golden::{ABSENT, INTERFACE, TARGET, TARGET_WITHOUT_XDP};
use crate::kernel;
use crate::model::{Counter, Member, Seen, World};
use crate::netns::{Namespace, unique_name};
use crate::ways;
use anyhow::{Context, Result, bail, ensure};
use gateway_common::abi::{
    COUNTER_DEFAULT, COUNTER_FIRST_ROUTE, COUNTER_MALFORMED, COUNTER_NO_POLICY, COUNTER_NOT_IP, Hook,
    TARGET_KNOWN, TARGET_MEASURED, TargetState, ticks,
};
use gateway_common::image::{MAX_LIMITS, MAX_TARGETS};
use gateway_common::live::FOR_EVER;
use gateway_common::packet::address_of;
use gateway_user::compile::{
    LabelTable, Names, PoolTables, Surroundings, compile, health_terms, limit_names, target_name,
    target_names,
};
use gateway_user::dataplane::{
    AttachedMode, Clock, Dataplane, Error, LiveMember, Mode, Options, Program, TestRunOutcome,
};
use gateway_user::policy::{Policy, Pool, Target};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

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

/// Names as the laboratory has them: route `n` of the policy in force has the `n`th counter, a limit keeps its
/// slot until [`Lab::forget_limits`], and a target always.
#[derive(Clone, Debug, Default)]
struct LabNames {
    routes: BTreeMap<String, u32>,
    limits: BTreeMap<String, u32>,
    labels: BTreeMap<String, u32>,
    targets: BTreeMap<String, u32>,
    /// Slots that were ever given out.
    limit_slots: u32,
}

impl LabNames {
    fn take_in(&mut self, policy: &Policy) -> Result<()> {
        let routes = policy.routes.iter().zip(COUNTER_FIRST_ROUTE..);
        self.routes = routes.map(|(route, slot)| (route.name.clone(), slot)).collect();
        self.labels = policy.labels.keys().cloned().zip(1..).collect();
        for name in target_names(policy) {
            let next = self.targets.len() as u32 + 1;
            self.targets.entry(name).or_insert(next);
        }
        ensure!(self.targets.len() < MAX_TARGETS, "{} slots of targets", self.targets.len());
        for name in limit_names(policy) {
            self.limits.entry(name).or_insert_with(|| {
                self.limit_slots += 1;
                self.limit_slots
            });
        }
        ensure!((self.limit_slots as usize) < MAX_LIMITS, "{} slots of limits", self.limit_slots);
        Ok(())
    }
}

/// Sizes of a laboratory's maps, and what their hashes begin with.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Seed of the hashes.
    pub seed: u64,
    /// Lines of the arena.
    pub arena_lines: u32,
    /// Sets of the flow memo for each CPU.
    pub memo_sets_per_cpu: u32,
    /// Sets of the table of open connections.
    pub connection_sets: u32,
    /// Sets of the table of tracked connections.
    pub track_sets: u32,
}

impl Default for Sizes {
    fn default() -> Sizes {
        Sizes {
            seed: 1,
            arena_lines: 1 << 17,
            memo_sets_per_cpu: 1 << 10,
            connection_sets: 1 << 12,
            track_sets: 1 << 12,
        }
    }
}

impl Names for LabNames {
    fn interface_slot(&self, name: &str) -> Option<u8> {
        SLOTS.iter().find(|(known, _)| *known == name).map(|(_, slot)| *slot)
    }

    fn counter_slot(&self, route: &str) -> u32 {
        self.routes.get(route).copied().unwrap_or(COUNTER_DEFAULT)
    }

    fn limit_slot(&self, limit: &str) -> u32 {
        self.limits.get(limit).copied().unwrap_or(0)
    }

    fn target_slot(&self, target: &str) -> u32 {
        self.targets.get(target).copied().unwrap_or(0)
    }

    fn outer_source(&self, target: IpAddr) -> Option<IpAddr> {
        ways::SOURCES.into_iter().find(|source| source.is_ipv4() == target.is_ipv4())
    }

    fn is_own(&self, target: IpAddr) -> bool {
        ways::is_own(target)
    }

    fn label_number(&self, label: &str) -> u32 {
        self.labels.get(label).copied().unwrap_or(0)
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
        Lab::with_sizes(hook, Sizes::default())
    }

    /// The same, with maps of other sizes.
    ///
    /// # Errors
    /// As [`Lab::new`].
    pub fn with_sizes(hook: Hook, sizes: Sizes) -> Result<Lab> {
        let (namespace, peers) = (Namespace::new("lab")?, Namespace::new("peers")?);
        namespace.silence()?;
        peers.silence()?;
        for (link, peer) in [(INTERFACE, "peer0"), (TARGET, "peer1"), (TARGET_WITHOUT_XDP, "peer2")] {
            namespace.veth(link, &peers, peer)?;
        }
        // A veth takes XDP frames where its peer has generic receive offload; before 6.3 the kernel
        // does not tell, and nothing is relied upon.
        let takes_xdp_frames = if kernel::tells_features()? { vec![INTERFACE, TARGET] } else { Vec::new() };
        for peer in ["peer0", "peer1"] {
            peers.run(|| crate::netns::receive_offload(peer, true))?;
        }
        ways::make(&namespace)?;
        namespace.enter()?;
        let pins = PinFolder::new("lab");
        let mut options = Options::new(pins.path());
        options.arena_lines = sizes.arena_lines;
        options.memo_sets_per_cpu = sizes.memo_sets_per_cpu;
        options.connection_sets = sizes.connection_sets;
        options.track_sets = sizes.track_sets;
        options.repeatable = Some(sizes.seed);
        let mut dataplane = Dataplane::open(&options).context("opening the data plane")?;
        let (mode, wanted) = match hook {
            Hook::Xdp => (Mode::Native, AttachedMode::Native),
            Hook::TcIngress => (Mode::Tc, AttachedMode::Tc),
        };
        let mut ifindex = BTreeMap::new();
        for (name, slot) in SLOTS {
            // The one that frames arrive on, and one that they leave by.
            if name == INTERFACE || name == TARGET {
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
            members: Vec::new(),
            targets: ways::targets(None),
            own: ways::SOURCES.to_vec(),
            takes_old_tags_off: self.hook == Hook::Xdp,
            // Behind a device that left a checksum to the next one, tc cannot know.
            verifies_checksums: self.hook == Hook::Xdp,
            connections: self.dataplane.readers().tracked_max() as usize,
            has_sockets: self.hook == Hook::TcIngress,
        }
    }

    /// Keeps the calling thread on its CPU, so that the flow memo is one.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn stay_on_this_cpu(&self) -> Result<()> {
        let mut only = nix::sched::CpuSet::new();
        only.set(nix::sched::sched_getcpu()?)?;
        nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &only)?;
        Ok(())
    }

    /// Sets the time that limits see, nanoseconds.
    ///
    /// # Errors
    /// Never, short of a map that is not what it was checked to be.
    pub fn set_time(&mut self, now_ns: u64) -> Result<()> {
        Ok(self.dataplane.set_time(now_ns)?)
    }

    /// Compiles a policy and makes it live, with these members of its labels and no others. Gives back
    /// why it is refused, if it is too much for the compiler or the arena.
    ///
    /// # Errors
    /// If a label does not compile, or a live member does not fit.
    pub fn try_apply(&mut self, policy: &Policy, members: &[Member]) -> Result<Option<String>> {
        self.names.take_in(policy)?;
        let labels = LabelTable::build(&policy.labels).context("compiling labels")?;
        let clock = self.dataplane.readers().clock()?;
        let surroundings = Surroundings {
            names: &self.names,
            labels: &labels,
            live_sets: &live_sets(members),
            pools: &PoolTables::default(),
            ns_per_jiffy: clock.ns_per_jiffy(),
        };
        let image = match compile(policy, &surroundings) {
            Ok(image) => image,
            Err(error) => return Ok(Some(error.to_string())),
        };
        let states = self.target_states(policy);
        self.dataplane.add_target_states(&states)?;
        match self.dataplane.apply(&image, [0; 4], 0) {
            Ok(_) => {}
            Err(error @ Error::ArenaFull { .. }) => return Ok(Some(error.to_string())),
            Err(error) => return Err(error).context("applying"),
        }
        self.dataplane.set_target_states(&states)?;
        let terms = health_terms(policy, |_| false, |target| self.names.targets.get(target).copied());
        self.dataplane.set_health(&terms.targets, &terms.groups)?;
        let members: Vec<_> = members.iter().map(|member| self.live_member(member, &clock)).collect();
        let (plan, refused) = self.dataplane.plan_all_members(&members);
        ensure!(refused.is_empty(), "live members that do not fit: {refused:?}");
        self.dataplane.commit_members(plan).context("live members")?;
        Ok(None)
    }

    /// The same for a policy that compiles.
    ///
    /// # Errors
    /// If it does not, or does not fit.
    pub fn apply(&mut self, policy: &Policy, members: &[Member]) -> Result<()> {
        match self.try_apply(policy, members)? {
            Some(refusal) => bail!("{refusal}"),
            None => Ok(()),
        }
    }

    /// All targets of a policy are where it says.
    fn target_states(&self, policy: &Policy) -> Vec<(u32, TargetState)> {
        let of_pool = |(name, pool): (&String, &Pool)| -> Vec<(u32, TargetState)> {
            let state = |(target, at): (&String, &Target)| {
                let state = TargetState {
                    address: address_of(at.address),
                    ends_at_ns: 0,
                    flags: TARGET_KNOWN | if pool.health.is_some() { TARGET_MEASURED } else { 0 },
                    port: at.port.unwrap_or(0).into(),
                };
                (self.names.target_slot(&target_name(name, target)), state)
            };
            pool.targets.iter().map(state).collect()
        };
        policy.pools.iter().flat_map(of_pool).collect()
    }

    /// As the kernel has it: every other one has a time to live, which may be over.
    fn live_member(&self, member: &Member, clock: &Clock) -> LiveMember {
        let until = match member.expired {
            true => ticks(clock.jiffies()),
            false if member.prefix.prefix_len() % 2 == 1 => clock.ticks_after(Duration::from_secs(3_600)),
            false => FOR_EVER,
        };
        LiveMember { prefix: member.prefix, label: self.names.label_number(&member.label), until }
    }

    /// From the next policy on, limits are new ones, whatever their names.
    pub fn forget_limits(&mut self) {
        self.names.limits.clear();
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

    /// The slot of a limit under the policy in force.
    #[must_use]
    pub fn limit_slot(&self, limit: &str) -> u32 {
        self.names.limit_slot(limit)
    }

    /// The slot of a target.
    #[must_use]
    pub fn target_slot(&self, target: &str) -> u32 {
        self.names.target_slot(target)
    }

    /// What a model may know of what came of a frame.
    #[must_use]
    pub fn seen(&self, observed: &Observed) -> Seen {
        let has_opened = |(_, slot): &(&String, &u32)| observed.delta.opened.contains_key(slot);
        let opened = self.names.targets.iter().find(has_opened).map(|(name, _)| name.clone());
        Seen { frame: observed.outcome.frame.clone(), opened }
    }

    /// All counters.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let fixed = COUNTER_DEFAULT..COUNTER_FIRST_ROUTE;
        let routes = fixed.chain(self.names.routes.values().copied());
        let limits = self.names.limits.values().copied();
        let targets = self.names.targets.values().copied();
        let slots = SLOTS.iter().map(|(_, slot)| *slot);
        Snapshot::take(&self.dataplane.readers(), slots, routes, limits, targets)
    }

    /// Puts a frame to the program of the hook, as if it had arrived on the interface.
    ///
    /// # Errors
    /// If the test run itself fails.
    pub fn put(&self, frame: &[u8]) -> Result<Observed> {
        let before = self.snapshot();
        let outcome = self.run(frame)?;
        Ok(Observed { outcome, delta: self.snapshot().since(&before) })
    }

    /// The same, without a look at what is counted.
    ///
    /// # Errors
    /// If the test run itself fails.
    pub fn run(&self, frame: &[u8]) -> Result<TestRunOutcome> {
        let program = match self.hook {
            Hook::Xdp => Program::Xdp,
            Hook::TcIngress => Program::Tc,
        };
        Ok(self.dataplane.test_run(program, frame, Some(self.ifindex(INTERFACE)), 1)?)
    }
}

/// The sets of labels that members may give to one source: along each chain of prefixes that hold one
/// another, all labels.
fn live_sets(members: &[Member]) -> Vec<Vec<String>> {
    let of = |inner: &Member| {
        let holding = members.iter().filter(|outer| outer.prefix.contains(&inner.prefix));
        let names: BTreeSet<_> = holding.map(|outer| outer.label.clone()).collect();
        names.into_iter().collect()
    };
    let sets: BTreeSet<Vec<String>> = members.iter().map(of).collect();
    sets.into_iter().collect()
}
