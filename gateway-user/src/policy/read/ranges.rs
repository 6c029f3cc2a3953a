//! Numbers and ranges of them, and what else a match component lists: TCP flags, kinds of fragment.

use super::scalars::{Read, is_decimal, wrong};
use crate::policy::flags::{dscp_names, flag_names, flag_of};
use crate::policy::suggest::did_you_mean;
use crate::policy::{Fragment, PortRange, Range, TcpFlags, dscp_number};

/// What a range is of.
struct Kind {
    /// One of them, with an article.
    one: &'static str,
    many: &'static str,
    /// A number and a range, for example.
    examples: [&'static str; 2],
    min: u32,
    max: u32,
    /// Words that stand for a number.
    word: fn(&str) -> Option<u32>,
    /// The words in the help.
    words: &'static str,
}

const fn no_word(_: &str) -> Option<u32> {
    None
}

const PORT: Kind = Kind {
    one: "a port",
    many: "ports",
    examples: ["80", "8000-8099"],
    min: 0,
    max: u16::MAX as u32,
    word: no_word,
    words: "",
};
const SOURCE_PORT: Kind = Kind { examples: ["61000", "61000-65535"], min: 1, ..PORT };
const ICMP_TYPE: Kind = Kind {
    one: "an ICMP type",
    many: "ICMP types",
    examples: ["8", "0-18"],
    min: 0,
    max: 255,
    word: no_word,
    words: "",
};
const ICMP_CODE: Kind = Kind {
    one: "an ICMP code",
    many: "ICMP codes",
    examples: ["4", "0-15"],
    min: 0,
    max: 255,
    word: no_word,
    words: "",
};
const LENGTH: Kind = Kind {
    one: "a length of an IP packet in bytes",
    many: "lengths",
    examples: ["1500", "0-576"],
    min: 0,
    max: u16::MAX as u32,
    word: no_word,
    words: "",
};
const DSCP: Kind = Kind {
    one: "a DSCP",
    many: "DSCPs",
    examples: ["46", "8-15"],
    min: 0,
    max: 63,
    word: dscp_word,
    words: "; or a name: cs0 to cs7, af11 to af43, ef, be, le, va",
};
const FLOW_LABEL: Kind = Kind {
    one: "a flow label",
    many: "flow labels",
    examples: ["0x12345", "1-255"],
    min: 0,
    max: 0xf_ffff,
    word: no_word,
    words: "",
};
const VLAN: Kind = Kind {
    one: "a VLAN identifier",
    many: "VLAN identifiers",
    examples: ["100", "100-199"],
    min: 1,
    max: 4094,
    word: untagged,
    words: "; or `untagged`",
};
const TTL: Kind = Kind {
    one: "a TTL or hop limit",
    many: "them",
    examples: ["255", "1-4"],
    min: 0,
    max: 255,
    word: no_word,
    words: "",
};

/// RFC 9110 15.
const STATUS: Kind = Kind {
    one: "a status",
    many: "them",
    examples: ["404", "200-299"],
    min: 100,
    max: 599,
    word: no_word,
    words: "",
};

fn dscp_word(text: &str) -> Option<u32> {
    dscp_number(text).map(u32::from)
}

/// A frame without a tag is VLAN 0 in the model.
fn untagged(text: &str) -> Option<u32> {
    (text == "untagged").then_some(0)
}

fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) if digits.starts_with('+') => None,
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None if is_decimal(text) => text.parse().ok(),
        None => None,
    }
}

fn range<T: TryFrom<u32>>(text: &str, kind: &Kind) -> Read<Range<T>> {
    let one = |text: &str| {
        let number = number(text).filter(|number| *number >= kind.min).or_else(|| (kind.word)(text));
        number
            .filter(|number| *number <= kind.max)
            .and_then(|number| T::try_from(number).ok().zip(Some(number)))
    };
    let (first, last) =
        text.split_once('-').map_or((text, text), |(first, last)| (first.trim(), last.trim()));
    match (one(first), one(last)) {
        (Some((first, low)), Some((last, high))) if low <= high => Ok(Range { first, last }),
        (Some(_), Some(_)) => {
            wrong(format!("the range {text} runs backwards"), format!("write {last}-{first}"))
        }
        _ => {
            let Kind { one, many, examples: [single, several], min, max, words, .. } = kind;
            let help = format!("write {one} ({single}) or a range ({several}), each {min} to {max}{words}");
            wrong(format!("{text:?} is neither {one} nor a range of {many}"), help)
        }
    }
}

