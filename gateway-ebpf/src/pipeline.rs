//! A packet's whole way on one screen: frame, parse, classify, police, route, act, account.

use crate::account::{Account, telemetry};
use crate::{classify, event, maps, memo};
use aya_ebpf::Global;
use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_jiffies64};
use gateway_common::abi::{
    CONTROL_FLOWS, COUNTER_DEFAULT, COUNTER_MALFORMED, COUNTER_NO_POLICY, COUNTER_NOT_IP, Control, Interface,
    MemoLine, Scratch, Telemetry, UNSET, Verdict,
};
use gateway_common::packet::{FlowKey, Packet};
use gateway_common::parse::{Carries, Frame, parse};
use gateway_common::reason::Reason;

/// Memo sets for each CPU, a power of two.
#[unsafe(no_mangle)]
static MEMO_SETS: Global<u32> = Global::new(1);
/// Seed of the memo's hash.
#[unsafe(no_mangle)]
static MEMO_SEED: Global<u64> = Global::new(0);

/// A hook: where the frame comes from, and the only place where a verdict becomes a return code.
pub trait Hook: Frame {
    /// `gateway_common::abi::Hook`.
    const HOOK: u32;
    /// What the program returns.
    type Code;
    /// Length of the whole frame in bytes, where `end` is known to be within it (0: nothing is).
    fn length(&self, end: u32) -> u32;
    /// Carries the judgement out; changes it where it cannot be.
    fn act(&self, interface: &Interface, generation: u32, judged: &mut Judged<'_>) -> Self::Code;
}

/// What was found about a packet, and what is to be done.
pub struct Judged<'a> {
    /// The packet, as far as it could be parsed.
    pub packet: &'a mut Packet,
    /// The verdict.
    pub verdict: Verdict,
    /// [`Reason`] of a drop, or of a malformed packet that passes; else 0.
    pub reason: u8,
    /// Interface slot of a redirect.
    pub egress_slot: u8,
    /// Counter slot.
    pub counter: u32,
    /// skb mark.
    pub mark: u32,
    /// skb priority.
    pub priority: u32,
    /// The flow's line in the memo and the time, jiffies.
    flow: Option<(*mut MemoLine, u32)>,
    /// A word of scratch memory.
    forget: *mut u32,
}

impl<'a> Judged<'a> {
    #[inline(always)]
    fn pass(scratch: &'a mut Scratch, counter: u32) -> Judged<'a> {
        clear(&mut scratch.packet);
        Judged {
            packet: &mut scratch.packet,
            flow: None,
            forget: &raw mut scratch.forget,
            verdict: Verdict::Pass,
            reason: 0,
            egress_slot: 0,
            counter,
            mark: UNSET,
            priority: UNSET,
        }
    }

    #[inline(always)]
    fn refuse(&mut self, reason: Reason) {
        self.verdict = Verdict::Drop;
        self.reason = reason.code();
    }
}

/// Zeroes a packet, word by word: left to itself the compiler calls a loop over its bytes.
#[inline(always)]
fn clear(packet: &mut Packet) {
    let words: &mut [u64; 6] = bytemuck::cast_mut(packet);
    for word in words {
        // SAFETY: a word that `words` borrows; volatile keeps it a store.
        unsafe { core::ptr::write_volatile(word, 0) };
    }
}

/// The way of a packet that arrived on `interface`. Nothing comes back only where a map look-up
/// failed that cannot fail; the packet then passes.
#[inline(always)]
pub fn run<H: Hook>(hook: &H, interface: &Interface) -> Option<H::Code> {
    let control = maps::CONTROL.get_ptr(0)?;
    // SAFETY: the one element of CONTROL. Read once: a packet is judged by exactly one generation.
    let active = unsafe { core::ptr::read_volatile(&raw const (*control).active) };
    // SAFETY: the same element; user space changes its words one at a time.
    let control: &Control = unsafe { &*control };
    let generation = Control::generation_of(active);
    // SAFETY: a helper without arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let account = Account::open(cpu, interface.slot as u32, H::HOOK, generation)?;

    let scratch = maps::SCRATCH.get_ptr_mut(cpu)?;
    // SAFETY: this CPU's element; softirqs are off while it judges, so nothing else uses it.
    let mut judged = Judged::pass(unsafe { &mut *scratch }, COUNTER_NO_POLICY);
    if active != 0 {
        judge(hook, interface, active, cpu, &mut judged);
    }
    let length = hook.length(judged.packet.end);
    if control.flags & CONTROL_FLOWS != 0
        && let Some((line, now)) = judged.flow
    {
        memo::account(line, length, judged.packet.tcp_flags, now);
    }
    let code = hook.act(interface, generation, &mut judged);
    account.close(judged.verdict, judged.counter, length);
    if judged.reason != 0 {
        account.reason(judged.reason, judged.verdict as u8 == Verdict::Drop as u8);
    }
    if event::is_sampled(control, account.sequence, judged.verdict) {
        event::report(cpu, &judged, H::HOOK, interface.ifindex, length, generation);
    }
    Some(code)
}

#[inline(always)]
fn judge<H: Hook>(hook: &H, interface: &Interface, active: u64, cpu: u32, judged: &mut Judged<'_>) {
    match parse(hook, judged.packet) {
        Ok(Carries::Ip) => route(interface, active, cpu, judged),
        Ok(Carries::Other) => judged.counter = COUNTER_NOT_IP,
        Err(reason) => {
            judged.counter = COUNTER_MALFORMED;
            judged.reason = reason.code();
            let drops = classify::header(Control::header_of(active))
                .is_none_or(|header| header.malformed_drop >> (reason.code() & 63) & 1 != 0);
            if drops {
                judged.verdict = Verdict::Drop;
            }
        }
    }
}

/// Classify, police (admits all for now) and route, through the memo.
#[inline(always)]
fn route(interface: &Interface, active: u64, cpu: u32, judged: &mut Judged<'_>) {
    let generation = Control::generation_of(active);
    let packet = &*judged.packet;
    let key = FlowKey::new(interface.slot, packet);
    // SAFETY: a helper without arguments. The verifier turns it into a load.
    let now = unsafe { bpf_jiffies64() } as u32;
    let found = memo::find(cpu, MEMO_SETS.load(), MEMO_SEED.load(), key, packet, now, judged.forget);
    let Some((place, known)) = found else {
        judged.counter = COUNTER_DEFAULT;
        judged.refuse(Reason::PolicyFault);
        return;
    };
    if !known {
        place.take(key, packet, now, cpu);
    }
    let line = place.line();
    // SAFETY: a line of a live element of MEMO, written on this CPU only.
    let decided = unsafe { &*line };
    if decided.generation != generation {
        telemetry(cpu, Telemetry::MemoMisses, 1);
        match classify::route(Control::header_of(active), interface.slot, packet, judged.forget) {
            Some(entry) => {
                memo::decide(line, entry, generation);
                event::classified(interface.slot, entry.counter, generation);
            }
            None => {
                event::policy_fault(interface.slot, generation);
                judged.counter = COUNTER_DEFAULT;
                judged.refuse(Reason::PolicyFault);
                return;
            }
        }
    }
    judged.counter = decided.counter;
    judged.verdict = match decided.verdict & 3 {
        0 => Verdict::Pass,
        1 => Verdict::Drop,
        2 => Verdict::Tx,
        _ => Verdict::Redirect,
    };
    judged.reason = decided.reason;
    judged.egress_slot = decided.egress_slot;
    judged.mark = decided.mark;
    judged.priority = decided.priority;
    judged.flow = Some((line, now));
}
