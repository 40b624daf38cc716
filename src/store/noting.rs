//! A connection that remembers how it broke: tonic only says that it did, and a server that wants another certificate
//! says so after the handshake.

use std::{
    io,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::base::errors::Chain;
use crate::net::dial::{self, Stream};

/// How a connection broke, once it has.
pub(super) type Note = Arc<OnceLock<String>>;

/// A connection with a note.
pub(super) struct Noting {
    /// The connection.
    stream: Box<dyn Stream>,
    /// The host at its other end.
    host: String,
    /// How it broke.
    note: Note,
    /// With what writing failed, until what was said before is read.
    broken: Option<io::Error>,
}

impl Noting {
    /// Over a connection to a host.
    pub(super) fn over(stream: Box<dyn Stream>, host: &str) -> (Self, Note) {
        let note = Note::default();
        (Self { stream, host: host.to_owned(), note: Arc::clone(&note), broken: None }, note)
    }

    /// Notes an error; the first one counts.
    fn noted<T>(&self, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &outcome {
            self.note.get_or_init(|| match dial::refusal(error, &self.host) {
                Some(refusal) => Chain(&remedied(refusal)).to_string(),
                None => error.to_string(),
            });
        }
        outcome
    }

    /// Notes an error of writing. Whoever hung up may have said why before, and that is still to be read.
    fn explained<T>(
        &mut self,
        outcome: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        let error = match (self.broken.take(), outcome) {
            (Some(error), _) | (None, Poll::Ready(Err(error))) => error,
            (None, outcome) => return outcome,
        };
        let mut bytes = [0; 1024];
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut *self.stream).poll_read(context, &mut buffer) {
                Poll::Pending => {
                    self.broken = Some(error);
                    return Poll::Pending;
                }
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                last_words @ Poll::Ready(_) => {
                    let _ = self.noted(last_words);
                    return self.noted(Poll::Ready(Err(error)));
                }
            }
        }
    }
}

/// An error of TLS with the names of our settings in its remedy.
pub(super) fn remedied(error: crate::net::Error) -> crate::net::Error {
    error.naming("`etcd.caFile`", "`etcd.certFile` and `etcd.keyFile`")
}

impl AsyncRead for Noting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut *self.stream).poll_read(context, buffer);
        self.noted(outcome)
    }
}

impl AsyncWrite for Noting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut *self.stream).poll_write(context, bytes);
        self.explained(outcome, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut *self.stream).poll_flush(context);
        self.explained(outcome, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_shutdown(context)
    }
}
