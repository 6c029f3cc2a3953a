//! The daemon's configuration, resolved: flags and configuration file merged, defaults filled in.

use gateway_common::abi::{
    CONNECTION_SETS_DEFAULT, CONNECTION_WAYS, KEYED_WAYS, LIMIT_SETS_DEFAULT, LIVE_LINES_DEFAULT, Line,
    MEMO_SETS_DEFAULT, TRACK_SETS_DEFAULT, TRACK_WAYS,
};
use gateway_common::live::Member;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// Live members of labels in a line of their table.
pub const LIVE_MEMBERS_A_LINE: u32 = (size_of::<Line>() / size_of::<Member>()) as u32;
/// Sizes that the tables of limits, live members and connections can have; the largest takes 1 GiB or less
/// of memory, of connections 2.25 GiB.
pub const TABLE_SIZES: &str = "a power of two from 256 to 16777216";

/// Whether it is one of [`TABLE_SIZES`].
#[must_use]
pub fn is_table_size(entries: u32) -> bool {
    entries.is_power_of_two() && (1 << 8..=1 << 24).contains(&entries)
}

/// How to attach to an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The best that works: native, then generic, then tc.
    #[default]
    Auto,
    /// Native XDP or nothing.
    Native,
    /// Generic XDP or nothing.
    Generic,
    /// tc ingress only.
    Tc,
}

impl Mode {
    /// All modes.
    pub const ALL: [Mode; 4] = [Mode::Auto, Mode::Native, Mode::Generic, Mode::Tc];

    /// The word in flags and configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Mode::Auto => "auto",
            Mode::Native => "native",
            Mode::Generic => "generic",
            Mode::Tc => "tc",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Mode {
    type Err = ConfigError;

    fn from_str(word: &str) -> Result<Mode, ConfigError> {
        Mode::ALL
            .into_iter()
            .find(|mode| mode.name() == word)
            .ok_or_else(|| ConfigError::Mode { given: word.to_owned() })
    }
}

/// Everything that `gateway run` can be told.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Names of the interfaces to govern; one that is not there yet is attached when it comes.
    pub interfaces: Vec<String>,
    /// The policy to start with, where no applied one is known, and to apply again on SIGHUP.
    pub policy: Option<PathBuf>,
    /// How to attach.
    pub mode: Mode,
    /// The control socket.
    pub socket: PathBuf,
    /// Group that may read over the control socket; the daemon's own if left out.
    pub socket_group: Option<String>,
    /// Folder in a bpffs where programs, maps and links are pinned.
    pub pin_dir: PathBuf,
    /// Folder of the daemon's store.
    pub state_dir: PathBuf,
    /// Where metrics are served; nothing for nowhere.
    pub metrics: Option<SocketAddr>,
    /// Lines (64 bytes each) for compiled policies: old and new must fit beside each other.
    pub arena_lines: u32,
    /// Sets (384 bytes, four flows each) of the flow memo of each CPU, a power of two.
    pub memo_sets: u32,
    /// Live members of labels, a power of two; 32 bytes each.
    pub live_members: u32,
    /// Keys of limits, a power of two; 48 bytes each.
    pub limit_keys: u32,
    /// Open connections that limits count, a power of two; 16 bytes each.
    pub limit_connections: u32,
    /// Tracked connections of pools that translate, a power of two; 144 bytes each.
    pub connections: u32,
    /// Whether flows are accounted for.
    pub flows: bool,
    /// Flows kept in the daemon's own table.
    pub flow_table_entries: usize,
    /// After this long without a packet a flow in the daemon's table is forgotten, seconds.
    pub flow_idle_secs: u64,
    /// Part of all packets that is reported as events, 0 to 1.
    pub event_sample_rate: f64,
    /// Part of the dropped packets that is reported as events, 0 to 1.
    pub event_drop_sample_rate: f64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            interfaces: Vec::new(),
            policy: None,
            mode: Mode::Auto,
            socket: PathBuf::from("/run/gateway/gateway.sock"),
            socket_group: None,
            pin_dir: PathBuf::from("/sys/fs/bpf/gateway"),
            state_dir: PathBuf::from("/var/lib/gateway"),
            metrics: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 10300))),
            arena_lines: 1 << 20,
            memo_sets: MEMO_SETS_DEFAULT,
            live_members: LIVE_LINES_DEFAULT * LIVE_MEMBERS_A_LINE,
            limit_keys: LIMIT_SETS_DEFAULT * KEYED_WAYS as u32,
            limit_connections: CONNECTION_SETS_DEFAULT * CONNECTION_WAYS as u32,
            connections: TRACK_SETS_DEFAULT * TRACK_WAYS as u32,
            flows: true,
            flow_table_entries: 1_000_000,
            flow_idle_secs: 300,
            event_sample_rate: 0.001,
            event_drop_sample_rate: 0.01,
        }
    }
}

