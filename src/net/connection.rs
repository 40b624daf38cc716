//! One HTTP/1.1 connection, driven by whoever waits for its answers: nothing runs beside them.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll},
};

use hyper::{
    Request, Response,
    body::{Body as _, Bytes, Incoming},
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// How much is read ahead at most: several records of TLS, and little beside what a pull may use.
const READ_AHEAD: usize = 256 << 10;

/// What a connection runs over, with or without TLS: one type, so that one copy of hyper is in the binary.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection, between requests or in one.
pub(super) struct Connection {
    /// Takes requests.
    sender: SendRequest<String>,
    /// Moves the bytes, when it is polled.
    driver: Pin<Box<dyn Future<Output = Result<(), hyper::Error>> + Send>>,
    /// Whether the driver still has something to do.
    open: bool,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("open", &self.open).finish_non_exhaustive()
    }
}

impl Connection {
    /// Speaks HTTP over a stream.
    pub(super) async fn over(stream: Box<dyn Stream>) -> Result<Self, hyper::Error> {
        let (sender, driver) = http1::Builder::new()
            .title_case_headers(true)
            .max_buf_size(READ_AHEAD)
            .handshake(TokioIo::new(stream))
            .await?;
        Ok(Self { sender, driver: Box::pin(driver), open: true })
    }

    /// Moves what can be moved; a connection that has ended may still hold the end of a body.
    fn drive(&mut self, context: &mut Context<'_>) {
        if self.open && self.driver.as_mut().poll(context).is_ready() {
            self.open = false;
        }
    }

    /// Sends a request and waits for the answer's headers.
    pub(super) async fn exchange(
        &mut self,
        request: Request<String>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        let mut answer = pin!(self.sender.send_request(request));
        poll_fn(|context| {
            self.drive(context);
            answer.as_mut().poll(context)
        })
        .await
    }

    /// The next bytes of an answer's body; `None` at its end.
    pub(super) async fn bytes(
        &mut self,
        body: &mut Incoming,
    ) -> Result<Option<Bytes>, hyper::Error> {
        loop {
            let frame = poll_fn(|context| {
                self.drive(context);
                Pin::new(&mut *body).poll_frame(context)
            });
            match frame.await {
                None => return Ok(None),
                Some(frame) => {
                    // What is no data are trailers, which nobody asked for.
                    if let Ok(data) = frame?.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// Whether another request may be sent: the peer has not hung up since the last.
    pub(super) async fn usable(&mut self) -> bool {
        poll_fn(|context| {
            self.drive(context);
            Poll::Ready(())
        })
        .await;
        self.open && self.sender.is_ready()
    }
}
