//! The content store: blobs by digest.

use std::{collections::HashMap, time::Duration};

use containerd_client::services::v1::{
    AbortRequest, Info, InfoRequest, ReadContentRequest, UpdateRequest, WriteAction,
    WriteContentRequest, WriteContentResponse,
};
use prost_types::FieldMask;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::{
    Containerd,
    client::{call, refused, within},
    error::{Class, Error},
    leases::ContentLease,
};
use crate::image::documents::DOCUMENT_LIMIT;

/// Labels of a blob.
pub(super) type Labels = HashMap<String, String>;

/// How long containerd may take to answer one message of a write: its disk may be slow.
const WRITE: Duration = Duration::from_mins(5);

/// A blob that is about to be written.
#[derive(Debug, Clone)]
pub(super) struct Blob {
    /// Its digest, which containerd checks.
    pub(super) digest: String,
    /// Its size.
    pub(super) size: u64,
    /// Its labels, written with the last piece.
    pub(super) labels: Labels,
}

impl Containerd {
    /// A document out of the content store; `None` when it is not there.
    pub(super) async fn read_document(&self, digest: &str) -> Result<Option<Vec<u8>>, Error> {
        let Some(info) = self.blob_info(digest).await? else {
            return Ok(None);
        };
        let size = u64::try_from(info.size).unwrap_or(0);
        if size > DOCUMENT_LIMIT {
            // The reader of the document will say that it is none.
            return Ok(Some(Vec::new()));
        }
        let mut service = self.client().content();
        let request = ReadContentRequest { digest: digest.to_owned(), offset: 0, size: 0 };
        let reply = call("read content", digest, service.read(self.client().request(request)));
        let mut pieces = match reply.await {
            Err(error) if error.class() == Class::Missing => return Ok(None),
            reply => reply?,
        };
        let mut document = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        while let Some(piece) =
            pieces.message().await.map_err(|status| refused("read content", digest, &status))?
        {
            document.extend_from_slice(&piece.data);
        }
        Ok(Some(document))
    }