pub(super) fn port(text: &str) -> Read<PortRange> {
    range(text, &PORT)
}

/// Ports that sources are translated to.
pub(super) fn translated_ports(text: &str) -> Read<PortRange> {
    range(text, &SOURCE_PORT)
}

pub(super) fn icmp_type(text: &str) -> Read<Range<u8>> {
    range(text, &ICMP_TYPE)
}

pub(super) fn icmp_code(text: &str) -> Read<Range<u8>> {
    range(text, &ICMP_CODE)
}

pub(super) fn length(text: &str) -> Read<Range<u16>> {
    range(text, &LENGTH)
}

pub(super) fn dscp(text: &str) -> Read<Range<u8>> {
    range(text, &DSCP)
}

pub(super) fn flow_label(text: &str) -> Read<Range<u32>> {
    range(text, &FLOW_LABEL)
}

pub(super) fn vlan(text: &str) -> Read<Range<u16>> {
    range(text, &VLAN)
}

pub(super) fn ttl(text: &str) -> Read<Range<u8>> {
    range(text, &TTL)
}

/// HTTP statuses.
pub(super) fn status(text: &str) -> Read<Range<u16>> {
    range(text, &STATUS)
}

/// A DSCP that is written.
pub(super) fn one_dscp(text: &str) -> Read<u8> {
    let number = number(text).or_else(|| dscp_word(text)).and_then(|number| u8::try_from(number).ok());
    match number {
        Some(number @ 0..=63) => Ok(number),
        _ => wrong(
            format!("{text:?} is no DSCP"),
            did_you_mean(text, dscp_names(), || format!("write a number of 0 to 63{}", DSCP.words)),
        ),
    }
}

/// `syn`, `syn+ack`, `syn/syn+ack`, `none/ack`.
pub(super) fn tcp_flags(text: &str) -> Read<TcpFlags> {
    let (set_text, mask_text) = match text.split_once('/') {
        Some((set, mask)) => (set, Some(mask)),
        None => (text, None),
    };
    let set = if set_text == "none" { 0 } else { flags(set_text)? };
    let mask = match mask_text {
        Some(mask) => flags(mask)?,
        None => set,
    };
    if mask == 0 {
        let help = "say which flags are unset: `none/syn` for example";
        return wrong("`none` alone says nothing about any flag", help);
    }
    if set & !mask != 0 {
        let help = format!("write `{set_text}/{set_text}+{}`", mask_text.unwrap_or_default());
        return wrong(format!("{text:?} wants flags set that its mask leaves out"), help);
    }
    Ok(TcpFlags { set, mask })
}

fn flags(text: &str) -> Read<u8> {
    let mut flags = 0;
    for name in text.split('+') {
        let Some(flag) = flag_of(name) else {
            let help = did_you_mean(name, flag_names(), || {
                "write flags with `+` between them (fin, syn, rst, psh, ack, urg, ece, cwr), and behind a `/` those that matter: `syn/syn+ack`".to_owned()
            });
            return wrong(format!("{name:?} is no TCP flag"), help);
        };
        flags |= flag;
    }
    Ok(flags)
}

pub(super) fn fragment(text: &str) -> Read<Fragment> {
    match text {
        "dont" => Ok(Fragment::Dont),
        "first" => Ok(Fragment::First),
        "later" => Ok(Fragment::Later),
        "last" => Ok(Fragment::Last),
        _ => wrong(
            format!("{text:?} is no kind of fragment"),
            did_you_mean(text, ["dont", "first", "later", "last"], || {
                "write `dont`, `first`, `later` or `last`".to_owned()
            }),
        ),
    }
}
