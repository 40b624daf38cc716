//! containerd seen as something that may be away: calls wait for its return instead of failing.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio::{sync::Mutex, time::sleep};
use tracing::{info, warn};

use crate::base::{errors::Chain, ids::ContainerId};
use crate::runtime::containerd::{Class, Containerd, Error, Exit};

/// The first and the longest pause between two looks for a daemon that is away.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// How often a daemon that is there is asked for what it refuses as unavailable.
const TRIES: u32 = 10;

/// The daemon, and whether it answers.
#[derive(Debug)]
pub struct Daemon {
    /// Its client.
    pub client: Containerd,
    /// One caller looks for the daemon; the others wait for what it finds.
    looking: Mutex<()>,
    /// Whether it is away.
    away: AtomicBool,
}

impl Daemon {
    /// A daemon that is believed to answer until it does not.
    pub fn new(client: Containerd) -> Self {
        Self { client, looking: Mutex::new(()), away: AtomicBool::new(false) }
    }

    /// Whether it is away.
    pub fn away(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    /// Calls until the daemon is there to answer. `call` must be idempotent. A daemon that is there and still
    /// refuses the call as unavailable is asked a few times more, ever more seldom.
    pub async fn call<T, Answer>(&self, call: impl Fn() -> Answer) -> Result<T, Error>
    where
        Answer: Future<Output = Result<T, Error>>,
    {
        let (mut pause, mut refusals) = (PAUSES.0, 0);
        loop {
            match call().await {
                Err(error) if error.class() == Class::Unavailable && refusals < TRIES => {
                    let was_away = self.wait(&error).await;
                    (pause, refusals) =
                        if was_away { (PAUSES.0, 0) } else { (pause * 2, refusals + 1) };
                }
                answer => return answer,
            }
            sleep(pause.min(PAUSES.1)).await;
        }
    }

    /// Returns once the daemon answers: `true` when it was away.
    async fn wait(&self, cause: &Error) -> bool {
        let _looking = self.looking.lock().await;
        let mut pause = PAUSES.0;
        let mut was_away = false;
        while self.client.version().await.is_err() {
            was_away = true;
            if !self.away.swap(true, Ordering::Relaxed) {
                warn!(error = %Chain(cause), "containerd is away; pods run on, changes wait");
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
        if self.away.swap(false, Ordering::Relaxed) {
            info!("containerd is back");
        }
        was_away
    }

    /// Returns when the task has ended; `None` when nobody can tell any more how.
    pub async fn ended(&self, id: &ContainerId) -> Option<Exit> {
        match self.call(|| self.client.wait_task(id)).await {
            Ok(exit) => Some(exit),
            Err(error) => {
                warn!(container = %id, error = %Chain(&error), "the end of a task was lost");
                None
            }
        }
    }
}
