//! A stream that drives its own producer, so that an answer needs no task and ends with its reader.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::sync::mpsc;
use tokio_stream::Stream;
use tonic::Status;

/// The future that fills a [`Driven`] stream.
type Producer = Pin<Box<dyn Future<Output = Result<(), Status>> + Send>>;

/// The items that a producer sends, then its failure if it ends in one.
pub struct Driven<T> {
    /// The producer while it runs.
    producer: Option<Producer>,
    /// What it has sent.
    items: mpsc::Receiver<T>,
}

impl<T: Send + 'static> Driven<T> {
    /// A stream of what `produce` sends to the sender it is given.
    pub fn new<F>(produce: impl FnOnce(mpsc::Sender<T>) -> F) -> Self
    where
        F: Future<Output = Result<(), Status>> + Send + 'static,
    {
        let (sender, items) = mpsc::channel(8);
        Self { producer: Some(Box::pin(produce(sender))), items }
    }
}

impl<T> fmt::Debug for Driven<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driven").field("running", &self.producer.is_some()).finish_non_exhaustive()
    }
}

impl<T> Stream for Driven<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Poll::Ready(Some(item)) = self.items.poll_recv(context) {
                return Poll::Ready(Some(Ok(item)));
            }
            let Some(producer) = self.producer.as_mut() else {
                return Poll::Ready(None);
            };
            match producer.as_mut().poll(context) {
                Poll::Ready(outcome) => {
                    self.producer = None;
                    if let Err(status) = outcome {
                        // What was sent before the failure comes first, as it would over a wire.
                        return match self.items.try_recv() {
                            Ok(item) => {
                                self.producer = Some(Box::pin(async { Err(status) }));
                                Poll::Ready(Some(Ok(item)))
                            }
                            Err(_) => Poll::Ready(Some(Err(status))),
                        };
                    }
                }
                Poll::Pending => {
                    return match self.items.poll_recv(context) {
                        Poll::Ready(Some(item)) => Poll::Ready(Some(Ok(item))),
                        Poll::Ready(None) | Poll::Pending => Poll::Pending,
                    };
                }
            }
        }
    }
}
