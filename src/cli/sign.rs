//! `podward sign`: detached signatures for files and pages, made and checked.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Args as ClapArgs;

use crate::base::time;
use crate::config::Settings;
use crate::fleet::envelope::{self, PrivateKey, PublicKey, detached, detached_says, digest_of};
use crate::source::trust::{signature_beside, signature_path};

use super::contents;
use super::failure::{Failure, Outcome};
use super::signing::{private_key, public_key};

/// What `podward sign` is told.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// The private key to sign with, or with --check the public key [default: signKey, trustedKeys of the settings]
    #[arg(short, long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// A file to sign; may be repeated
    #[arg(short = 'f', long = "filename", required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Never lower than the last one that hosts accepted [default: one more than in the last signature, at least the
    /// seconds since 1970]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    pub generation: Option<i64>,
    /// Where the signature goes [default: FILE.sig]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Check the signatures instead of making them
    #[arg(long, conflicts_with_all = ["generation", "output"])]
    pub check: bool,
}

/// Signs files, or checks their signatures.
pub fn run(
    args: &Args,
    settings: &dyn Fn() -> anyhow::Result<Settings>,
    out: &mut dyn Write,
) -> Outcome {
    if args.files.iter().any(|file| file == Path::new("-")) {
        let hint = "a signature lies beside its file; name a file";
        return Err(Failure::usage("standard input cannot be signed", Some(hint.into())));
    }
    if args.output.is_some() && args.files.len() > 1 {
        let hint = "sign them one by one, or leave --output out";
        return Err(Failure::usage("one --output for several files", Some(hint.into())));
    }
    if args.check { check(args, settings, out) } else { sign(args, settings, out) }
}

/// Signs each file.
fn sign(
    args: &Args,
    settings: &dyn Fn() -> anyhow::Result<Settings>,
    out: &mut dyn Write,
) -> Outcome {
    let key = match &args.key {
        Some(key) => private_key(key)?,
        None => match settings()?.sign_key {
            Some(key) => private_key(&key)?,
            None => {
                return Err(Failure::usage(
                    "no key to sign with",
                    Some("name one with --key".into()),
                ));
            }
        },
    };
    for file in &args.files {
        let to = args.output.clone().unwrap_or_else(|| signature_path(file));
        let generation = sign_one(&key, file, &to, args.generation)?;
        writeln!(out, "{}: signed by key {}, generation {generation}", file.display(), key.id)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Signs a file, and tells the generation.
fn sign_one(key: &PrivateKey, file: &Path, to: &Path, wish: Option<i64>) -> anyhow::Result<i64> {
    let bytes = bytes(file)?;
    let generation = wish.unwrap_or_else(|| {
        let before = last_generation(to).map_or(0, |before| before.saturating_add(1));
        before.max(time::now().wall.as_second())
    });
    let mut sealed = key.seal(&detached(&bytes, generation));
    sealed.push(b'\n');
    // Whoever serves the files sees the old signature or the new one, never half of it.
    let mut fresh = to.as_os_str().to_owned();
    fresh.push(".new");
    let written = fs::write(&fresh, sealed).and_then(|()| fs::rename(&fresh, to));
    written.with_context(|| format!("write {}", to.display()))?;
    Ok(generation)
}

/// The generation in an earlier signature, whoever made it.
fn last_generation(path: &Path) -> Option<i64> {
    let bytes = fs::read(path).ok()?;
    Some(detached_says(&envelope::payload(&bytes).ok()??)?.1)
}

/// Checks each file's signature, all faults at once.
fn check(
    args: &Args,
    settings: &dyn Fn() -> anyhow::Result<Settings>,
    out: &mut dyn Write,
) -> Outcome {
    let files = match &args.key {
        Some(key) => vec![key.clone()],
        None => settings()?.trusted_keys,
    };
    if files.is_empty() {
        return Err(Failure::usage("no key to check with", Some("name one with --key".into())));
    }
    let keys: Vec<PublicKey> =
        files.iter().map(|file| public_key(file)).collect::<anyhow::Result<_>>()?;
    let mut good = true;
    for file in &args.files {
        let shown = file.display();
        match check_one(file, &keys)? {
            Ok((key, generation)) => {
                writeln!(out, "{shown}: signed by key {key}, generation {generation}")?;
            }
            Err(reason) => {
                good = false;
                writeln!(out, "{shown}: {reason}")?;
            }
        }
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Who signed a file and with which generation, or why nobody did.
fn check_one(file: &Path, keys: &[PublicKey]) -> anyhow::Result<Result<(String, i64), String>> {
    let bytes = bytes(file)?;
    let beside = signature_beside(file).with_context(|| format!("read {}.sig", file.display()))?;
    let Some(signature) = beside else {
        return Ok(Err(format!("unsigned: there is no {}.sig", file.display())));
    };
    let opened = match envelope::open(&signature, keys) {
        Ok(opened) => opened,
        Err(refusal) => return Ok(Err(refusal.to_string())),
    };
    Ok(match detached_says(&opened.payload) {
        Some((digest, generation)) if digest == digest_of(&bytes) => Ok((opened.key, generation)),
        Some(_) => Err("altered: its signature is of other bytes".into()),
        None => Err("bad envelope: it names no digest and generation".into()),
    })
}

/// The bytes of a file that can be signed.
fn bytes(file: &Path) -> anyhow::Result<Vec<u8>> {
    if file.is_dir() {
        let shown = file.display().to_string();
        let error = io::Error::from(io::ErrorKind::IsADirectory);
        return Err(anyhow::anyhow!("{}", contents::unreadable(&shown, &error)));
    }
    let read = contents::of(file).map_err(|fault| anyhow::anyhow!("{fault}"))?;
    Ok(read.1)
}
