//! The daemon's life: up, governing, down. Down leaves the programs governing.

use super::config::LIVE_MEMBERS_A_LINE;
use super::governor::{Course, Governor};
use super::start::settle_candidate;
use super::{Config, RunError, health, rights, tasks};
use crate::api;
use crate::dataplane::{Dataplane, KernelLog, LinkWatcher, Options};
use crate::metrics;
use crate::probe::IcmpSockets;
use crate::store::{Store, Used};
use gateway_common::abi::{
    CONNECTION_WAYS, COUNTER_FIRST_ROUTE, KEYED_WAYS, LimitCount, ROUTE_COUNTERS, TRACK_WAYS, TargetCount,
};
use gateway_common::image::{MAX_LIMITS, MAX_TARGETS};
use nix::net::if_::if_nametoindex;
use sd_notify::NotifyState;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long requests under way may take once the daemon is to end.
const DRAIN: Duration = Duration::from_secs(5);

/// What the kernel side is to log: everything at level trace, else nothing.
pub(super) fn kernel_log_level() -> u8 {
    if tracing::enabled!(target: "gateway::kernel", tracing::Level::TRACE) { 5 } else { 0 }
}

/// Runs the daemon until it is told to end. Must not be called inside a tokio runtime; governs the
/// network namespace of the calling thread.
///
/// # Errors
/// Where it cannot start. Then programs that governed before govern still, and nothing else is
/// left behind.
pub fn run(config: Config) -> Result<(), RunError> {
    config.check()?;
    let socket = api::ControlSocket::bind(&config.socket, config.socket_group.as_deref())
        .map_err(|error| RunError::Socket { path: config.socket.clone(), reason: error.to_string() })?;
    let metrics = config.metrics.map(bind_metrics).transpose()?;
    let governor = Arc::new(open(config)?);
    let started = governor
        .start_members()
        .map_err(|error| RunError::Members(Box::new(error)))
        .and_then(|()| governor.start_policy())
        .and_then(|()| governor.govern_interfaces());
    if let Err(error) = started {
        if !governor.adopted
            && let Err(left) = governor.detach()
        {
            tracing::error!(error = %left, "what was begun could not be taken back");
        }
        return Err(error);
    }
    // A raw socket takes a right that is given up.
    let icmp =
        IcmpSockets::open().map_err(|error| tracing::warn!(%error, "targets cannot be checked by ICMP")).ok();
    rights::drop_rights()?;
    let failed = |what| move |source| RunError::Os { what, source };
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(failed("cannot start the daemon's threads"))?;
    let result = runtime.block_on(serve(&governor, socket, metrics, icmp));
    shut_down(runtime);
    result
}

fn bind_metrics(address: std::net::SocketAddr) -> Result<TcpListener, RunError> {
    let bind = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    bind().map_err(|source| RunError::Metrics { address, source })
}

/// Opens store and data plane, and brings the two together.
fn open(config: Config) -> Result<Governor, RunError> {
    let store = Store::open(&config.state_dir)?;
    let (sample_one_in, sample_drops_one_in) = config.sampling();
    let dataplane = Dataplane::open(&Options {
        arena_lines: config.arena_lines,
        memo_sets_per_cpu: config.memo_sets,
        live_lines: config.live_members / LIVE_MEMBERS_A_LINE,
        limit_sets: config.limit_keys / KEYED_WAYS as u32,
        connection_sets: config.limit_connections / CONNECTION_WAYS as u32,
        track_sets: config.connections / TRACK_WAYS as u32,
        flow_accounting: config.flows,
        sample_one_in,
        sample_drops_one_in,
        log_level: kernel_log_level(),
        ..Options::new(&config.pin_dir)
    })?;
    let opened = dataplane.opened().clone();
    tracing::info!(
        adopted = opened.adopted,
        generation = opened.generation,
        programs_replaced = opened.programs_replaced,
        interfaces = ?opened.interfaces,
        "data plane open"
    );
    let first_free = |used: Option<u32>| used.map_or(0, |slot| slot + 1);
    settle_candidate(&store, dataplane.live().as_ref())?;
    let mut slots = store.slots()?;
    if opened.adopted {
        let readers = dataplane.readers();
        let counted = (COUNTER_FIRST_ROUTE..ROUTE_COUNTERS as u32)
            .rev()
            .find(|slot| readers.route_counts(*slot).packets > 0);
        let limited =
            (1..MAX_LIMITS as u32).rev().find(|slot| readers.limit_counts(*slot) != LimitCount::default());
        let sent_to =
            (1..MAX_TARGETS as u32).rev().find(|slot| readers.target_counts(*slot) != TargetCount::default());
        let slot_of = |name: &String| readers.slot_of(if_nametoindex(name.as_str()).unwrap_or(0));
        let interfaces = opened.interfaces.iter().map(|name| (name.as_str(), slot_of(name)));
        let found =
            slots.plan_for_found(first_free(counted), first_free(limited), first_free(sent_to), interfaces);
        store.keep_slots(&found)?;
        slots.add(found);
    }
    let interfaces = config.interfaces.iter().map(String::as_str).collect();
    let new = slots.plan(&Used { interfaces, ..Used::default() })?;
    store.keep_slots(&new)?;
    slots.add(new);
    let governor = Governor::new(config, dataplane, store, slots);
    for note in opened.notes {
        governor.notice(&note, note.clone());
    }
    Ok(governor)
}

