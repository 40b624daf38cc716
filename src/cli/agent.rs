//! `podward agent`: the supervisor itself, as systemd runs it.

use std::{fmt, io, path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::Context as _;
use clap::Args as ClapArgs;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    filter::Targets,
    fmt::{FmtContext, FormatEvent, FormatFields, format},
    layer::SubscriberExt as _,
    registry::LookupSpan,
};

use crate::agent::app::{self, Launch, Serve};
use crate::config;

use super::{
    Globals,
    failure::{Failure, Outcome},
};

/// What the agent is asked for.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// What to log: a level, or levels by module such as `info,podward::agent=debug`
    #[arg(
        long,
        env = "PODWARD_LOG",
        hide_env = true,
        default_value = "info",
        value_name = "FILTER"
    )]
    pub log: String,
}

/// Runs until SIGTERM.
pub fn run(args: &Args, globals: &Globals, serve: Serve) -> Outcome {
    trace(&args.log)?;
    let launch = launch(globals)?;
    runtime()?.block_on(app::run(launch, serve))?;
    Ok(ExitCode::SUCCESS)
}

/// One thread runs everything; what blocks gets threads that end when they are idle.
pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(64)
        .build()
        .context("start the runtime")
}

/// The settings, and the way to read them again.
pub fn launch(globals: &Globals) -> anyhow::Result<Launch> {
    let settings = globals.settings()?;
    let (path, overrides) = (globals.config.clone(), globals.overrides());
    let config = path.clone().unwrap_or_else(|| PathBuf::from(config::DEFAULT_PATH));
    let config = std::path::absolute(&config).unwrap_or(config);
    let reload = Arc::new(move || config::load(path.as_deref(), &overrides));
    Ok(Launch { settings, reload, config })
}

/// Sends what happens to standard error, in journald's form when it reads there.
fn trace(filter: &str) -> anyhow::Result<()> {
    let targets: Targets = filter.parse().map_err(|error| {
        Failure::hinted(
            format!("--log {filter}: {error}"),
            "write a level (error, warn, info, debug, trace), or levels by module",
        )
    })?;
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_target(false);
    let registry = tracing_subscriber::registry().with(targets);
    let set = if std::env::var_os("JOURNAL_STREAM").is_some() {
        tracing::subscriber::set_global_default(registry.with(layer.event_format(Journal)))
    } else {
        tracing::subscriber::set_global_default(registry.with(layer))
    };
    set.context("start logging")
}

/// journald's form: a priority in angle brackets instead of time and level, which journald adds itself.
struct Journal;

impl<S, N> FormatEvent<S, N> for Journal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: format::Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        write!(writer, "<{priority}>")?;
        context.field_format().format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}
