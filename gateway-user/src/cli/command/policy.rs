//! `gateway policy`.

use super::super::args::{ApplyArgs, Format, OutputArgs, PolicyFileArgs, PolicyVerb};
use super::super::client::Client;
use super::super::target::Target;
use super::super::{CliError, output, render};
use crate::api::types::{ApplyReport, DiffReport, PolicyDocument};
use hyper::Method;
use std::io::Read;
use std::path::Path;

/// Does what the verb says.
///
/// # Errors
/// See [`CliError`].
pub async fn run(client: &Client, verb: PolicyVerb) -> Result<(), CliError> {
    match verb {
        PolicyVerb::Check(args) => super::check::run(&args),
        PolicyVerb::Apply(args) => apply(client, &args).await,
        PolicyVerb::Diff(args) => diff(client, &args).await,
        PolicyVerb::Show(args) => show(client, args).await,
    }
}

async fn apply(client: &Client, args: &ApplyArgs) -> Result<(), CliError> {
    let (name, text) = read(&args.file)?;
    let source = source(&args.file, name)?;
    let target = Target::new("/v1/policy")
        .query("source", Some(source))
        .query("base_generation", args.if_generation)
        .query("dry_run", args.dry_run.then_some(true));
    let report: ApplyReport = client.send_yaml(Method::PUT, &target, text).await?;
    show_applied(args.output.output, &report)
}

/// Shows what a change did; its warnings go to standard error.
///
/// # Errors
/// Where it cannot be shown.
pub fn show_applied(format: Format, report: &ApplyReport) -> Result<(), CliError> {
    if matches!(format, Format::Table | Format::Wide) && !report.rendered.is_empty() {
        output::complain(&report.rendered);
    }
    output::show(format, report, |wide| {
        let mut text = render::policy::applied(report);
        if wide {
            text.push_str(&render::policy::timing(report));
        }
        text
    })
}

async fn diff(client: &Client, args: &PolicyFileArgs) -> Result<(), CliError> {
    let (name, text) = read(&args.file)?;
    let source = source(&args.file, name)?;
    let target = Target::new("/v1/policy/diff").query("source", Some(source));
    let report: DiffReport = client.send_yaml(Method::POST, &target, text).await?;
    output::show(args.output.output, &report, |_| {
        render::policy::difference(&report.diff, report.generation, output::colour())
    })
}

async fn show(client: &Client, args: OutputArgs) -> Result<(), CliError> {
    let document: PolicyDocument = client.get(&Target::new("/v1/policy")).await?;
    match args.output {
        // The document is YAML already.
        Format::Table | Format::Yaml => output::print(&render::policy::document(&document, false)),
        Format::Wide => output::print(&render::policy::document(&document, true)),
        Format::Json => output::print(&output::json(&document)?),
    }
}

/// What the daemon is told of where a policy comes from: a file's absolute path, beside which it finds
/// label files, wherever it runs itself.
fn source(file: &Path, name: String) -> Result<String, CliError> {
    if file == Path::new("-") {
        return Ok(name);
    }
    let path =
        std::path::absolute(file).map_err(|source| CliError::Read { path: file.to_owned(), source })?;
    Ok(path.display().to_string())
}

/// A policy file's name and text; `-` is standard input.
///
/// # Errors
/// Where it cannot be read.
pub fn read(file: &Path) -> Result<(String, String), CliError> {
    let failed = |source| CliError::Read { path: file.to_owned(), source };
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(failed)?;
        return Ok(("standard input".to_owned(), text));
    }
    let text = std::fs::read_to_string(file).map_err(failed)?;
    Ok((file.display().to_string(), text))
}
