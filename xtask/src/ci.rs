//! `cargo xtask ci`: what CI runs.

use anyhow::Result;

use crate::shell::{output, program};
use crate::test;

/// Says what machine this is, then runs `test`.
pub fn run() -> Result<()> {
    println!("== environment");
    let questions: [&[&str]; 6] = [
        &["uname", "-srvm"],
        &["nproc"],
        &["rustc", "-vV"],
        &["cargo", "-V"],
        &["free", "-m"],
        &["df", "-h", "."],
    ];
    for question in questions {
        let answer =
            output(&mut program(question[0], &question[1..])).unwrap_or_else(|error| error.to_string());
        println!("$ {}\n{}", question.join(" "), answer.trim_end());
    }
    test::run()
}
