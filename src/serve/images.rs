//! The `Images` call: what is asked of images, and the answers on their way back.

use std::path::PathBuf;

use tokio::sync::mpsc;
use tonic::Status;

use crate::agent::handle::{Command, Handle, ImageOrder, ImageSaid, ImageTask};
use crate::agent::wire::{
    ImagesRequest, ImagesResponse, PullLayer, PullProgress, images_request::Task,
    images_response::Part,
};
use crate::image::progress::Progress;

/// How many answers may wait for a slow reader.
const ANSWERS: usize = 8;

/// What is asked.
pub fn task(request: ImagesRequest) -> Result<ImageTask, Status> {
    Ok(match request.task {
        Some(Task::List(_)) => ImageTask::List,
        Some(Task::Pull(pull)) => ImageTask::Pull(pull.reference),
        Some(Task::Import(import)) => ImageTask::Import(archive(&import.archive)?),
        Some(Task::Prune(prune)) => ImageTask::Prune { dry_run: prune.dry_run },
        None => return Err(Status::invalid_argument("nothing is asked of images")),
    })
}

/// The archive: the agent works in another directory than whoever asks.
fn archive(path: &str) -> Result<PathBuf, Status> {
    let archive = PathBuf::from(path);
    if archive.is_absolute() {
        return Ok(archive);
    }
    let problem = format!("image archive {path:?}: not an absolute path");
    Err(Status::invalid_argument(problem))
}

/// Has the agent do it, and passes on what it says. Dropped with its caller, which the agent notices.
pub async fn converse(
    handle: Handle,
    task: ImageTask,
    answers: mpsc::Sender<ImagesResponse>,
) -> Result<(), Status> {
    let stopping = || Status::unavailable("the agent is stopping");
    let (output, mut said) = mpsc::channel(ANSWERS);
    let order = Command::Images(ImageOrder { task, output });
    handle.commands.send(order).await.map_err(|_| stopping())?;
    loop {
        let part = match said.recv().await {
            Some(ImageSaid::Item(item)) => Part::Item(item.to_string()),
            Some(ImageSaid::Progress(progress)) => Part::Progress(wire_progress(progress)),
            Some(ImageSaid::Failed(why)) => return Err(Status::failed_precondition(why)),
            Some(ImageSaid::Over) => return Ok(()),
            None => return Err(stopping()),
        };
        if answers.send(ImagesResponse { part: Some(part) }).await.is_err() {
            return Ok(());
        }
    }
}

/// A pull's progress on the wire.
fn wire_progress(progress: Progress) -> PullProgress {
    let layers = progress.layers.into_iter().map(|layer| PullLayer {
        digest: layer.digest,
        size: layer.size,
        here: layer.here,
        state: layer.state.as_str().to_owned(),
    });
    PullProgress { layers: layers.collect() }
}
