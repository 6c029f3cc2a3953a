//! A handful of real frames over real veth pairs, in every mode: the fate, the mark and the counter
//! of each, seen from outside.

use crate::counters::Snapshot;
use crate::golden::run::policy_of;
use crate::netns::{Namespace, receive_offload};
use crate::object::PinFolder;
use crate::packet::Frame;
use crate::receive::{FrameSocket, MarkSocket};
use crate::traffic::Sender;
use anyhow::{Context, Result, ensure};
use gateway_common::abi::{COUNTER_DEFAULT, COUNTER_FIRST_ROUTE, Verdict};
use gateway_common::reason::Reason;
use gateway_user::compile::{LabelTable, Names, PoolTables, Surroundings, compile};
use gateway_user::dataplane::{AttachedMode, Dataplane, Mode, Options};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 1, 1];
const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 1, 2];
const SLOT: u8 = 3;
const BACKEND_SLOT: u8 = 4;
/// Frames of each kind.
const EACH: u64 = 5;
/// A frame arrives within this, or never.
const PATIENCE: Duration = Duration::from_secs(5);

const POLICY: &str = "\
version: 1
routes:
  - {name: marked, match: {protocol: udp, port: 7}, mark: 0xabcd1234, priority: 5, action: pass}
  - {name: dropped, match: {protocol: udp, port: 8}, action: drop}
  - {name: back, match: {protocol: udp, port: 10}, action: tx}
  - {name: on, match: {protocol: udp, port: 11}, action: {redirect: back0}}
  - {name: tagged, match: {protocol: udp, port: 12}, action: {redirect: back0}}
";

const ROUTES: [&str; 5] = ["marked", "dropped", "back", "on", "tagged"];

struct WireNames;

impl Names for WireNames {
    fn interface_slot(&self, name: &str) -> Option<u8> {
        (name == "back0").then_some(BACKEND_SLOT)
    }
    fn counter_slot(&self, route: &str) -> u32 {
        COUNTER_FIRST_ROUTE + ROUTES.iter().position(|name| *name == route).unwrap_or(ROUTES.len()) as u32
    }
    fn limit_slot(&self, _: &str) -> u32 {
        0 // The policy has none.
    }
    fn label_number(&self, _: &str) -> u32 {
        0 // Nor labels.
    }
    fn target_slot(&self, _: &str) -> u32 {
        0 // Nor targets of pools.
    }
    fn outer_source(&self, _: IpAddr) -> Option<IpAddr> {
        None
    }
}

/// How a run went.
#[derive(Clone, Debug)]
pub struct Wire {
    /// Frames sent.
    pub sent: u64,
    /// How the interface was governed.
    pub mode: AttachedMode,
}

/// Sends frames through an interface governed in this mode. With `offload`, the peers take XDP
/// frames, so that redirection and sending back are native where the mode is.
///
/// # Errors
/// If a frame does not fare as the policy says, or a counter tells otherwise.
pub fn run(mode: Mode, offload: bool) -> Result<Wire> {
    let (client, backend, gateway) =
        (Namespace::new("client")?, Namespace::new("back")?, Namespace::new("gw")?);
    for namespace in [&client, &backend, &gateway] {
        namespace.silence()?;
    }
    gateway.veth("gw0", &client, "c0")?;
    gateway.veth("back0", &backend, "b0")?;
    gateway.mac("gw0", GATEWAY_MAC)?;
    gateway.address("gw0", "192.0.2.1/24")?;
    // The senders are nobody that a reverse path could lead to.
    gateway.sysctl("net.ipv4.conf.all.rp_filter", "0")?;
    gateway.sysctl("net.ipv4.conf.gw0.rp_filter", "0")?;
    client.run(|| receive_offload("c0", offload))?;
    backend.run(|| receive_offload("b0", offload))?;
    gateway.run(|| governed(mode, &client, &backend))
}

