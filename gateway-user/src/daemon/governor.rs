//! The one owner of what is governed: data plane, store, live policy, flows and events.
//!
//! Changes go one after the other, under one lock that is held by a blocking thread. What readers
//! need is published beside it, so that no reader waits for a change.

use super::clock::{monotonic_now_ns, unix_now};
use super::events::EventLog;
use super::health::Book;
use super::interfaces::InterfaceState;
use super::limits::LiveLimits;
use super::live::Live;
use super::members::Members;
use super::talkers::lost;
use super::{Config, GovernError, kernel_log_level};
use crate::dataplane::{Dataplane, MapSize, Readers, object_digest};
use crate::flows::Table;
use crate::store::{Candidate, Slots, Store};
use crate::talkers::Talkers;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::{Notify, watch};

/// What the daemon is to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// Go on.
    Govern,
    /// End, and leave the programs governing.
    Stop,
    /// End: the programs are off.
    Detached,
}

/// The state owner; shared by the API, the metrics and the daemon's tasks.
pub struct Governor {
    pub(super) config: Config,
    pub(super) readers: Readers,
    pub(super) started_at_unix_secs: u64,
    pub(super) adopted: bool,
    /// Digest of the kernel object.
    pub(super) object: String,
    writer: Mutex<Writer>,
    live: RwLock<Option<Arc<Live>>>,
    slots: RwLock<Slots>,
    members: RwLock<Members>,
    interfaces: RwLock<BTreeMap<String, InterfaceState>>,
    map_sizes: RwLock<Vec<MapSize>>,
    notices: RwLock<BTreeMap<String, String>>,
    flows: Mutex<Table>,
    talkers: Mutex<Talkers>,
    health: Mutex<Book>,
    /// A circuit opened by itself.
    pub(super) health_news: Notify,
    /// Of a generation.
    limits: Mutex<Option<(u32, Arc<LiveLimits>)>>,
    pub(super) events: EventLog,
    course: watch::Sender<Course>,
}

/// What only a change may touch.
pub(super) struct Writer {
    /// Nothing once it is detached.
    pub dataplane: Option<Dataplane>,
    pub store: Store,
    /// What is live and could not be confirmed: nothing else goes live before it is.
    pub unconfirmed: Option<Candidate>,
}

impl Writer {
    /// The data plane, unless it is detached.
    pub fn dataplane(&mut self) -> Result<&mut Dataplane, GovernError> {
        self.dataplane.as_mut().ok_or(GovernError::Stopping)
    }
}

impl Governor {
    pub(super) fn new(config: Config, dataplane: Dataplane, store: Store, slots: Slots) -> Governor {
        let readers = dataplane.readers();
        let talkers = Talkers::new(monotonic_now_ns(), lost(&readers));
        Governor {
            readers,
            started_at_unix_secs: unix_now().as_secs(),
            adopted: dataplane.opened().adopted,
            object: object_digest(kernel_log_level()),
            map_sizes: RwLock::new(dataplane.map_sizes()),
            writer: Mutex::new(Writer { dataplane: Some(dataplane), store, unconfirmed: None }),
            live: RwLock::new(None),
            slots: RwLock::new(slots),
            members: RwLock::new(Members::default()),
            interfaces: RwLock::new(BTreeMap::new()),
            notices: RwLock::new(BTreeMap::new()),
            flows: Mutex::new(Table::new(config.flow_table_entries)),
            talkers: Mutex::new(talkers),
            health: Mutex::default(),
            health_news: Notify::new(),
            limits: Mutex::new(None),
            events: EventLog::default(),
            course: watch::Sender::new(Course::Govern),
            config,
        }
    }

