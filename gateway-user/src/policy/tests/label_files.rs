//! Labels, and the files that they are read from.

use super::errors::{each, findings};
use crate::policy::{Diagnostics, Folder, LabelFiles, Policy, check_with, parse_prefixes, parse_with};
use std::io;
use std::time::Instant;

const NAME: &str = "use a letter, then up to 63 of the characters A-Z a-z 0-9 _ . -";

/// One file.
struct File<'f>(&'f [u8]);

impl LabelFiles for File<'_> {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        if path == "list.txt" { Ok(self.0.to_vec()) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}

const POLICY: &str = "version: 1\nlabels:\n  blocked: {file: list.txt}\n";

fn read(content: &[u8]) -> Result<Policy, Diagnostics> {
    parse_with("policy.yaml", POLICY, &File(content))
}

fn prefixes(policy: &Policy) -> Vec<String> {
    policy.labels["blocked"].prefixes.iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_wrong_with_labels() {
    each(&[
        (
            "version: 1\nlabels: [a]",
            "2:9 [a] | `labels` must be a map of names, not a list | write each under its name: `staging: [10.20.0.0/16]`",
        ),
        (
            "version: 1\nlabels: {10net: []}",
            &format!("2:10 10net | a label's name begins with a letter | {NAME}"),
        ),
        ("version: 1\nlabels: {'': []}", &format!("2:10 '' | a label's name is empty | {NAME}")),
        (
            "version: 1\nlabels: {a b: []}",
            &format!("2:10 a b | ' ' may not stand in a label's name | {NAME}"),
        ),
        (
            "version: 1\nlabels: {all: []}",
            &format!("2:10 all | `all` cannot be a label's name: it has a meaning of its own | {NAME}"),
        ),
        ("version: 1\nlabels: {a: [], a: []}", "2:17 a | the label `a` is given twice | rename one of them"),
        (
            "version: 1\nlabels: {a: [b]}",
            "2:14 b | \"b\" is neither an address nor a prefix | write prefixes, 10.0.0.0/8 or 2001:db8::/32 for example: labels tell who sends and stand in `from`, and host names are not looked up",
        ),
        (
            "version: 1\nlabels: {a: [10.0.0.1/8]}",
            "2:14 10.0.0.1/8 | 10.0.0.1/8 has bits set behind its prefix | write 10.0.0.0/8 for the network, or 10.0.0.1 for the one address",
        ),
        (
            "version: 1\nlabels: {a: }",
            "2:10 a | `label` has no value | write prefixes, `[10.0.0.0/8, \"2001:db8::/32\"]`, or `{file: blocked.txt}`; `[]` for live members only",
        ),
        (
            "version: 1\nlabels: {a: {}}",
            "2:13 {} | a label has no `file` | write prefixes, `[10.0.0.0/8, \"2001:db8::/32\"]`, or `{file: blocked.txt}`; `[]` for live members only",
        ),
        (
            "version: 1\nlabels: {a: {file: x.txt}}",
            "2:20 x.txt | x.txt cannot be read: label files cannot be read here | write the prefixes themselves: `[10.0.0.0/8]`",
        ),
    ]);
    let mut text = String::from("version: 1\nlabels:\n");
    for i in 0..=4_096 {
        text.push_str(&format!("  l{i}: []\n"));
    }
    assert_eq!(
        findings(&text),
        [
            "4099:3 l4096 | 4097 labels are more than a policy can hold | 4096 are the most: leave out what follows here"
        ]
    );
}

#[test]
fn a_file_is_read_as_people_write_them() {
    let content = b"\xef\xbb\xbf# blocked\r\n\r\n10.0.0.0/8 # with a comment\r\n\t::1\n10.0.0.0/8\n10.1.0.0/16#x\n203.0.113.7\n2001:db8::/32";
    let (policy, diagnostics) = check_with("policy.yaml", POLICY, &File(content));
    assert_eq!(
        prefixes(&policy.expect("is valid")),
        ["10.0.0.0/8", "10.1.0.0/16", "203.0.113.7/32", "::1/128", "2001:db8::/32"]
    );
    assert_eq!(
        diagnostics.to_string(),
        "policy.yaml:3:19: warning: 1 line repeats a prefix of list.txt; they do no harm; `sort -u list.txt` is the file without them"
    );
    for empty in ["", "\n", "# nothing", "\r\n#\r\n"] {
        assert_eq!(prefixes(&read(empty.as_bytes()).expect("is valid")), [""; 0]);
    }
}

#[test]
fn a_missing_file_is_an_error_where_it_is_named() {
    let text = POLICY.replace("list.txt", "lost.txt");
    let diagnostics = parse_with("policy.yaml", &text, &File(b"")).expect_err("is missing");
    assert_eq!(
        diagnostics.to_string(),
        "policy.yaml:3:19: error: lost.txt cannot be read: entity not found; write its path from the folder of the policy's file, or an absolute one"
    );
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("list.txt"), "::1\n").expect("a file");
    let files = Folder(folder.path().to_owned());
    assert_eq!(prefixes(&parse_with("policy.yaml", POLICY, &files).expect("is there")), ["::1/128"]);
    std::fs::remove_file(folder.path().join("list.txt")).expect("was there");
    std::fs::create_dir(folder.path().join("list.txt")).expect("a folder");
    let diagnostics = parse_with("policy.yaml", POLICY, &files).expect_err("is a folder");
    assert!(
        diagnostics.to_string().contains("list.txt cannot be read: it is not a regular file; "),
        "{diagnostics}"
    );
}