fn governed(mode: Mode, client: &Namespace, backend: &Namespace) -> Result<Wire> {
    let pins = PinFolder::new("wire");
    let mut options = Options::new(pins.path());
    options.arena_lines = 1 << 14;
    options.memo_sets_per_cpu = 1 << 10;
    let mut dataplane = Dataplane::open(&options)?;
    dataplane.register_egress("back0", BACKEND_SLOT)?;
    let attached = dataplane.attach("gw0", SLOT, mode)?;
    let policy = policy_of(POLICY)?;
    let labels = LabelTable::build(&policy.labels)?;
    let surroundings = Surroundings {
        names: &WireNames,
        labels: &labels,
        live_sets: &[],
        pools: &PoolTables::default(),
        ns_per_jiffy: 4_000_000,
    };
    let image = compile(&policy, &surroundings)?;
    dataplane.apply(&image, [0; 4], 0)?;

    let any = Ipv4Addr::UNSPECIFIED.into();
    let marked = MarkSocket::bind(any, 7, PATIENCE)?;
    let plain = MarkSocket::bind(any, 9, PATIENCE)?;
    let returned = client.run(|| FrameSocket::open("c0", PATIENCE))?;
    let onward = backend.run(|| FrameSocket::open("b0", PATIENCE))?;
    let frame = |port| {
        let frame = Frame::new().macs(CLIENT_MAC, GATEWAY_MAC).ipv4("192.0.2.77", "192.0.2.1");
        frame.udp(4242, port).payload(40)
    };
    let readers = dataplane.readers();
    let slots = COUNTER_DEFAULT..COUNTER_FIRST_ROUTE + ROUTES.len() as u32;
    let before = Snapshot::take(&readers, [SLOT, BACKEND_SLOT], slots.clone(), [], []);
    // The outer tag is in the bytes at XDP, and beside them at tc.
    let tagged = frame(12).tag(100).tag(200);
    let frames = [frame(7), frame(8), frame(9), frame(10), frame(11), tagged.clone(), tagged.tag(300)];
    let frames = frames.map(|frame| frame.bytes());
    client.run(|| {
        let sender = Sender::open("c0")?;
        let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        (0..EACH).try_for_each(|_| sender.send(&frames))
    })?;

    for i in 0..EACH {
        let place = || format!("frame {i} of {EACH} in mode {}", attached.mode.name());
        let mark = marked.next_mark()?;
        ensure!(mark == Some(0xabcd_1234), "{}: the marked one came with {mark:x?}", place());
        let mark = plain.next_mark()?;
        ensure!(mark == Some(0), "{}: the plain one came with {mark:x?}", place());
        let back = returned.next_frame()?.with_context(|| format!("{}: none came back", place()))?;
        let swapped = [&CLIENT_MAC[..], &GATEWAY_MAC, &frames[3][12..]].concat();
        ensure!(back == swapped, "{}: came back as {back:02x?}", place());
        let on = onward.next_frame()?.with_context(|| format!("{}: none went on", place()))?;
        ensure!(on == frames[4], "{}: went on as {on:02x?}", place());
        // Where the kernel has taken the outer tag off before a packet socket sees the frame.
        let on = onward.next_frame()?.with_context(|| format!("{}: none went on tagged", place()))?;
        let without = [&frames[5][..12], &frames[5][16..]].concat();
        ensure!(on == frames[5] || on == without, "{}: went on tagged as {on:02x?}", place());
    }
    let take = || Snapshot::take(&readers, [SLOT, BACKEND_SLOT], slots.clone(), [], []);
    let delta = Snapshot::at_rest(take, &before)?;
    let sent = EACH * frames.len() as u64;
    let verdicts = delta.stats.values().next().context("nothing was counted")?.verdicts;
    let by = |verdict: Verdict| verdicts[verdict as usize].packets;
    let fates = [by(Verdict::Pass), by(Verdict::Drop), by(Verdict::Tx), by(Verdict::Redirect)];
    ensure!(fates == [2 * EACH, 2 * EACH, EACH, 2 * EACH], "counted {fates:?}: {delta:?}");
    let three_tags = delta.reasons.get(&(SLOT, Reason::VlanDepth)).copied();
    ensure!(three_tags == Some((EACH, 0)), "three tags: {three_tags:?}");
    for route in ROUTES {
        let counted = delta.routes.get(&WireNames.counter_slot(route)).map_or(0, |count| count.packets);
        ensure!(counted == EACH, "route {route}: {counted} counted of {EACH}");
    }
    Ok(Wire { sent, mode: attached.mode })
}
