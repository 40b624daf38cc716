//! Keys and certificates of etcd's members and clients, made by openssl.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// A key and its certificate.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    /// The certificate.
    pub(crate) certificate: PathBuf,
    /// The key.
    pub(crate) key: PathBuf,
}

impl Pair {
    /// An authority of one's own.
    pub(crate) fn authority(dir: &Path, name: &str) -> Result<Self> {
        let pair = Self::paths(dir, name);
        let settings = dir.join(format!("{name}.cnf"));
        fs::write(
            &settings,
            "[req]\ndistinguished_name=dn\nx509_extensions=v3\n[dn]\n[v3]\n\
             basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n",
        )?;
        openssl(
            &["req", "-x509", "-new", "-days", "30", "-subj", &format!("/CN={name}"), "-nodes"],
            &[("-config", &settings), ("-keyout", &pair.key), ("-out", &pair.certificate)],
            true,
        )?;
        Ok(pair)
    }

    /// A certificate for a member at this address, or for a client of this name.
    pub(crate) fn vouch(&self, dir: &Path, name: &str, address: &str) -> Result<Self> {
        self.vouch_until(dir, name, address, "30")
    }

    /// The same for some days; a negative number is a certificate that has expired.
    pub(crate) fn vouch_until(
        &self,
        dir: &Path,
        name: &str,
        address: &str,
        days: &str,
    ) -> Result<Self> {
        let pair = Self::paths(dir, name);
        let (request, wish) = (dir.join(format!("{name}.csr")), dir.join(format!("{name}.ext")));
        fs::write(
            &wish,
            format!(
                "basicConstraints=critical,CA:FALSE\nsubjectAltName=IP:{address},DNS:localhost\n\
                 keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\n"
            ),
        )?;
        openssl(
            &["req", "-new", "-nodes", "-subj", &format!("/CN={name}")],
            &[("-keyout", &pair.key), ("-out", &request)],
            true,
        )?;
        openssl(
            &["x509", "-req", "-days", days, "-CAcreateserial"],
            &[
                ("-in", &request),
                ("-CA", &self.certificate),
                ("-CAkey", &self.key),
                ("-extfile", &wish),
                ("-out", &pair.certificate),
            ],
            false,
        )?;
        Ok(pair)
    }

    /// Where a pair is kept.
    fn paths(dir: &Path, name: &str) -> Self {
        Self { certificate: dir.join(format!("{name}.crt")), key: dir.join(format!("{name}.key")) }
    }
}

/// Runs openssl; with a new key where one is wanted.
fn openssl(words: &[&str], paths: &[(&str, &Path)], new_key: bool) -> Result<()> {
    let mut command = Command::new("openssl");
    command.args(words);
    if new_key {
        command.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    }
    for (option, path) in paths {
        command.arg(option).arg(path);
    }
    let output = command.stdin(Stdio::null()).output().context("openssl")?;
    let complaints = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "openssl {}: {complaints}", words.join(" "));
    Ok(())
}
