//! What etcd's and gRPC's errors mean for whoever asked.

use std::error::Error as _;

use etcd_client as etcd;
use tonic::{Code, Status};

use super::error::Error;

/// What etcd says of a token that has run out.
pub(super) const FORGOTTEN: &str = "invalid auth token";

/// What an error of the client means, at an endpoint.
pub(super) fn of(error: etcd::Error, endpoint: &str) -> Error {
    match error {
        etcd::Error::GRpcStatus(status) => of_status(&status, endpoint),
        etcd::Error::LeaseKeepAliveError(text) if text.contains("not found") => Error::LeaseGone,
        // The stream that a request should have gone by has ended.
        etcd::Error::TransportError(_)
        | etcd::Error::LeaseKeepAliveError(_)
        | etcd::Error::WatchError(_) => unreachable(endpoint, &error.to_string()),
        error => Error::Answer(format!("{endpoint}: {error}")),
    }
}

/// What a status means. The words are etcd's, the same in 3.4, 3.5 and 3.6.
fn of_status(status: &Status, endpoint: &str) -> Error {
    let said = status.message();
    if let Some(source) = status.source() {
        // No answer of etcd's, but how a connection ended; what is at the bottom says it best.
        let mut cause: &dyn std::error::Error = source;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        return unreachable(endpoint, &cause.to_string());
    }
    let says = |word: &str| said.contains(word);
    if says("compacted") {
        return Error::Compacted(0);
    }
    if says("lease not found") {
        return Error::LeaseGone;
    }
    // The rights changed, or authentication was enabled, after this connection said who it is: a new one is to.
    if says("revision of auth store is old") || says(FORGOTTEN) {
        return unreachable(endpoint, said);
    }
    if says("user name is empty") {
        return denied(
            endpoint,
            said,
            "; it asks who we are: set etcd.username and etcd.passwordFile",
        );
    }
    if says("authentication failed") {
        return denied(endpoint, said, "; see etcd.username and what etcd.passwordFile holds");
    }
    if says("database space exceeded") {
        return answer(
            endpoint,
            said,
            "; compact and defragment it, then `etcdctl alarm disarm`, or raise --quota-backend-bytes",
        );
    }
    if says("request is too large") || says("larger than max") {
        return answer(
            endpoint,
            said,
            "; a value may have about 1.5 MB (etcd's --max-request-bytes)",
        );
    }
    match status.code() {
        Code::PermissionDenied | Code::Unauthenticated => {
            denied(endpoint, said, "; this user's roles do not reach there")
        }
        Code::Unavailable | Code::Cancelled | Code::Unknown | Code::DeadlineExceeded => {
            unreachable(endpoint, said)
        }
        _ => answer(endpoint, said, ""),
    }
}

/// Why a watch was cancelled, in etcd's words.
pub(super) fn of_cancel(reason: &str, endpoint: &str) -> Error {
    match reason {
        "" => unreachable(endpoint, "the watch was cancelled"),
        reason if reason.contains("permission denied") => {
            of_status(&Status::permission_denied(format!("{reason} to watch")), endpoint)
        }
        reason => of_status(&Status::unknown(reason), endpoint),
    }
}

/// Another connection may help.
pub(super) fn unreachable(endpoint: &str, why: &str) -> Error {
    Error::Unreachable(format!("{endpoint}: {}", plain(why)))
}

/// Another user might.
fn denied(endpoint: &str, said: &str, remedy: &str) -> Error {
    Error::Denied(format!("{endpoint}: {}{remedy}", plain(said)))
}

/// An answer, but an error.
fn answer(endpoint: &str, said: &str, remedy: &str) -> Error {
    Error::Answer(format!("{endpoint}: {}{remedy}", plain(said)))
}

/// etcd's words without its name, which stands before them already.
fn plain(said: &str) -> &str {
    let said = said.strip_prefix("etcdserver: ").unwrap_or(said);
    if said.is_empty() { "it broke off without a word" } else { said }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(code: Code, message: &str) -> String {
        of(etcd::Error::GRpcStatus(Status::new(code, message)), "http://a:1").to_string()
    }

    #[test]
    fn errors_name_the_endpoint_and_what_helps() {
        for (code, said, meant_by) in [
            (
                Code::Unavailable,
                "etcdserver: no leader",
                "etcd cannot be reached: http://a:1: no leader",
            ),
            (
                Code::PermissionDenied,
                "etcdserver: permission denied",
                "etcd refuses: http://a:1: permission denied",
            ),
            (
                Code::InvalidArgument,
                "etcdserver: user name is empty",
                "etcd refuses: http://a:1: user name is empty; it asks",
            ),
            (
                Code::ResourceExhausted,
                "etcdserver: mvcc: database space exceeded",
                "etcd: http://a:1: mvcc: database space exceeded; compact",
            ),
            (
                Code::InvalidArgument,
                "etcdserver: request is too large",
                "etcd: http://a:1: request is too large; a value",
            ),
            (
                Code::InvalidArgument,
                "etcdserver: revision of auth store is old",
                "etcd cannot be reached: ",
            ),
            (Code::NotFound, "etcdserver: requested lease not found", "the store lease is gone"),
            (
                Code::OutOfRange,
                "etcdserver: mvcc: required revision has been compacted",
                "revision 0 is compacted",
            ),
        ] {
            let text = meant(code, said);
            assert!(text.starts_with(meant_by), "{text}");
        }
    }
}
