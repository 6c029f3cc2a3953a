//! A packet's whole way: frame, parse, classify, police, pool, act, account.

use crate::account::{Account, telemetry};
use crate::express::Said;
use crate::memo::Validity;
use crate::pool::{FOLLOWING, Forwarding};
use crate::track::{FOLLOWS, gateway_return};
use crate::{account, classify, event, fragments, maps, memo, owner, paths, police, pool, scratch};
use aya_ebpf::Global;
use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_jiffies64};
use bytemuck::{Pod, Zeroable};
use core::mem::offset_of;
use core::ptr::null_mut;
use gateway_common::abi::{
    ACTIVE_CHECKSUMS, ACTIVE_POOLS, ACTIVE_TRACKS, CONTROL_FLOWS, COUNTER_DEFAULT, COUNTER_MALFORMED,
    COUNTER_NO_POLICY, COUNTER_NOT_IP, Control, EventKind, INTERFACE_LOOPBACK, Interface, MEMO_CONNECTION,
    MEMO_EXTRA, MEMO_RETURNS, MEMO_TARGET, MemoLine, STAMP_ONCE, Telemetry, UNSET, Verdict, ticks,
};
use gateway_common::image::ROUTE_PER_LABEL;
use gateway_common::live::FOR_EVER;
use gateway_common::packet::{FlowKey, Packet, flags};
use gateway_common::parse::{Carries, Frame, address, parse};
use gateway_common::reason::Reason;

/// Memo sets for each CPU, a power of two.
#[unsafe(no_mangle)]
pub static MEMO_SETS: Global<u32> = Global::new(1);
/// Seed of the memo's hash.
#[unsafe(no_mangle)]
pub static MEMO_SEED: Global<u64> = Global::new(0);

/// A hook: where the frame comes from, and where a verdict becomes a return code.
pub trait Hook: Frame {
    /// `gateway_common::abi::Hook`.
    const HOOK: u32;
    /// Whether it is XDP.
    const IS_XDP: bool = Self::HOOK == gateway_common::abi::Hook::Xdp as u32;
    /// Verifies the checksums of the packet that this CPU judges, if that can be done here; 0 if they
    /// are right, else the [`Reason`].
    fn wrong_checksum(&self, cpu: u32) -> u32;
    /// What the program returns.
    type Code;
    /// Length of the whole frame in bytes, where `end` is known to be within it (0: nothing is).
    fn length(&self, end: u32) -> u32;
    /// Longest IP packet that leaves here once segments that were received as one are told apart, bytes.
    fn segment(&self, judged: &Judged) -> u32;
    /// Reads what the ICMP error that this CPU judges quotes: [`owner::READ`] if that may be a pool's.
    fn read_quoted(&self, cpu: u32) -> u32;
    /// Asks the kernel for the way to the target that this CPU's packet goes to.
    fn ask_next_hop(&self, cpu: u32);
    /// Carries the judgement out; changes it where it cannot be.
    fn act(&self, interface: &Interface, judged: &mut Judged, forwarding: &Forwarding) -> Self::Code;
}

