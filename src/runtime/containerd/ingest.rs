//! Ingests: blobs on their way into the content store, which go on where an earlier writer stopped.
//!
//! Messages are sent ahead of containerd's answers: it checks size and digest once, at the end, and until then an answer
//! says nothing but that the disk took the bytes.

use std::time::Duration;

use containerd_client::services::v1::{
    AbortRequest, StatusRequest, WriteAction, WriteContentRequest, WriteContentResponse,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::{
    Containerd,
    client::{call, refused, within},
    content::{Blob, Labels},
    error::{Class, Error},
    leases::ContentLease,
};

/// How long containerd may take to answer one message of a write: its disk may be slow, and it reads what is there of a
/// blob before it goes on with it.
const WRITE: Duration = Duration::from_mins(5);

/// How long another writer of the same blob is waited for while it writes nothing.
const PATIENCE: Duration = Duration::from_mins(2);

/// How often the other writer is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// The bytes of one message: larger ones wait for HTTP/2's window, smaller ones cost more answers.
const PIECE: usize = 64 << 10;

/// How many messages may wait for the connection.
const AHEAD: usize = 8;

/// A blob that is being written. Dropping it leaves what containerd has for a later writer under the same lease.
#[derive(Debug)]
pub struct Ingest {
    /// The blob's digest.
    digest: String,
    /// Its size, if it is known.
    size: u64,
    /// containerd's name of the ingest.
    reference: String,
    /// What we send.
    sender: mpsc::Sender<WriteContentRequest>,
    /// What containerd answers.
    replies: Streaming<WriteContentResponse>,
    /// How much was here or has been sent.
    sent: u64,
    /// What waits to become a message.
    piece: Vec<u8>,
}

impl Containerd {
    /// Begins to write a blob, or goes on with what an earlier writer left; `None` when the blob is there, labelled and
    /// held by the lease. Another writer of the same blob is waited for.
    pub async fn open_ingest(
        &self,
        lease: &ContentLease,
        blob: &Blob,
    ) -> Result<Option<Ingest>, Error> {
        self.open(lease, blob, "pull").await
    }

    /// Writes a blob that is in memory; one that is there already is only labelled and held.
    pub async fn write_bytes(
        &self,
        lease: &ContentLease,
        blob: &Blob,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let Some(mut ingest) = self.open_anew(lease, blob, "pull").await? else {
            return Ok(());
        };
        // All of it is here, when another namespace of containerd's has the blob.
        if ingest.offset() == 0 {
            ingest.write(bytes).await?;
        }
        self.commit_ingest(lease, ingest, blob).await
    }

    /// Writes a blob that comes in pieces; one that is there already is only labelled.
    pub(super) async fn write_blob(
        &self,
        lease: &ContentLease,
        blob: &Blob,
        pieces: &mut mpsc::Receiver<Vec<u8>>,
    ) -> Result<(), Error> {
        if let Some(mut ingest) = self.open_anew(lease, blob, "podward").await? {
            while ingest.offset() < blob.size
                && let Some(piece) = pieces.recv().await
            {
                ingest.write(&piece).await?;
            }
            self.commit_ingest(lease, ingest, blob).await?;
        }
        // The pieces must be taken even when containerd did not want them: their sender waits.
        while pieces.recv().await.is_some() {}
        Ok(())
    }

    /// Ends an ingest: the blob is there, labelled, and held by the lease. Wrong bytes are thrown away.
    pub async fn commit_ingest(
        &self,
        lease: &ContentLease,
        mut ingest: Ingest,
        blob: &Blob,
    ) -> Result<(), Error> {
        match ingest.commit(&blob.labels).await {
            Ok(()) => return Ok(()),
            // Under another name it was written faster.
            Err(error) if error.class() == Class::Exists => {}
            Err(error @ Error::Corrupt { .. }) => {
                // What cannot be aborted is found to be corrupt once more by who goes on with it.
                let _ = self.abort_ingest(ingest).await;
                return Err(error);
            }
            Err(error) => return Err(error),
        }
        if self.keep_blob(lease, blob).await? {
            return Ok(());
        }
        let problem = "collected by containerd while it was written".to_owned();
        Err(Error::Corrupt { digest: blob.digest.clone(), problem })
    }

    /// Throws away what is there of a blob.
    pub async fn abort_ingest(&self, ingest: Ingest) -> Result<(), Error> {
        let reference = ingest.reference.clone();
        drop(ingest);
        let request = AbortRequest { r#ref: reference.clone() };
        let mut service = self.client().content();
        match call("abort write", &reference, service.abort(self.client().request(request))).await {
            Err(error) if error.class() != Class::Missing && !error.says("locked") => Err(error),
            _ => Ok(()),
        }
    }

    /// Begins to write a blob from its first byte.
    async fn open_anew(
        &self,
        lease: &ContentLease,
        blob: &Blob,
        kind: &str,
    ) -> Result<Option<Ingest>, Error> {
        loop {
            match self.open(lease, blob, kind).await? {
                // What an earlier writer left may have come from elsewhere.
                Some(part) if part.offset() != 0 && part.offset() != blob.size => {
                    self.abort_ingest(part).await?;
                }
                ingest => return Ok(ingest),
            }
        }
    }

    /// Begins to write a blob, or goes on, under a name that tells who writes.
    async fn open(
        &self,
        lease: &ContentLease,
        blob: &Blob,
        kind: &str,
    ) -> Result<Option<Ingest>, Error> {
        let reference = format!("{kind}-{}", blob.digest);
        let (mut waited, mut offset) = (Duration::ZERO, 0);
        while waited < PATIENCE {
            match self.try_open(lease, blob, &reference).await {
                Ok(ingest) if ingest.sent > blob.size && blob.size > 0 => {
                    self.abort_ingest(ingest).await?;
                }
                Ok(ingest) => return Ok(Some(ingest)),
                Err(error) if error.class() == Class::Exists => {
                    if self.keep_blob(lease, blob).await? {
                        return Ok(None);
                    }
                }
                Err(error) if error.says("locked") => {
                    let now = self.ingest_offset(&reference).await?;
                    waited = if now == offset { waited } else { Duration::ZERO };
                    offset = now;
                }
                Err(error) => return Err(error),
            }
            tokio::time::sleep(LOOK).await;
            waited += LOOK;
        }
        Err(Error::Silent {
            operation: "wait for the other writer of content",
            subject: blob.digest.clone(),
            within: PATIENCE,
        })
    }

    /// How far the writer of an ingest is.
    async fn ingest_offset(&self, reference: &str) -> Result<i64, Error> {
        let request = StatusRequest { r#ref: reference.to_owned() };
        let mut service = self.client().content();
        match call("find write", reference, service.status(self.client().request(request))).await {
            Ok(reply) => Ok(reply.status.unwrap_or_default().offset),
            Err(error) if error.class() == Class::Missing => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Asks containerd for an ingest.
    async fn try_open(
        &self,
        lease: &ContentLease,
        blob: &Blob,
        reference: &str,
    ) -> Result<Ingest, Error> {
        let (sender, receiver) = mpsc::channel(AHEAD);
        let first = WriteContentRequest {
            action: WriteAction::Stat.into(),
            r#ref: reference.to_owned(),
            total: signed(blob.size),
            expected: blob.digest.clone(),
            ..WriteContentRequest::default()
        };
        sender.try_send(first).expect("the channel is new and has room");
        let mut service = self.client().content();
        let request = self.client().leased(&lease.header, ReceiverStream::new(receiver));
        let replies = within(WRITE, "write content", &blob.digest, service.write(request)).await?;
        let mut ingest = Ingest {
            digest: blob.digest.clone(),
            size: blob.size,
            reference: reference.to_owned(),
            sender,
            replies,
            sent: 0,
            piece: Vec::new(),
        };
        ingest.sent = u64::try_from(ingest.reply().await?.offset).unwrap_or(0);
        Ok(ingest)
    }
}

impl Ingest {
    /// From which byte on the blob is wanted.
    pub fn offset(&self) -> u64 {
        self.sent + self.piece.len() as u64
    }

    /// Takes the next bytes. More than the blob has are an error.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        if self.size > 0 && self.offset() + bytes.len() as u64 > self.size {
            return Err(self.corrupt(format!("more than {} bytes came", self.size)));
        }
        while !bytes.is_empty() {
            if self.piece.capacity() == 0 {
                self.piece.reserve_exact(PIECE);
            }
            let (now, later) = bytes.split_at(bytes.len().min(PIECE - self.piece.len()));
            self.piece.extend_from_slice(now);
            bytes = later;
            if self.piece.len() == PIECE {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Sends what waits to be sent.
    async fn flush(&mut self) -> Result<(), Error> {
        let data = std::mem::take(&mut self.piece);
        let offset = self.sent;
        self.sent += data.len() as u64;
        let request = WriteContentRequest {
            action: WriteAction::Write.into(),
            offset: signed(offset),
            data,
            ..WriteContentRequest::default()
        };
        self.send(request).await
    }

    /// Has containerd check the blob and keep it.
    async fn commit(&mut self, labels: &Labels) -> Result<(), Error> {
        if !self.piece.is_empty() {
            self.flush().await?;
        }
        let request = WriteContentRequest {
            action: WriteAction::Commit.into(),
            offset: signed(self.sent),
            total: signed(if self.size == 0 { self.sent } else { self.size }),
            expected: self.digest.clone(),
            labels: labels.clone(),
            ..WriteContentRequest::default()
        };
        self.send(request).await?;
        while self.reply().await?.action != i32::from(WriteAction::Commit) {}
        Ok(())
    }

    /// Sends one message, and takes the answers that come before there is room for it.
    async fn send(&mut self, request: WriteContentRequest) -> Result<(), Error> {
        loop {
            // Both branches can be given up without loss.
            tokio::select! {
                biased;
                reply = self.replies.message() => self.taken(reply)?,
                room = self.sender.reserve() => {
                    // A closed channel is explained by its answer.
                    let Ok(room) = room else { break };
                    room.send(request);
                    return Ok(());
                }
                () = tokio::time::sleep(WRITE) => return Err(self.silent()),
            };
        }
        loop {
            self.reply().await?;
        }
    }

    /// Takes one answer.
    async fn reply(&mut self) -> Result<WriteContentResponse, Error> {
        match tokio::time::timeout(WRITE, self.replies.message()).await {
            Ok(reply) => self.taken(reply),
            Err(_) => Err(self.silent()),
        }
    }

    /// An answer, or the end of the write.
    fn taken(
        &self,
        reply: Result<Option<WriteContentResponse>, tonic::Status>,
    ) -> Result<WriteContentResponse, Error> {
        let ended = || tonic::Status::unavailable("containerd ended the write");
        let status = match reply.and_then(|reply| reply.ok_or_else(ended)) {
            Ok(reply) => return Ok(reply),
            Err(status) => status,
        };
        // containerd has no code of its own for this.
        let says = |part| status.message().contains(part);
        if says("unexpected commit") || says("failed size validation") {
            return Err(self.corrupt(status.message().to_owned()));
        }
        Err(refused("write content", &self.digest, &status))
    }

    /// Bytes that are not the blob's.
    fn corrupt(&self, problem: String) -> Error {
        Error::Corrupt { digest: self.digest.clone(), problem }
    }

    /// containerd does not answer.
    fn silent(&self) -> Error {
        let subject = self.digest.clone();
        Error::Silent { operation: "write content", subject, within: WRITE }
    }
}

/// A number of bytes as containerd's.
fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