/// Ends the runtime, with what still blocks given a little time: a change that has begun is
/// finished.
fn shut_down(runtime: Runtime) {
    runtime.shutdown_timeout(DRAIN);
}

async fn serve(
    governor: &Arc<Governor>,
    socket: api::ControlSocket,
    metrics: Option<TcpListener>,
    icmp: Option<IcmpSockets>,
) -> Result<(), RunError> {
    let mut signals = Signals::new()?;
    let background = start_tasks(governor, icmp)?;
    let path = governor.config.socket.clone();
    let listener = api::ControlListener::new(socket)
        .map_err(|error| RunError::Socket { path: path.clone(), reason: error.to_string() })?;
    let control = tokio::spawn(api::serve(Arc::clone(governor), listener));
    let metrics = metrics.map(|listener| start_metrics(governor, listener)).transpose()?;
    let metrics_at = governor.config.metrics.map_or_else(|| "off".to_owned(), |address| address.to_string());
    tracing::info!(socket = %path.display(), metrics = metrics_at, "serving");
    notify(&[NotifyState::Ready, NotifyState::Status(&status_line(governor))]);

    signals.until_the_end(governor).await;
    notify(&[NotifyState::Stopping]);
    for task in background {
        task.abort();
    }
    let mut servers = vec![control];
    servers.extend(metrics);
    for server in servers {
        match timeout(DRAIN, server).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "a server broke down"),
            Err(_) => tracing::warn!("requests under way were cut off"),
        }
    }
    tracing::info!(detached = *governor.course().borrow() == Course::Detached, "ended");
    Ok(())
}

fn start_metrics(governor: &Arc<Governor>, listener: TcpListener) -> Result<JoinHandle<()>, RunError> {
    let address = listener.local_addr();
    let listener = tokio::net::TcpListener::from_std(listener).map_err(|source| RunError::Metrics {
        address: address.unwrap_or_else(|_| std::net::SocketAddr::from(([0, 0, 0, 0], 0))),
        source,
    })?;
    Ok(tokio::spawn(metrics::serve(Arc::clone(governor), listener)))
}

fn start_tasks(governor: &Arc<Governor>, icmp: Option<IcmpSockets>) -> Result<Vec<JoinHandle<()>>, RunError> {
    let (flows, events, kernel_log) = {
        let mut writer = governor.writer();
        let Some(dataplane) = writer.dataplane.as_mut() else { return Ok(Vec::new()) };
        (dataplane.flow_ring()?, dataplane.event_ring()?, dataplane.kernel_log())
    };
    let mut tasks = vec![
        tokio::spawn(tasks::read_flows(Arc::clone(governor), flows)),
        tokio::spawn(tasks::read_events(Arc::clone(governor), events)),
        tokio::spawn(tasks::expire_flows(Arc::clone(governor))),
        tokio::spawn(tasks::turn_talkers(Arc::clone(governor))),
        tokio::spawn(tasks::sweep_members(Arc::clone(governor))),
        tokio::spawn(tasks::build_tables(Arc::clone(governor))),
        tokio::spawn(health::look_after(Arc::clone(governor), icmp)),
        tokio::spawn(health::count_open(Arc::clone(governor))),
        tokio::spawn(tasks::watch_links(Arc::clone(governor), LinkWatcher::new()?)),
    ];
    tasks.extend(kernel_log.map(|log| tokio::spawn(carry_log(log))));
    Ok(tasks)
}

async fn carry_log(log: KernelLog) {
    if let Err(error) = log.run().await {
        tracing::warn!(%error, "the kernel side's log ended");
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    reload: Signal,
}

impl Signals {
    fn new() -> Result<Signals, RunError> {
        let listen =
            |kind| signal(kind).map_err(|source| RunError::Os { what: "cannot listen to signals", source });
        Ok(Signals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            reload: listen(SignalKind::hangup())?,
        })
    }

    /// Returns once the daemon is to end; SIGHUP applies the policy file again meanwhile.
    async fn until_the_end(&mut self, governor: &Arc<Governor>) {
        let mut course = governor.course();
        loop {
            tokio::select! {
                _ = self.terminate.recv() => break,
                _ = self.interrupt.recv() => break,
                _ = self.reload.recv() => {
                    if let Ok(now) = NotifyState::monotonic_usec_now() {
                        notify(&[NotifyState::Reloading, now]);
                    }
                    tasks::blocking(governor, Governor::reload).await;
                    notify(&[NotifyState::Ready, NotifyState::Status(&status_line(governor))]);
                }
                _ = course.wait_for(|course| *course != Course::Govern) => return,
            }
        }
        governor.set_course(Course::Stop);
    }
}

fn status_line(governor: &Governor) -> String {
    let governed = governor.interface_states();
    let modes: Vec<String> =
        governed.iter().filter_map(|(name, state)| Some(format!("{name} {}", state.mode?.name()))).collect();
    format!("generation {}; {}", governor.generation(), modes.join(", "))
}

/// Tells the service manager, if there is one.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager could not be told");
    }
}
