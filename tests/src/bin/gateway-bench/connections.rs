//! Translated connections in number: what a million of them take, and whether changes of their pool lose
//! any.

use crate::Effort;
use crate::crowd::Processes;
use crate::frames::{Frame, RESTORED, between, restored, sized};
use crate::kernel::{Bench, FRAMES, Gateway, Node};
use crate::policies;
use crate::ways::{self, Ways};
use anyhow::Result;
use gateway_common::abi::{TRACK_WAYS, TagSet, Tracked};
use gateway_tests::changes;
use gateway_user::dataplane::Mode;
use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

/// Sets of the table: room for two connections each that are put there.
const SETS: u32 = 2 * FRAMES / TRACK_WAYS as u32;
/// Connections that go in before the time is looked at again.
const BATCH: u32 = 1 << 10;
/// How long a connection lives that is not answered.
const LIVES: Duration = Duration::from_secs(1);
const CONNECTIONS: usize = 50_000;
const CHANGES: usize = 1_000;

pub fn run(_: Effort) -> Result<()> {
    million()?;
    println!("changes: {CHANGES} changes of a pool, by weights and by a target that comes and goes, under");
    println!("         {CONNECTIONS} TCP connections, which are asked in turn meanwhile\n");
    crate::pin(&[0, 1])?;
    let outcome =
        changes::under(CHANGES, |delivery, service| Processes::gather(delivery, service, CONNECTIONS))?;
    let changes::Outcome { by_target, lost, asked, took } = outcome;
    println!("  {:<44}{:>12}", "connections of the two targets that stay", by_target[0] + by_target[1]);
    println!("  {:<44}{lost:>12}", "of those lost");
    println!("  {:<44}{asked:>12}", "questions answered meanwhile");
    println!("  {:<44}{:>12.1}\n", "seconds", took.as_secs_f64());
    Ok(())
}

/// A UDP flow of a client.
fn flow(n: u32) -> Result<Frame> {
    let (source, destination) = (Ipv4Addr::from(0x0b00_0000 + n), Ipv4Addr::new(10, 0, 0, 1));
    restored(&sized(
        between(&crate::frames::NOWHERE, source.into(), destination.into()).udp(4096, 80),
        RESTORED,
    ))
}

/// One connection for each frame that there is room for.
fn million() -> Result<()> {
    let ways = Ways::make()?;
    let bytes = (size_of::<TagSet>() * 2 + size_of::<Tracked>() * TRACK_WAYS) as u64 * u64::from(SETS);
    println!(
        "connections: {FRAMES} UDP flows through a dnat pool, ns a packet in batches of {BATCH}; room for"
    );
    println!("             {} in {} MiB\n", SETS * TRACK_WAYS as u32, bytes >> 20);
    println!("  {:<44}{:>8}{:>12}", "", "mean", "worst batch");
    let mut bench = Bench::load()?;
    bench.load_frames(&(0..FRAMES).map(flow).collect::<Result<Vec<_>>>()?)?;
    ways.run(|| {
        let mut gateway = Gateway::with(|options| options.track_sets = SETS)?;
        let link = ways::link(0);
        gateway.dataplane.attach(&link, 1, Mode::Native)?;
        let pool = policies::pooled("dnat", 0, false).replace("dnat,", "dnat, timeouts: {unanswered: 1s},");
        gateway.apply(&policies::read(&pool)?, Node { interfaces: &[(&link, 1)], ..Node::default() })?;
        let program = gateway.program_fd("gateway_xdp")?;
        bench.aim(&program)?;
        let mut pass = |what: &str| -> Result<()> {
            let (mut sum, mut worst) = (0.0, 0.0_f64);
            let batches = FRAMES / BATCH;
            for _ in 0..batches {
                let ns = bench.measure(&program, BATCH)?;
                (sum, worst) = (sum + ns, worst.max(ns));
            }
            println!("  {what:<44}{:>8.0}{worst:>12.0}", sum / f64::from(batches));
            Ok(())
        };
        pass("into the empty table")?;
        pass("all known")?;
        thread::sleep(2 * LIVES);
        pass("all over: each takes the place of one")?;
        gateway.dataplane.detach_all()?;
        Ok(())
    })?;
    println!();
    Ok(())
}
