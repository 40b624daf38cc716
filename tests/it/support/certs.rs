//! Keys, certificates and signatures, made by openssl below a test's own directory.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// A key and the certificate that belongs to it.
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
        Self::own(dir, name, "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign")
    }

    /// A server's certificate that nobody vouches for, as people make them: it is an authority at the same time.
    pub(crate) fn self_signed(dir: &Path) -> Result<Self> {
        Self::own(
            dir,
            "self-signed",
            "basicConstraints=critical,CA:TRUE\nsubjectAltName=IP:127.0.0.1,DNS:localhost",
        )
    }

    /// A certificate that this authority vouches for, for a server on this machine and for clients.
    pub(crate) fn vouch(&self, dir: &Path, name: &str) -> Result<Self> {
        let pair = Self::paths(dir, name)?;
        let request = dir.join(format!("{name}.csr"));
        let wish = dir.join(format!("{name}.ext"));
        fs::write(
            &wish,
            "basicConstraints=critical,CA:FALSE\nsubjectAltName=IP:127.0.0.1,DNS:localhost\n\
             keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\n",
        )?;
        let subject = format!("/CN={name}");
        openssl(
            ["req", "-new", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
            &[("-subj", Path::new(&subject)), ("-keyout", &pair.key), ("-out", &request)],
        )?;
        openssl(
            ["x509", "-req", "-days", "30", "-CAcreateserial"],
            &[
                ("-in", &request),
                ("-CA", &self.certificate),
                ("-CAkey", &self.key),
                ("-extfile", &wish),
                ("-out", &pair.certificate),
            ],
        )?;
        Ok(pair)
    }

    /// A key with a certificate that it signs itself.
    fn own(dir: &Path, name: &str, extensions: &str) -> Result<Self> {
        let pair = Self::paths(dir, name)?;
        let settings = dir.join(format!("{name}.cnf"));
        fs::write(
            &settings,
            format!("[req]\ndistinguished_name=dn\nx509_extensions=v3\n[dn]\n[v3]\n{extensions}\n"),
        )?;
        let subject = format!("/CN={name}");
        openssl(
            [
                "req",
                "-x509",
                "-new",
                "-nodes",
                "-days",
                "30",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
            ],
            &[
                ("-config", &settings),
                ("-subj", Path::new(&subject)),
                ("-keyout", &pair.key),
                ("-out", &pair.certificate),
            ],
        )?;
        Ok(pair)
    }

    /// Where a pair is kept.
    fn paths(dir: &Path, name: &str) -> Result<Self> {
        fs::create_dir_all(dir)?;
        Ok(Self {
            certificate: dir.join(format!("{name}.crt")),
            key: dir.join(format!("{name}.key")),
        })
    }

    /// Signs bytes by the key: ECDSA over SHA-256, in DER.
    pub(crate) fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        let mut child = Command::new("openssl")
            .args(["dgst", "-sha256", "-sign"])
            .arg(&self.key)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("openssl")?;
        child.stdin.take().context("its input is piped")?.write_all(bytes)?;
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "openssl dgst: {}", output.status);
        Ok(output.stdout)
    }

    /// The public key as a file of PEM, as `cosign public-key` writes it.
    pub(crate) fn public_key(&self) -> Result<PathBuf> {
        let path = self.key.with_extension("pub");
        openssl(["pkey", "-pubout"], &[("-in", &self.key), ("-out", &path)])?;
        Ok(path)
    }
}

/// Runs openssl.
fn openssl<const N: usize>(words: [&str; N], paths: &[(&str, &Path)]) -> Result<()> {
    let mut command = Command::new("openssl");
    command.args(words);
    for (option, path) in paths {
        command.arg(option).arg(path);
    }
    let output = command.stdin(Stdio::null()).output().context("openssl")?;
    ensure!(
        output.status.success(),
        "openssl {}: {}",
        words.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