/// What is known of the packet that a CPU is judging, and what is to be done with it. It lies in a map,
/// see [`crate::scratch`]; a fresh one is all zero.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Judged {
    /// The packet, as far as it could be parsed.
    pub packet: Packet,
    /// [`Verdict`].
    pub verdict: u32,
    /// [`Reason`] of a drop, or of a malformed packet that passes; else 0.
    pub reason: u32,
    /// Interface slot of a redirect.
    pub egress_slot: u32,
    /// skb mark.
    pub mark: u32,
    /// skb priority.
    pub priority: u32,
    /// `dscp << 2 | 1` to be written, 0 if none.
    pub dscp: u32,
    /// 1: the packet is a SYN that is answered with [`Judged::cookie`].
    pub answer: u32,
    /// The pool that it is forwarded to, by its index from 1; 0 if to none. What is set here once the
    /// packet was put to its pool is carried out as [`crate::pool::Forwarding`] says.
    pub pool: u32,
    /// Class of the sender's labels, where the packet was classified.
    pub label_class: u32,
    /// 1: the memo did not know the flow.
    pub new_flow: u32,
    /// 1: the route's entry says more than the memo's line.
    pub extra: u32,
    /// 1: its sender is a target whose connections are tracked.
    pub returns: u32,
    /// Port of the socket that it is handed to, 0 if none.
    pub proxy: u32,
    /// Zero.
    pub reserved: u32,
    /// How the handshake ended that it is part of, and with which target: see [`crate::health::gateway_handshake`]; 0 if that
    /// is not known.
    pub handshake: u32,
    /// The connection that it is of, its element in [`maps::TRACKED`] counted from 1: as the memo knows it at first,
    /// then as it was found. 0 if none.
    pub connection: u32,
    /// What the packet set off, [`EventKind`]; 0 if nothing.
    pub event_kind: u32,
    /// The limit's slot.
    pub event_limit: u32,
    /// What the limit has refused.
    pub event_refused: u64,
    /// Index of the route. Not cleared: this and what follows is set before it is read.
    pub route: u32,
    /// Counter slot.
    pub counter: u32,
    /// [`Control::active`], read once.
    pub active: u64,
    /// This CPU.
    pub cpu: u32,
    /// Length of the frame, bytes.
    pub length: u32,
    /// Through which values are made unknown to the verifier.
    pub forget: u32,
    /// Where the sweep over open connections goes on; kept between packets.
    pub sweep: u32,
    /// See [`Judged::answer`].
    pub cookie: u32,
    /// Headers for the kernel's SYN-cookie helpers.
    pub headers: [u32; 15],
    /// [`gateway_common::limit::owner_hash`] of the source, where [`ACTIVE_PER_SOURCE`] is set.
    pub owner: u64,
    /// What the sender of a packet that is too big is told, bytes.
    pub told_mtu: u32,
    /// Until when the classification holds, in ticks, where the packet was classified.
    pub until: u32,
    /// When this CPU's bucket of ICMP errors is full again; kept between packets.
    pub errors_full_at: u64,
    /// The [`Judged::active`] of which the next two are: see [`classify::locate`]; kept between packets.
    pub located: u64,
    /// As [`gateway_common::image::HeaderHot::routes`].
    pub routes: u32,
    /// As [`gateway_common::image::HeaderHot::limits`].
    pub limits: u32,
    /// What is left of the limits, where the short way began with them.
    pub left: u64,
    /// What the short way said of the frame, see [`Said`].
    pub said: u64,
}

/// Words of [`Judged`] that are cleared for each packet.
const CLEARED: usize = 19;

const _: () = {
    assert!(offset_of!(Judged, route) == CLEARED * 8);
    assert!(size_of::<Judged>() == 304);
};

impl Judged {
    /// Zeroed, word by word: left to itself the compiler calls a loop over bytes.
    #[inline(always)]
    pub fn open(&mut self, cpu: u32, active: u64) {
        let words: *mut u64 = (&raw mut *self).cast();
        let mut i = 0;
        while i < CLEARED {
            // SAFETY: a word of what `self` borrows; volatile keeps it a store.
            unsafe { core::ptr::write_volatile(words.add(i), 0) };
            i += 1;
        }
        self.counter = COUNTER_NO_POLICY;
        self.cpu = cpu;
        self.active = active;
    }

    /// A value as one of which the verifier knows nothing, see [`gateway_common::image::Arena::forget`].
    #[inline(always)]
    pub fn forgotten(&self, value: u32) -> u32 {
        let word = (&raw const self.forget).cast_mut();
        // SAFETY: a word of this CPU's element, which nobody else uses.
        unsafe {
            core::ptr::write_volatile(word, value);
            core::ptr::read_volatile(word)
        }
    }

    /// Notes what the packet set off, unless something that matters more is noted already.
    #[inline(always)]
    pub fn raise(&mut self, kind: EventKind, limit: u32, refused: u64) {
        if self.event_kind < kind as u32 {
            self.event_kind = kind as u32;
            self.event_limit = limit;
            self.event_refused = refused;
        }
    }

    #[inline(always)]
    pub fn is_dropped(&self) -> bool {
        self.verdict == Verdict::Drop as u32
    }

    #[inline(always)]
    pub fn refuse(&mut self, reason: Reason) {
        self.refuse_by(reason.code() as u32);
    }

    /// As [`Judged::refuse`], by the reason's code.
    #[inline(always)]
    pub fn refuse_by(&mut self, reason: u32) {
        self.verdict = Verdict::Drop as u32;
        self.reason = reason;
    }

