//! Match components.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Declares the components that are lists of words, and ways to go through them.
macro_rules! match_spec {
    ($($(#[$meta:meta])* $field:ident,)*) => {
        /// Match components; within one, any of the list. Left out or empty: not named.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
        #[serde(deny_unknown_fields)]
        pub struct MatchSpec {
            /// Who sends: labels, addresses and prefixes.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub from: Option<SendersSpec>,
            $($(#[$meta])*
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub $field: Option<Vec<String>>,)*
            /// Components none of which may hold; no `not` within. In a change it is replaced as a
            /// whole, and an empty one takes it away.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schema(no_recursion)]
            pub not: Option<Box<MatchSpec>>,
        }

        impl MatchSpec {
            /// The components that are lists, by key.
            pub fn lists(&self) -> impl Iterator<Item = (&'static str, &[String])> {
                let lists = [$((stringify!($field), &self.$field),)*];
                lists.into_iter().filter_map(|(key, list)| Some((key, list.as_deref()?)))
            }

            /// Where the list of a component is; nothing for other keys.
            pub fn list_mut(&mut self, key: &str) -> Option<&mut Option<Vec<String>>> {
                match key {
                    $(stringify!($field) => Some(&mut self.$field),)*
                    _ => None,
                }
            }
        }
    };
}

match_spec! {
    /// Interface names.
    interface,
    /// Destination addresses or prefixes.
    to,
    /// Protocols: names that the policy knows, or numbers ("tcp", "47").
    protocol,
    /// Destination ports or ranges ("80", "8000-8099").
    port,
    /// Source ports or ranges.
    source_port,
    /// ICMP or ICMPv6 types or ranges ("8", "133-137").
    icmp_type,
    /// ICMP or ICMPv6 codes or ranges.
    icmp_code,
    /// TCP flags, and behind a `/` those that matter ("syn/syn+ack", "none/ack").
    tcp_flags,
    /// Lengths of the IP packet in bytes, or ranges ("0-576").
    length,
    /// DSCPs: names, numbers or ranges ("ef", "8-15").
    dscp,
    /// Kinds of fragment: "dont", "first", "later", "last".
    fragment,
    /// IPv6 flow labels or ranges.
    flow_label,
    /// VLAN identifiers or ranges; "untagged".
    vlan,
    /// Times to live or hop limits, or ranges.
    ttl,
}

/// Senders: a list of labels, addresses and prefixes of which any suffices, or `{"all": […]}` of
/// labels that a sender must carry together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum SendersSpec {
    /// Any of these.
    Any(Vec<String>),
    /// All of these labels.
    All(AllLabels),
}

/// Labels that a sender must carry together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AllLabels {
    /// Their names.
    pub all: Vec<String>,
}