    /// Waits for its turn to change something.
    pub(super) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The live policy.
    #[must_use]
    pub fn live(&self) -> Option<Arc<Live>> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The live generation, 0 if there is none.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.live().map_or(0, |live| live.generation)
    }

    pub(super) fn set_live(&self, live: Option<Live>) {
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = live.map(Arc::new);
    }

    pub(super) fn slots(&self) -> RwLockReadGuard<'_, Slots> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn slots_mut(&self) -> RwLockWriteGuard<'_, Slots> {
        self.slots.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Live members of labels. Only who holds the writer changes them; what is not written down yet may
    /// be among them for a moment.
    pub(super) fn members(&self) -> RwLockReadGuard<'_, Members> {
        self.members.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn members_mut(&self) -> RwLockWriteGuard<'_, Members> {
        self.members.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn flows(&self) -> &Mutex<Table> {
        &self.flows
    }

    /// The health of the live policy's targets. Who holds it asks for no other lock.
    pub(super) fn health(&self) -> MutexGuard<'_, Book> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn talkers(&self) -> &Mutex<Talkers> {
        &self.talkers
    }

    /// What [`Governor::live_limits`] found last.
    pub(super) fn known_limits(&self) -> &Mutex<Option<(u32, Arc<LiveLimits>)>> {
        &self.limits
    }

    /// Interfaces that are governed, to be governed, or redirected to, by name.
    #[must_use]
    pub fn interface_states(&self) -> BTreeMap<String, InterfaceState> {
        self.interfaces.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_interface_states(&self, states: BTreeMap<String, InterfaceState>) {
        *self.interfaces.write().unwrap_or_else(PoisonError::into_inner) = states;
    }

    /// How full the kernel's tables are.
    #[must_use]
    pub fn map_sizes(&self) -> Vec<MapSize> {
        self.map_sizes.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn publish_map_sizes(&self, dataplane: &Dataplane) {
        *self.map_sizes.write().unwrap_or_else(PoisonError::into_inner) = dataplane.map_sizes();
    }

    /// What an operator should know, by subject.
    #[must_use]
    pub fn notices(&self) -> BTreeMap<String, String> {
        self.notices.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says something to the operator, in the log and in the status, until something else is said
    /// about the subject. Said again, it is not logged again.
    pub(super) fn notice(&self, subject: &str, text: String) {
        let mut notices = self.notices.write().unwrap_or_else(PoisonError::into_inner);
        if notices.get(subject) != Some(&text) {
            tracing::warn!(subject, "{text}");
            notices.insert(subject.to_owned(), text);
        }
    }

    /// Nothing is to be said about the subject any more.
    pub(super) fn clear_notice(&self, subject: &str) {
        self.notices.write().unwrap_or_else(PoisonError::into_inner).remove(subject);
    }

    /// Whether a policy is live and every configured interface is governed.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let states = self.interfaces.read().unwrap_or_else(PoisonError::into_inner);
        let governed = |name: &String| states.get(name).is_some_and(InterfaceState::is_governed_now);
        self.readers.generation() != 0 && self.config.interfaces.iter().all(governed)
    }

    /// What the daemon is to do, as it changes.
    #[must_use]
    pub fn course(&self) -> watch::Receiver<Course> {
        self.course.subscribe()
    }

    pub(super) fn set_course(&self, course: Course) {
        self.course.send_replace(course);
    }

    /// Takes the programs off all interfaces and removes all pins; the daemon then ends. Counters
    /// and live policy are gone; the store, and with it the policy to start with, stays.
    ///
    /// # Errors
    /// Where something cannot be taken off. What is left then is found by the next start.
    pub fn detach(&self) -> Result<Vec<String>, GovernError> {
        let mut writer = self.writer();
        let dataplane = writer.dataplane.take().ok_or(GovernError::Stopping)?;
        let interfaces = dataplane.attachments().map(|attachment| attachment.interface.clone()).collect();
        // Either way this daemon governs no more: what failed half-way is not to be built upon.
        let result = dataplane.detach_all();
        self.set_course(Course::Detached);
        result?;
        self.set_live(None);
        tracing::info!(?interfaces, "detached: the programs are off, the pins are gone");
        Ok(interfaces)
    }
}