    /// It goes the way of its connection, whatever routes say.
    #[inline(always)]
    pub fn follow(&mut self) {
        self.verdict = Verdict::Redirect as u32;
        // SAFETY: words of what `self` borrows; volatile, or the compiler zeroes all four by a loop over bytes.
        unsafe {
            core::ptr::write_volatile(&raw mut self.reason, 0);
            core::ptr::write_volatile(&raw mut self.egress_slot, 0);
            core::ptr::write_volatile(&raw mut self.mark, UNSET);
            core::ptr::write_volatile(&raw mut self.priority, UNSET);
        }
        self.extra = 0;
        self.pool = FOLLOWING;
    }

    /// What the memo's line says.
    #[inline(always)]
    pub fn recall(&mut self, line: &MemoLine) {
        self.counter = line.counter();
        self.route = line.route as u32;
        // A line that names target or connection has no need of the entry on the short way alone.
        self.extra = line.decision & (MEMO_EXTRA | MEMO_TARGET | MEMO_CONNECTION);
        self.returns = line.decision & MEMO_RETURNS;
        self.connection = if line.decision & MEMO_CONNECTION != 0 { line.priority } else { 0 };
        self.verdict = line.verdict() as u32;
        self.mark = line.mark;
        self.priority = line.skb_priority();
        if self.is_dropped() {
            self.reason = line.detail as u32;
        } else {
            self.egress_slot = line.detail as u32;
        }
    }

    /// The tables pointed outside themselves.
    #[inline(always)]
    fn fault(&mut self) {
        self.counter = COUNTER_DEFAULT;
        self.refuse(Reason::PolicyFault);
    }
}

/// The way of a packet that arrived on `interface`, of which at XDP the short way has said something. Nothing comes back
/// only where a map look-up failed that cannot fail; the packet then passes.
#[inline(always)]
pub fn run<H: Hook>(hook: &H, interface: &Interface) -> Option<H::Code> {
    let control = maps::CONTROL.get_ptr(0)?;
    // SAFETY: a helper without arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let (judged, forwarding) = scratch::forwarding(cpu)?;
    let said = if H::IS_XDP { Said(judged.said) } else { Said::NOTHING };
    let slot = interface.slot as u32;
    let (active, account) = if said.is_opened() {
        // Not read again: there may be another one by now.
        let active = judged.active;
        (active, Account::again(cpu, slot, H::HOOK, Control::parity_of(active))?)
    } else {
        // SAFETY: the one element of CONTROL. Read once: a packet is judged by exactly one generation.
        let active = unsafe { core::ptr::read_volatile(&raw const (*control).active) };
        (active, Account::open(cpu, slot, H::HOOK, Control::parity_of(active))?)
    };
    // SAFETY: the same element; user space changes its words one at a time.
    let control: &Control = unsafe { &*control };
    let line = if said.is_known() {
        let line = memo::again(said.place());
        if line.is_null() {
            return None;
        }
        // SAFETY: a line of a live element of MEMO, written on this CPU only.
        judged.recall(unsafe { &*line });
        line
    } else {
        judged.open(cpu, active);
        if active != 0 { judge(hook, interface, judged) } else { null_mut() }
    };
    judged.length = hook.length(judged.packet.end);
    if judged.returns != 0 && gateway_return(cpu) == FOLLOWS {
        judged.follow();
    }
    if judged.extra != 0 {
        let now_ns = police::now_ns(control, false);
        let done = if said.is_policed() {
            police::go_on(cpu, judged.left, now_ns)
        } else {
            police::run(cpu, now_ns)
        };
        if !done {
            judged.fault();
        }
    }
    if control.flags & CONTROL_FLOWS != 0 && !line.is_null() {
        memo::account(line, judged.length, judged.packet.tcp_flags, jiffies() as u32);
    }
    let of_owner = active & ACTIVE_POOLS != 0
        && !line.is_null()
        && owner::is_error(judged)
        && owner::find(hook, interface, judged);
    if judged.pool != 0 {
        pool::run(hook, interface, judged);
        if H::IS_XDP && judged.pool != 0 && !of_owner {
            paths::learn(line, judged, forwarding);
        }
    }
    if of_owner {
        owner::restore(judged);
    }
    let code = hook.act(interface, judged, forwarding);
    account.close(judged.verdict, judged.counter, judged.length);
    if judged.pool != 0 && !judged.is_dropped() {
        if judged.pool == FOLLOWING && forwarding.is_to_client() {
            account::target_returned(cpu, forwarding.slot, judged.length);
        } else {
            account::target(cpu, forwarding.slot, judged.length);
        }
    }
    if judged.reason != 0 {
        account.reason(judged.reason, judged.is_dropped());
    }
    if judged.event_kind != 0 || event::is_sampled(control, account.sequence, judged.is_dropped()) {
        event::report(judged, H::HOOK, interface.ifindex);
    }
    Some(code)
}

