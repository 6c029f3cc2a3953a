//! Names of TCP flags (RFC 9293) and of differentiated services code points (RFC 2474, 2597, 3246,
//! 5865, 8622).

/// TCP's flags, the lowest bit first.
const FLAGS: [&str; 8] = ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"];

/// Code points with names; where a number has several, the first is the one that is written.
const DSCPS: &[(u8, &str)] = &[
    (0, "cs0"),
    (0, "be"),
    (1, "le"),
    (8, "cs1"),
    (10, "af11"),
    (12, "af12"),
    (14, "af13"),
    (16, "cs2"),
    (18, "af21"),
    (20, "af22"),
    (22, "af23"),
    (24, "cs3"),
    (26, "af31"),
    (28, "af32"),
    (30, "af33"),
    (32, "cs4"),
    (34, "af41"),
    (36, "af42"),
    (38, "af43"),
    (40, "cs5"),
    (44, "va"),
    (46, "ef"),
    (48, "cs6"),
    (56, "cs7"),
];

/// The bit of the flag with this name, in whatever case.
pub(super) fn flag_of(name: &str) -> Option<u8> {
    FLAGS.iter().position(|known| known.eq_ignore_ascii_case(name)).map(|bit| 1 << bit)
}

/// The flags' names.
pub(super) fn flag_names() -> impl Iterator<Item = &'static str> {
    FLAGS.into_iter()
}

/// Flags by name, `+` between them; `none` for none.
#[must_use]
pub fn flags_text(flags: u8) -> String {
    if flags == 0 {
        return "none".to_owned();
    }
    let set = FLAGS.iter().enumerate().filter(|(bit, _)| flags >> bit & 1 != 0);
    set.map(|(_, name)| *name).collect::<Vec<_>>().join("+")
}

/// The code point with this name, in whatever case.
#[must_use]
pub fn dscp_number(name: &str) -> Option<u8> {
    DSCPS.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(number, _)| *number)
}

/// The name of a code point, if it has one.
#[must_use]
pub fn dscp_name(number: u8) -> Option<&'static str> {
    DSCPS.iter().find(|(known, _)| *known == number).map(|(_, name)| *name)
}

/// The names of code points.
pub(super) fn dscp_names() -> impl Iterator<Item = &'static str> {
    DSCPS.iter().map(|(_, name)| *name)
}
