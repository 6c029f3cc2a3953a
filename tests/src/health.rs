//! Packets of clients and of targets, put to a pool whose targets' health is looked after, by a clock that the test
//! sets.

use crate::golden::run::policy_of;
use crate::object::Lab;
use crate::packet::Frame;
use anyhow::{Context, Result, bail, ensure};
use gateway_common::abi::{HandshakeCount, HealthGroup, Hook, TargetHealth};
use gateway_common::health::{Circuit, Standing};

/// TCP flags (RFC 9293 3.1).
pub const SYN: u8 = 0x02;
/// As [`SYN`].
pub const SYN_ACK: u8 = 0x12;
/// As [`SYN`].
pub const ACK: u8 = 0x10;
/// As [`SYN`].
pub const RST: u8 = 0x04;
/// As [`SYN`].
pub const FIN_ACK: u8 = 0x11;

/// Targets of the pool.
pub const TARGETS: usize = 3;
/// A second, nanoseconds.
pub const SECOND: u64 = 1_000_000_000;
/// Ports of the service and of its targets.
const SERVICE_PORT: u16 = 80;
const TARGET_PORT: u16 = 8_080;
/// How many connections may be tried until one goes to a target.
const TRIES: usize = 500;

/// Addresses of one IP version.
struct Addresses {
    client: &'static str,
    service: &'static str,
    targets: [&'static str; TARGETS],
}

const IPV4: Addresses = Addresses {
    client: "198.18.2.12",
    service: "203.0.113.10",
    targets: ["198.18.1.11", "198.18.1.12", "198.18.2.11"],
};
const IPV6: Addresses = Addresses {
    client: "2001:db8:f2::12",
    service: "2001:db8:5::10",
    targets: ["2001:db8:f1::11", "2001:db8:f1::12", "2001:db8:f2::11"],
};

/// A laboratory with one pool of three targets, and the clients of one service.
pub struct Bench {
    /// The laboratory.
    pub lab: Lab,
    addresses: &'static Addresses,
    slots: [u32; TARGETS],
    now_ns: u64,
    port: u16,
}

/// Does this with a pool for each IP version; `says` is what the pool says beside its targets.
///
/// # Errors
/// Where the policy is refused, and what `test` returns.
pub fn for_each_family(hook: Hook, says: &str, test: impl Fn(&mut Bench) -> Result<()> + Sync) -> Result<()> {
    for addresses in [&IPV4, &IPV6] {
        // A laboratory keeps the thread that makes it in its namespace.
        let done = std::thread::scope(|scope| {
            let thread = scope.spawn(|| test(&mut Bench::new(hook, addresses, says)?));
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        done.with_context(|| format!("{} at {}", addresses.service, hook.name()))?;
    }
    Ok(())
}

impl Bench {
    fn new(hook: Hook, addresses: &'static Addresses, says: &str) -> Result<Bench> {
        let port = if says.contains("dnat") { format!(", port: {TARGET_PORT}") } else { String::new() };
        let names = ["a", "b", "c"];
        let target = |(name, address)| format!("{{name: {name}, address: '{address}'{port}}}");
        let targets: Vec<String> = names.into_iter().zip(addresses.targets).map(target).collect();
        let policy = policy_of(&format!(
            "version: 1\npools:\n  web: {{{says}, targets: [{}]}}\nroutes:\n  - {{name: web, match: {{protocol: tcp, \
             to: '{}', port: {SERVICE_PORT}}}, action: {{pool: web}}}}\ndefault: drop\n",
            targets.join(", "),
            addresses.service
        ))?;
        let mut lab = Lab::new(hook)?;
        lab.stay_on_this_cpu()?;
        lab.apply(&policy, &[])?;
        let slots = names.map(|name| lab.target_slot(&format!("web/{name}")));
        let mut bench = Bench { lab, addresses, slots, now_ns: 0, port: 1_024 };
        bench.wait(1_000 * SECOND)?;
        Ok(bench)
    }

    /// Lets time go by, nanoseconds.
    ///
    /// # Errors
    /// As [`Lab::set_time`].
    pub fn wait(&mut self, ns: u64) -> Result<()> {
        self.now_ns += ns;
        self.lab.set_time(self.now_ns)
    }

    /// Slot of a target.
    #[must_use]
    pub fn slot(&self, target: usize) -> u32 {
        self.slots[target]
    }

    /// A target's health.
    #[must_use]
    pub fn health(&self, target: usize) -> TargetHealth {
        self.lab.dataplane.readers().target_health(self.slots[target])
    }

    /// Its circuit, and how that stands now.
    #[must_use]
    pub fn circuit(&self, target: usize) -> (Circuit, Standing) {
        let health = self.health(target);
        let circuit = Circuit(health.circuit);
        (circuit, circuit.standing(self.lab.dataplane.readers().circuit_now(), &health))
    }

    /// What holds of all targets together.
    #[must_use]
    pub fn group(&self) -> HealthGroup {
        self.lab.dataplane.readers().health_group(self.health(0).group)
    }

    /// What its handshakes told.
    #[must_use]
    pub fn told(&self, target: usize) -> HandshakeCount {
        self.lab.dataplane.readers().handshakes(self.slots[target])
    }

    /// A packet of the client from this port: the target that it is sent to, none where it is dropped.
    ///
    /// # Errors
    /// If the test run fails.
    pub fn client(&mut self, port: u16, flags: u8, payload: usize) -> Result<Option<usize>> {
        let Addresses { client, service, .. } = *self.addresses;
        let frame = Frame::new().ip(client, service).tcp(port, SERVICE_PORT).tcp_with(flags, 0);
        let sent = |bench: &Bench| {
            let readers = bench.lab.dataplane.readers();
            bench.slots.map(|slot| readers.target_counts(slot).sent.packets)
        };
        let before = sent(self);
        self.lab.run(&frame.payload(payload).bytes())?;
        let after = sent(self);
        Ok((0..TARGETS).find(|target| after[*target] != before[*target]))
    }

    /// A packet of a target to the client's port, of a connection that is remembered.
    ///
    /// # Errors
    /// If it is not known as one.
    pub fn target(&mut self, target: usize, port: u16, flags: u8, payload: usize) -> Result<()> {
        let (from, to) = (self.addresses.targets[target], self.addresses.client);
        let frame = Frame::new().ip(from, to).tcp(TARGET_PORT, port).tcp_with(flags, 0);
        let returned =
            |bench: &Bench| bench.lab.dataplane.readers().target_counts(bench.slots[target]).returned.packets;
        let before = returned(self);
        self.lab.run(&frame.payload(payload).bytes())?;
        ensure!(returned(self) == before + 1, "no connection of target {target} with port {port}");
        Ok(())
    }

    /// A new connection asks: its port, and the target that it is sent to.
    ///
    /// # Errors
    /// As [`Bench::client`].
    pub fn ask(&mut self) -> Result<(u16, Option<usize>)> {
        self.port += 1;
        Ok((self.port, self.client(self.port, SYN, 0)?))
    }

    /// New connections ask until one is sent to this target: its port.
    ///
    /// # Errors
    /// If none is.
    pub fn ask_at(&mut self, target: usize) -> Result<u16> {
        for _ in 0..TRIES {
            let (port, to) = self.ask()?;
            if to == Some(target) {
                return Ok(port);
            }
        }
        bail!("none of {TRIES} connections went to target {target}")
    }

    /// A connection with this target that both have confirmed: its port.
    ///
    /// # Errors
    /// As [`Bench::ask_at`].
    pub fn connect(&mut self, target: usize) -> Result<u16> {
        let port = self.ask_at(target)?;
        self.target(target, port, SYN_ACK, 0)?;
        ensure!(self.client(port, ACK, 0)? == Some(target), "it went elsewhere");
        Ok(port)
    }

    /// So many new connections of this target are not answered, and ask again.
    ///
    /// # Errors
    /// As [`Bench::ask_at`].
    pub fn fail(&mut self, target: usize, count: usize) -> Result<()> {
        let ports = (0..count).map(|_| self.ask_at(target)).collect::<Result<Vec<_>>>()?;
        self.wait(SECOND)?;
        for port in ports {
            ensure!(self.client(port, SYN, 0)? == Some(target), "one that asks again goes elsewhere");
        }
        Ok(())
    }

    /// The ports of so many new connections, by the target that they are sent to; every one is.
    ///
    /// # Errors
    /// If one is not.
    pub fn spread(&mut self, count: usize) -> Result<[Vec<u16>; TARGETS]> {
        let mut spread = [const { Vec::new() }; TARGETS];
        for _ in 0..count {
            let (port, to) = self.ask()?;
            spread[to.with_context(|| format!("port {port} is dropped"))?].push(port);
        }
        Ok(spread)
    }
}