    /// What is known of a blob; `None` when it is not there.
    pub(super) async fn blob_info(&self, digest: &str) -> Result<Option<Info>, Error> {
        let request = InfoRequest { digest: digest.to_owned() };
        let mut service = self.client().content();
        match call("find content", digest, service.info(self.client().request(request))).await {
            Ok(reply) => Ok(reply.info),
            Err(error) if error.class() == Class::Missing => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Adds labels to a blob and leaves its others.
    pub(super) async fn label_blob(&self, digest: &str, labels: &Labels) -> Result<(), Error> {
        if labels.is_empty() {
            return Ok(());
        }
        let paths = labels.keys().map(|key| format!("labels.{key}")).collect();
        let info = Info { digest: digest.to_owned(), labels: labels.clone(), ..Info::default() };
        let request = UpdateRequest { info: Some(info), update_mask: Some(FieldMask { paths }) };
        let mut service = self.client().content();
        call("label content", digest, service.update(self.client().request(request)))
            .await
            .map(|_| ())
    }

    /// Lets a lease hold a blob that is there already, with our labels; `false` when it is not there.
    pub(super) async fn keep_blob(&self, lease: &ContentLease, blob: &Blob) -> Result<bool, Error> {
        if self.blob_info(&blob.digest).await?.is_none() {
            return Ok(false);
        }
        self.hold_blob(lease, &blob.digest).await?;
        match self.label_blob(&blob.digest, &blob.labels).await {
            Ok(()) => Ok(true),
            // Collected in between.
            Err(error) if error.class() == Class::Missing => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes a blob that comes in pieces; one that is there already is only labelled.
    pub(super) async fn write_blob(
        &self,
        lease: &ContentLease,
        blob: &Blob,
        pieces: &mut mpsc::Receiver<Vec<u8>>,
    ) -> Result<(), Error> {
        let written = match self.open_write(lease, blob).await {
            Ok(Some(mut write)) => write.fill(blob, pieces).await,
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        match written {
            Err(error) if error.class() != Class::Exists => return Err(error),
            _ => {}
        }
        // The pieces must be taken even when containerd did not want them: their sender waits.
        while pieces.recv().await.is_some() {}
        if self.keep_blob(lease, blob).await? {
            return Ok(());
        }
        Err(Error::BrokenImage {
            reference: blob.digest.clone(),
            problem: "collected by containerd while it was written".to_owned(),
        })
    }

    /// Begins a write; `None` when the blob is there. Another writer of the same blob is waited for.
    async fn open_write(&self, lease: &ContentLease, blob: &Blob) -> Result<Option<Write>, Error> {
        for _ in 0..300 {
            match self.try_open_write(lease, blob).await {
                Ok(write) if write.offset == 0 => return Ok(Some(write)),
                // What an earlier writer left may have come from another archive: begin anew.
                Ok(write) => {
                    let reference = write.reference.clone();
                    drop(write);
                    self.abort_write(&reference).await?;
                }
                Err(error) if error.class() == Class::Exists => return Ok(None),
                Err(error) if error.says("locked") => {}
                Err(error) => return Err(error),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(Error::Silent {
            operation: "wait for the other writer of content",
            subject: blob.digest.clone(),
            within: Duration::from_secs(30),
        })
    }

    /// Asks containerd for a write.
    async fn try_open_write(&self, lease: &ContentLease, blob: &Blob) -> Result<Write, Error> {
        let (sender, receiver) = mpsc::channel(4);
        let reference = format!("podward-{}", blob.digest);
        let first = WriteContentRequest {
            action: WriteAction::Stat.into(),
            r#ref: reference.clone(),
            total: i64::try_from(blob.size).unwrap_or(i64::MAX),
            expected: blob.digest.clone(),
            ..WriteContentRequest::default()
        };
        sender.try_send(first).expect("the channel is new and has room");
        let mut service = self.client().content();
        let request = self.client().leased(&lease.header, ReceiverStream::new(receiver));
        let replies = call("write content", &blob.digest, service.write(request)).await?;
        let mut write =
            Write { subject: blob.digest.clone(), reference, sender, replies, offset: 0 };
        write.offset = write.reply().await?.offset;
        Ok(write)
    }

    /// Throws away a half-written blob.
    async fn abort_write(&self, reference: &str) -> Result<(), Error> {
        let request = AbortRequest { r#ref: reference.to_owned() };
        let mut service = self.client().content();
        match call("abort write", reference, service.abort(self.client().request(request))).await {
            Err(error) if error.class() != Class::Missing && !error.says("locked") => Err(error),
            _ => Ok(()),
        }
    }
}

/// An open write.
struct Write {
    /// The blob's digest, for messages.
    subject: String,
    /// containerd's name of the write.
    reference: String,
    /// What we send.
    sender: mpsc::Sender<WriteContentRequest>,
    /// What containerd answers.
    replies: Streaming<WriteContentResponse>,
    /// How much is written.
    offset: i64,
}

impl Write {
    /// Sends all pieces, then commits.
    async fn fill(
        &mut self,
        blob: &Blob,
        pieces: &mut mpsc::Receiver<Vec<u8>>,
    ) -> Result<(), Error> {
        while let Some(data) = pieces.recv().await {
            let request = WriteContentRequest {
                action: WriteAction::Write.into(),
                offset: self.offset,
                data,
                ..WriteContentRequest::default()
            };
            self.offset = self.exchange(request).await?.offset;
        }
        let request = WriteContentRequest {
            action: WriteAction::Commit.into(),
            offset: self.offset,
            total: i64::try_from(blob.size).unwrap_or(i64::MAX),
            expected: blob.digest.clone(),
            labels: blob.labels.clone(),
            ..WriteContentRequest::default()
        };
        self.exchange(request).await.map(|_| ())
    }

    /// Sends one message and takes its answer.
    async fn exchange(
        &mut self,
        request: WriteContentRequest,
    ) -> Result<WriteContentResponse, Error> {
        // A closed stream is explained by its answer.
        let _ = self.sender.send(request).await;
        self.reply().await
    }

    /// Takes one answer.
    async fn reply(&mut self) -> Result<WriteContentResponse, Error> {
        let reply = within(WRITE, "write content", &self.subject, async {
            self.replies.message().await.map(tonic::Response::new)
        });
        let ended = || tonic::Status::unavailable("containerd ended the write");
        reply.await?.ok_or_else(|| refused("write content", &self.subject, &ended()))
    }
}
