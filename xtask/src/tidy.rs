//! The house's own rules, which no compiler knows.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::shell;

/// Longest source file.
const LINES_MAX: usize = 450;
/// How far above an `unsafe` its note may begin.
const NOTE_LINES: usize = 12;

/// Words that have no place here: what is unfinished, and the folders of one machine. Written in
/// two parts, so that this file passes.
const FORBIDDEN: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X:"),
    concat!("#[ig", "nore"),
    concat!("/wo", "rk/"),
    concat!("/ho", "me/"),
];

/// Holds every file against the rules and names all breaches.
pub fn check() -> Result<()> {
    let mut files = Vec::new();
    collect(&shell::root(), &mut files)?;
    let mut breaches = Vec::new();
    for file in &files {
        let Ok(text) = fs::read_to_string(file) else { continue };
        let shown = file.strip_prefix(shell::root()).unwrap_or(file).display().to_string();
        breaches.extend(breaches_in(&text, shown.ends_with(".rs")).map(|breach| format!("{shown}:{breach}")));
    }
    if !breaches.is_empty() {
        bail!("{} breaches of the house's rules:\n{}", breaches.len(), breaches.join("\n"));
    }
    println!("{:>10}  {} files", "tidy", files.len());
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let kind = entry.file_type()?;
        if kind.is_dir() && name != ".git" && entry.path() != shell::target() {
            collect(&entry.path(), files)?;
        } else if kind.is_file() && name != "Cargo.lock" && name != ".git" {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// `line: what`, for each breach.
fn breaches_in(text: &str, rust: bool) -> impl Iterator<Item = String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut breaches = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        for word in FORBIDDEN.iter().filter(|word| line.contains(*word)) {
            breaches.push(format!("{}: holds {word}", number + 1));
        }
        if rust && needs_note(line) && !has_note(&lines[number.saturating_sub(NOTE_LINES)..=number]) {
            breaches.push(format!("{}: unsafe without a SAFETY note", number + 1));
        }
    }
    if rust && lines.len() > LINES_MAX {
        breaches.push(format!("{}: longer than {LINES_MAX} lines", lines.len()));
    }
    breaches.into_iter()
}

fn needs_note(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    ["unsafe {", "unsafe impl", "unsafe fn"].iter().any(|word| code.contains(word)) && !code.contains('"')
}

fn has_note(lines: &[&str]) -> bool {
    lines.iter().any(|line| line.contains("SAFETY:") || line.contains("# Safety"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unsafe_block_needs_its_note() {
        let bare = "let x = unsafe { f() };\n";
        assert_eq!(breaches_in(bare, true).count(), 1);
        assert_eq!(breaches_in(&format!("// SAFETY: f is safe here.\n{bare}"), true).count(), 0);
        assert_eq!(breaches_in("#[unsafe(no_mangle)]\n", true).count(), 0);
    }

    #[test]
    fn long_files_and_forbidden_words_are_named() {
        let long = "\n".repeat(LINES_MAX + 1);
        assert_eq!(breaches_in(&long, true).collect::<Vec<_>>(), ["451: longer than 450 lines"]);
        assert_eq!(breaches_in(&long, false).count(), 0);
        assert_eq!(breaches_in(concat!("a\n// TO", "DO\n"), false).count(), 1);
    }
}
