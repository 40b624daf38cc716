//! `podward image`: the images of this host: which are here, fetching, importing and removing them.

use std::{
    io::{self, IsTerminal, Write},
    path::{self, Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Args as ClapArgs, Subcommand};
use serde_json::Value;
use tonic::Status;

use crate::agent::wire::{
    ImagesRequest, ImportImages, ListImages, PruneImages, PullImage, images_request::Task,
    images_response::Part,
};
use crate::base::time;
use crate::image::{collect::titles, progress::bytes};

use super::client::{self, refusal};
use super::document::{self, Format};
use super::failure::Outcome;
use super::image_row;
use super::pull_view::PullView;
use super::table::Table;

/// What `image` is asked for.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// What to do
    #[command(subcommand)]
    verb: ImageVerb,
}

/// What can be done with images.
#[derive(Debug, Subcommand)]
enum ImageVerb {
    /// Show the images that are here, and which pods use them
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Fetch an image from its registry, with the host's own credentials
    Pull(PullArgs),
    /// Take the images of an archive: an OCI layout or docker save; plain, gzip or zstd
    Import(ImportArgs),
    /// Remove every image that no pod and no wanted set needs, however young it is
    ///
    /// Images that are pinned in containerd, and those whose archives lie in the images' directory, stay.
    Prune(PruneArgs),
}

/// What `image list` is asked for.
#[derive(Debug, ClapArgs)]
struct ListArgs {
    /// Output format; wide shows whole digests
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
    /// Leave the headers out
    #[arg(long)]
    no_headers: bool,
}

/// What `image pull` is asked for.
#[derive(Debug, ClapArgs)]
struct PullArgs {
    /// The image, such as docker.io/library/busybox:1.36; its registry is asked even when it is here
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Say nothing but what went wrong
    #[arg(short, long)]
    quiet: bool,
}

/// What `image import` is asked for.
#[derive(Debug, ClapArgs)]
struct ImportArgs {
    /// The archive
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// What `image prune` is asked for.
#[derive(Debug, ClapArgs)]
struct PruneArgs {
    /// Only say what would go
    #[arg(long)]
    dry_run: bool,
}

/// Does it.
pub fn run(args: &Args, socket: &Path, out: &mut dyn Write, err: &mut dyn Write) -> Outcome {
    match &args.verb {
        ImageVerb::List(args) => list(args, socket, out, err)?,
        ImageVerb::Pull(args) => pull(args, socket, out)?,
        ImageVerb::Import(args) => import(&args.file, socket, out)?,
        ImageVerb::Prune(args) => prune(args.dry_run, socket, out)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks the agent, and takes what it says piece by piece.
fn ask(
    socket: &Path,
    task: Task,
    take: &mut dyn FnMut(Part) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    client::converse(async {
        let mut control = client::connect(socket).await?;
        let request = ImagesRequest { task: Some(task) };
        let refused = |status: Status| refusal(&status);
        let mut answers = control.images(request).await.map_err(refused)?.into_inner();
        while let Some(answer) = answers.message().await.map_err(refused)? {
            answer.part.map_or(Ok(()), &mut *take)?;
        }
        Ok(())
    })
}

/// Asks the agent for what it says in objects alone.
fn items(
    socket: &Path,
    task: Task,
    take: &mut dyn FnMut(Value) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    ask(socket, task, &mut |part| match part {
        Part::Item(item) => take(object(&item)?),
        Part::Progress(_) => Ok(()),
    })
}

/// An object of the agent's answer.
fn object(item: &str) -> anyhow::Result<Value> {
    serde_json::from_str(item).context("read the agent's answer")
}

/// Lists the images.
fn list(
    args: &ListArgs,
    socket: &Path,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<()> {
    let mut images = Vec::new();
    items(socket, Task::List(ListImages {}), &mut |image| {
        images.push(image);
        Ok(())
    })?;
    images.sort_by_cached_key(image_row::key);
    match args.output {
        Some(Format::Json) => return document::json(&document::list(&images), out),
        Some(Format::Yaml) => return document::yaml(&document::list(&images), out),
        Some(Format::Name) => {
            for names in images.iter().map(image_row::names) {
                for name in titles(&names) {
                    writeln!(out, "image/{name}")?;
                }
            }
            return Ok(());
        }
        Some(Format::Wide) | None => {}
    }
    let (wide, now) = (args.output == Some(Format::Wide), time::now().wall);
    let mut rows: Vec<Vec<String>> = Vec::new();
    if !args.no_headers && !images.is_empty() {
        rows.push(image_row::HEADERS.map(str::to_owned).to_vec());
    }
    rows.extend(images.iter().flat_map(|image| image_row::rows(image, wide, now)));
    if images.is_empty() {
        writeln!(err, "No images found")?;
    }
    Ok(Table::default().print(&rows, out)?)
}

/// Pulls an image and shows how far that is.
fn pull(args: &PullArgs, socket: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
    let live = io::stdout().is_terminal() && std::env::var("TERM").is_ok_and(|term| term != "dumb");
    let mut view = PullView::new(live);
    let task = Task::Pull(PullImage { reference: args.image.clone() });
    ask(socket, task, &mut |part| {
        if args.quiet {
            return Ok(());
        }
        match part {
            Part::Progress(progress) => view.show(&progress, time::now().mono, out)?,
            Part::Item(item) => {
                let pulled = object(&item)?;
                let text = |field: &str| pulled[field].as_str().unwrap_or_default().to_owned();
                view.end(out)?;
                writeln!(out, "{}", text("message"))?;
                writeln!(out, "Digest: {}", text("digest"))?;
            }
        }
        Ok(out.flush()?)
    })
}

/// Imports an archive.
fn import(file: &Path, socket: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
    // The agent works in another directory.
    let archive = path::absolute(file).with_context(|| file.display().to_string())?;
    let archive =
        archive.to_str().with_context(|| format!("{}: its path is no text", archive.display()))?;
    let task = Task::Import(ImportImages { archive: archive.to_owned() });
    items(socket, task, &mut |imported| {
        for name in image_row::names(&imported) {
            writeln!(out, "imported {name}")?;
        }
        Ok(())
    })
}

/// Removes what nothing needs.
fn prune(dry_run: bool, socket: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
    let (mut count, mut freed) = (0_u64, 0_u64);
    let verb = if dry_run { "would remove" } else { "removed" };
    items(socket, Task::Prune(PruneImages { dry_run }), &mut |image| {
        let number = |field: &str| image[field].as_u64().unwrap_or_default();
        count += 1;
        freed += if dry_run { number("size") } else { number("freed") };
        let names = titles(&image_row::names(&image)).join(", ");
        writeln!(out, "{verb} {names} ({})", bytes(number("size")))?;
        Ok(out.flush()?)
    })?;
    let images = if count == 1 { "image" } else { "images" };
    match (count, dry_run) {
        (0, _) => writeln!(out, "nothing to remove: every image is needed")?,
        (_, true) => writeln!(out, "{count} {images}, {} as they travel", bytes(freed))?,
        (_, false) => writeln!(out, "{count} {images}, {} freed", bytes(freed))?,
    }
    Ok(())
}