/// Finds what is to be done with a packet: the line of its flow in the memo, null if it has none. (An
/// option of it would leave a register unset that the verifier sees read.)
#[inline(always)]
fn judge<H: Hook>(hook: &H, interface: &Interface, judged: &mut Judged) -> *mut MemoLine {
    let wrong = match parse(hook, &mut judged.packet) {
        Ok(Carries::Ip) => match wrong(hook, interface, judged) {
            0 => return route(interface, judged),
            reason => reason,
        },
        Ok(Carries::Other) => {
            judged.counter = COUNTER_NOT_IP;
            return null_mut();
        }
        Err(reason) => reason.code() as u32,
    };
    judged.counter = COUNTER_MALFORMED;
    judged.reason = wrong;
    let drops = classify::attributes(Control::header_of(judged.active))
        .is_none_or(|header| header.malformed_drop >> (judged.reason & 63) & 1 != 0);
    if drops {
        judged.verdict = Verdict::Drop as u32;
    }
    null_mut()
}

/// The time, jiffies.
#[inline(always)]
pub fn jiffies() -> u64 {
    // SAFETY: a helper without arguments. The verifier turns it into a load.
    unsafe { bpf_jiffies64() }
}

/// What is wrong with a parsed packet's checksums, if that is asked for, or addresses: the [`Reason`],
/// or 0.
#[inline(always)]
fn wrong<H: Hook>(hook: &H, interface: &Interface, judged: &Judged) -> u32 {
    if judged.active & ACTIVE_CHECKSUMS != 0 {
        let wrong = hook.wrong_checksum(judged.cpu);
        if wrong != 0 {
            return wrong;
        }
    }
    if interface.flags & INTERFACE_LOOPBACK != 0 {
        return 0;
    }
    address::check(&judged.packet).map_or_else(|reason| reason.code() as u32, |()| 0)
}

/// Finds the route, through the memo.
#[inline(always)]
fn route(interface: &Interface, judged: &mut Judged) -> *mut MemoLine {
    let (active, cpu) = (judged.active, judged.cpu);
    let stamp = Control::stamp_of(active);
    let seed = MEMO_SEED.load();
    if active & ACTIVE_POOLS != 0 && judged.packet.flags & flags::LATER_FRAGMENT != 0 {
        fragments::gateway_follow(cpu);
    }
    let key = FlowKey::new(interface.slot, &judged.packet, seed);
    let jiffies = jiffies();
    let now = jiffies as u32;
    let found = memo::find(MEMO_SETS.load(), seed, key, now, judged);
    let (Some((place, known)), Some(variant)) = (found, classify::variant(judged)) else {
        judged.fault();
        return null_mut();
    };
    if !known {
        place.take(key, &judged.packet, now, cpu);
        judged.new_flow = 1;
    }
    let line = place.line();
    // SAFETY: a line of a live element of MEMO, written on this CPU only.
    let decided = unsafe { &*line };
    if !memo::holds(decided, stamp, variant, jiffies) {
        telemetry(cpu, Telemetry::MemoMisses, 1);
        let ticks = ticks(jiffies);
        judged.until = FOR_EVER;
        let labels = if classify::asks_for_labels(active) { classify::gateway_labels(cpu, ticks) } else { 0 };
        let found = classify::gateway_classify(cpu, interface.slot as u32);
        let entry = if labels | found == 0 { classify::entry(judged, judged.route) } else { None };
        let Some(entry) = entry else {
            event::policy_fault(interface.slot, stamp);
            judged.fault();
            return null_mut();
        };
        let keep = classify::is_memoizable(active) && entry.flags & ROUTE_PER_LABEL == 0;
        let stamp = if keep { stamp } else { STAMP_ONCE };
        let returns = active & ACTIVE_TRACKS != 0 && classify::gateway_is_target(cpu) != 0;
        memo::decide(line, judged, entry, &Validity { stamp, variant, now: ticks, jiffies: now, returns });
        event::classified(interface.slot, entry.counter, stamp);
    }
    judged.recall(decided);
    line
}
