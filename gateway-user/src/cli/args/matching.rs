//! Flags of match components.

use crate::api::types::{AllLabels, MatchSpec, SendersSpec};
use clap::Args;

/// Declares a flag for each component, and how they become the API's components.
macro_rules! match_args {
    ($(#[$meta:meta])* $name:ident, $heading:literal, $(#[$from_doc:meta])* from $from:literal, { $($(#[$doc:meta])* $field:ident $flag:literal $value:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Default, Args)]
        pub struct $name {
            $(#[$from_doc])*
            #[arg(id = $from, long = $from, value_name = "LABEL|PREFIX,…", value_delimiter = ',', help_heading = $heading)]
            pub from: Option<Vec<String>>,
            $($(#[$doc])*
            #[arg(id = $flag, long = $flag, value_name = $value, value_delimiter = ',', help_heading = $heading)]
            pub $field: Option<Vec<String>>,)*
        }

        impl $name {
            /// The components as the control API takes them: absent, or a list that is empty for `any`.
            #[must_use]
            pub fn spec(self) -> MatchSpec {
                MatchSpec {
                    from: component(self.from).map(senders),
                    $($field: component(self.$field),)*
                    not: None,
                }
            }
        }
    };
}

fn component(values: Option<Vec<String>>) -> Option<Vec<String>> {
    values.map(|values| if values == ["any"] { Vec::new() } else { values })
}

fn senders(values: Vec<String>) -> SendersSpec {
    match values.as_slice() {
        [value] if value.contains('+') => {
            SendersSpec::All(AllLabels { all: value.split('+').map(str::to_owned).collect() })
        }
        _ => SendersSpec::Any(values),
    }
}

match_args! {
    /// Match components. All that are named must hold; within one, any of the list.
    MatchArgs, "Match (`any`: not by this)",
    /// Who sends: labels and prefixes of which any suffices, or labels joined by `+` that a sender must
    /// carry together
    from "from", {
        /// Interface that the packet arrived on
        interface "interface" "NAME,…",
        /// Destination addresses or prefixes
        to "to" "PREFIX,…",
        /// Protocols: tcp, udp, sctp, icmp, icmpv6 or a number
        protocol "protocol" "PROTOCOL,…",
        /// Destination ports or ranges, such as 80,443,8000-8099
        port "port" "PORT,…",
        /// Source ports or ranges
        source_port "source-port" "PORT,…",
        /// ICMP or ICMPv6 types or ranges, such as 8
        icmp_type "icmp-type" "TYPE,…",
        /// ICMP or ICMPv6 codes or ranges
        icmp_code "icmp-code" "CODE,…",
        /// TCP flags that are set, and behind a slash those that matter: syn/syn+ack, none/ack
        tcp_flags "tcp-flags" "FLAGS,…",
        /// Lengths of the IP packet in bytes, or ranges, such as 0-576
        length "length" "BYTES,…",
        /// DSCPs that the packet has: ef, af21, 8-15 (--set-dscp writes one)
        dscp "dscp" "DSCP,…",
        /// Kinds of fragment: dont, first, later, last
        fragment "fragment" "KIND,…",
        /// IPv6 flow labels or ranges
        flow_label "flow-label" "LABEL,…",
        /// VLAN identifiers or ranges, such as 100-199, or untagged
        vlan "vlan" "VLAN,…",
        /// Times to live or hop limits, or ranges, such as 1-4
        ttl "ttl" "TTL,…",
    }
}

match_args! {
    /// Match components none of which may hold.
    NotArgs, "Match: none of these (`set` replaces all that was negated; `any` alone: nothing is)",
    /// Senders with none of these labels and in none of these prefixes, or, joined by `+`, not with all of
    /// these labels
    from "not-from", {
        /// Interfaces that the packet did not arrive on
        interface "not-interface" "NAME,…",
        /// Other destinations than these
        to "not-to" "PREFIX,…",
        /// Other protocols than these
        protocol "not-protocol" "PROTOCOL,…",
        /// Other destination ports than these, or none
        port "not-port" "PORT,…",
        /// Other source ports than these, or none
        source_port "not-source-port" "PORT,…",
        /// Other ICMP types than these, or none
        icmp_type "not-icmp-type" "TYPE,…",
        /// Other ICMP codes than these, or none
        icmp_code "not-icmp-code" "CODE,…",
        /// None of these TCP flags
        tcp_flags "not-tcp-flags" "FLAGS,…",
        /// Other lengths than these
        length "not-length" "BYTES,…",
        /// Other DSCPs than these
        dscp "not-dscp" "DSCP,…",
        /// None of these kinds of fragment
        fragment "not-fragment" "KIND,…",
        /// Other flow labels than these, or none
        flow_label "not-flow-label" "LABEL,…",
        /// Other VLANs than these
        vlan "not-vlan" "VLAN,…",
        /// Other times to live than these
        ttl "not-ttl" "TTL,…",
    }
}

/// The components of both kinds of flags; `None` where none is given.
#[must_use]
pub fn spec(matches: MatchArgs, not: NotArgs) -> Option<MatchSpec> {
    let mut spec = matches.spec();
    let not = not.spec();
    if not != MatchSpec::default() {
        // Empty lists stand for `any`: without others, nothing is negated any more.
        spec.not = Some(Box::new(not));
    }
    (spec != MatchSpec::default()).then_some(spec)
}