#[test]
fn malformed_lines_are_told_in_their_own_file() {
    let mut lines = vec!["10.0.0.0/8"; 70_000];
    lines.push("  10.0.0.1/8 # host bits");
    lines.extend(["10.0.0.0/8 10.1.0.0/16", "example.com", "fe80::/129"]);
    let mut content = lines.join("\n").into_bytes();
    content.extend(b"\n\xff\xfe\n");
    let diagnostics = read(&content).expect_err("is malformed");
    let expected = "\
list.txt:70001:3: error: 10.0.0.1/8 has bits set behind its prefix; write 10.0.0.0/8 for the network, or 10.0.0.1 for the one address
list.txt:70002:1: error: there is more than a prefix in this line; write a prefix a line, and a `#` in front of a comment
list.txt:70003:1: error: \"example.com\" is neither an address nor a prefix; write prefixes, 10.0.0.0/8 or 2001:db8::/32 for example: labels tell who sends and stand in `from`, and host names are not looked up
list.txt:70004:1: error: \"129\" is no prefix length here; write a length of 0 to 128: fe80::/128
list.txt:70005:1: error: this line is not text; write a prefix a line, 10.0.0.0/8 or 2001:db8::/32, in UTF-8";
    assert_eq!(diagnostics.to_string(), expected);
    assert_eq!(diagnostics.underlined(&diagnostics.items()[0]), "10.0.0.1/8");
    let drawn = "  × 10.0.0.1/8 has bits set behind its prefix
       ╭─[list.txt:70001:3]
 70001 │   10.0.0.1/8 # host bits
       ·   ──────────
       ╰────
";
    assert!(diagnostics.render(false).starts_with(drawn), "{}", diagnostics.render(false));
    assert_eq!(parse_prefixes("list.txt", &content).expect_err("is malformed").to_string(), expected);
}

#[test]
fn many_malformed_lines_are_counted() {
    let content = vec!["10.0.0.0/33"; 25].join("\n");
    let text = format!("{POLICY}routes: 3\n");
    let diagnostics = parse_with("policy.yaml", &text, &File(content.as_bytes())).expect_err("is malformed");
    let items = diagnostics.items();
    assert_eq!(items.len(), 22);
    // The document's own come first.
    assert_eq!((items[0].file.as_str(), items[0].line), ("policy.yaml", 4));
    assert_eq!((items[1].file.as_str(), items[1].line), ("list.txt", 1));
    assert_eq!(
        items[21].to_string(),
        "list.txt:21:1: error: and 5 more lines are malformed; mend the others first"
    );
}

/// A million lines, a third of them duplicates; a fortieth of it where nothing is optimized.
#[test]
fn a_long_file_with_duplicates_is_read() {
    let lines: u32 = if cfg!(debug_assertions) { 25_000 } else { 1_000_000 };
    let mut content = String::new();
    for i in 0..lines {
        let n = (i * 7) % (lines / 3 * 2);
        if i % 2 == 0 {
            content.push_str(&format!("{}.{}.{}.0/24\n", 1 + (n >> 16), n >> 8 & 255, n & 255));
        } else {
            content.push_str(&format!("2001:db8:{:x}:{:x}::/64\n", n >> 16, n & 0xffff));
        }
    }
    let start = Instant::now();
    let policy = read(content.as_bytes()).expect("is valid");
    let elapsed = start.elapsed();
    let held = policy.labels["blocked"].prefixes.len();
    assert!(held < lines as usize && held > lines as usize / 2, "{held}");
    println!("{lines} lines, {held} prefixes: {elapsed:?}");
}