impl Config {
    /// How packets are sampled: one in so many of those that are not dropped, one in so many of
    /// those that are; 0 for none. The nearest to the rates that is possible.
    #[must_use]
    pub fn sampling(&self) -> (u32, u32) {
        let one_in = |rate: f64| if rate > 0.0 { (1.0 / rate).round() as u32 } else { 0 };
        (one_in(self.event_sample_rate), one_in(self.event_drop_sample_rate))
    }

    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The first value that cannot be used.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.interfaces.is_empty() {
            return Err(ConfigError::NoInterface);
        }
        for (i, name) in self.interfaces.iter().enumerate() {
            // IFNAMSIZ is 16 with the closing zero byte (linux/if.h).
            let valid = !name.is_empty()
                && name.len() < 16
                && name != "."
                && name != ".."
                && !name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace());
            if !valid {
                return Err(ConfigError::InterfaceName { given: name.clone() });
            }
            if self.interfaces[..i].contains(name) {
                return Err(ConfigError::InterfaceTwice { name: name.clone() });
            }
        }
        for (key, rate) in [
            ("event_sample_rate", self.event_sample_rate),
            ("event_drop_sample_rate", self.event_drop_sample_rate),
        ] {
            if !(0.0..=1.0).contains(&rate) {
                return Err(ConfigError::Range {
                    key,
                    given: rate.to_string(),
                    right: "a number from 0 to 1",
                });
            }
        }
        for (key, entries) in [
            ("live_members", self.live_members),
            ("limit_keys", self.limit_keys),
            ("limit_connections", self.limit_connections),
            ("connections", self.connections),
        ] {
            if !is_table_size(entries) {
                return Err(ConfigError::Range { key, given: entries.to_string(), right: TABLE_SIZES });
            }
        }
        let sizes = [
            ("arena_lines", (1 << 10..=1 << 26).contains(&self.arena_lines), "1024 to 67108864"),
            (
                "memo_sets",
                self.memo_sets.is_power_of_two() && (1 << 6..=1 << 22).contains(&self.memo_sets),
                "a power of two from 64 to 4194304",
            ),
            ("flow_table_entries", (1..=100_000_000).contains(&self.flow_table_entries), "1 to 100000000"),
            ("flow_idle_secs", self.flow_idle_secs >= 1, "at least 1"),
        ];
        let given = |key: &str| match key {
            "arena_lines" => self.arena_lines.to_string(),
            "memo_sets" => self.memo_sets.to_string(),
            "flow_table_entries" => self.flow_table_entries.to_string(),
            _ => self.flow_idle_secs.to_string(),
        };
        match sizes.into_iter().find(|(_, fits, _)| !fits) {
            Some((key, _, right)) => Err(ConfigError::Range { key, given: given(key), right }),
            None => Ok(()),
        }
    }
}

/// A value that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// None was named.
    #[error("no interface to govern is named: give --interface NAME, again for more")]
    NoInterface,
    /// No interface can have that name.
    #[error("`{given}` cannot be the name of an interface: 1 to 15 characters, no `/`, `:` or space")]
    InterfaceName {
        /// The name.
        given: String,
    },
    /// Named again.
    #[error("interface `{name}` is named twice")]
    InterfaceTwice {
        /// The name.
        name: String,
    },
    /// Not a mode.
    #[error("`{given}` is not a mode: auto, native, generic or tc")]
    Mode {
        /// The word.
        given: String,
    },
    /// Out of range.
    #[error("`{key}` is {given}, but must be {right}")]
    Range {
        /// The configuration key.
        key: &'static str,
        /// The value.
        given: String,
        /// What would be right.
        right: &'static str,
    },
}
