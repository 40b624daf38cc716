//! For tests: servers of a few lines, with TLS by certificates that openssl makes.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};

/// What a client and its server talk over.
trait Wire: Read + Write {}
impl<T: Read + Write> Wire for T {}

/// A server.
#[derive(Debug)]
pub struct Server {
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// What it was asked, each time with the number of the connection.
    asked: Arc<Mutex<Vec<(usize, String)>>>,
}

impl Server {
    /// What it was asked until now.
    pub fn asked(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.iter().map(|(_, asked)| asked.clone()).collect()
    }

    /// By how many connections it was asked.
    pub fn connections(&self) -> usize {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let mut numbers: Vec<usize> = asked.iter().map(|(number, _)| *number).collect();
        numbers.dedup();
        numbers.len()
    }
}

/// Answers each request with what `answer` makes of it (`PORT` is the server's own); an answer that says `close`, or is
/// empty, ends the connection.
pub fn serve(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Server {
    serve_by(None, answer)
}

/// The same by TLS.
pub fn serve_tls(
    config: Arc<ServerConfig>,
    answer: impl Fn(&str) -> String + Send + Sync + 'static,
) -> Server {
    serve_by(Some(config), answer)
}

fn serve_by(
    config: Option<Arc<ServerConfig>>,
    answer: impl Fn(&str) -> String + Send + Sync + 'static,
) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (answer, asked_by) = (Arc::new(answer), Arc::clone(&asked));
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let (answer, asked, config) =
                (Arc::clone(&answer), Arc::clone(&asked_by), config.clone());
            thread::spawn(move || {
                let stream = stream.unwrap();
                let mut wire: Box<dyn Wire> = match config {
                    None => Box::new(stream),
                    Some(config) => {
                        Box::new(StreamOwned::new(ServerConnection::new(config).unwrap(), stream))
                    }
                };
                while let Some(request) = request(&mut *wire) {
                    asked.lock().unwrap().push((number, request.clone()));
                    let said = answer(&request).replace("PORT", &port.to_string());
                    let sent = wire.write_all(said.as_bytes()).and_then(|()| wire.flush());
                    let ends =
                        said.is_empty() || said.to_ascii_lowercase().contains("connection: close");
                    if sent.is_err() || ends {
                        return;
                    }
                }
            });
        }
    });
    Server { port, asked }
}

/// A whole request; `None` when the client has hung up.
fn request(wire: &mut dyn Wire) -> Option<String> {
    let mut said = Vec::new();
    let mut byte = [0];
    while !said.ends_with(b"\r\n\r\n") {
        (wire.read(&mut byte).ok()? == 1).then_some(())?;
        said.push(byte[0]);
    }
    let head = String::from_utf8(said).unwrap();
    let length = head.to_ascii_lowercase();
    let length =
        length.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    wire.read_exact(&mut body).ok()?;
    Some(head + &String::from_utf8(body).unwrap())
}

/// An answer with a body.
pub fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// Passes connections on, as a proxy that was asked to.
pub fn tunnel(port: u16) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let asked_by = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut near = stream.unwrap();
            asked_by.lock().unwrap().push(request(&mut near).unwrap());
            near.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
            let mut far = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let (mut back, mut from) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            thread::spawn(move || std::io::copy(&mut from, &mut back));
            thread::spawn(move || std::io::copy(&mut near, &mut far));
        }
    });
    (own, asked)
}

/// A directory of certificates: an authority, what it signed, and others.
#[derive(Debug)]
pub struct Certificates {
    /// The directory.
    dir: tempfile::TempDir,
}

impl Certificates {
    /// An authority `ca`, and by it `server` for 127.0.0.1 and localhost, `other` for another name, `client` in PKCS#8,
    /// `client1` in PKCS#1 and `client2` in SEC1; `alone` and `leaf` signed themselves, one as an authority.
    pub fn make() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let names = "subjectAltName=IP:127.0.0.1,DNS:localhost";
        let script = format!(
            "new='openssl req -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1'
             $new -x509 -days 2 -subj /CN=authority -keyout ca.key -out ca.crt
             $new -x509 -days 2 -subj /CN=alone -addext {names} -keyout alone.key -out alone.crt
             signed() {{
                 openssl x509 -req -days 2 -in $1.csr -CA ca.crt -CAkey ca.key -CAcreateserial \
                     -copy_extensions copy -out $1.crt
             }}
             $new -subj /CN=server -addext {names} -keyout server.key -out server.csr; signed server
             $new -subj /CN=other -addext subjectAltName=DNS:other.test -keyout other.key -out other.csr
             signed other
             $new -subj /CN=client -addext extendedKeyUsage=clientAuth -keyout client.key -out client.csr; signed client
             openssl ec -in client.key -out client2.key
             openssl req -nodes -newkey rsa:2048 -subj /CN=client -addext extendedKeyUsage=clientAuth \
                 -keyout client1.tmp -out client1.csr
             signed client1
             openssl rsa -traditional -in client1.tmp -out client1.key
             cat client.crt client2.key > both.pem"
        );
        let made = Command::new("sh")
            .args(["-ec", &script])
            .current_dir(&dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(made.unwrap().success());
        Self { dir }
    }

    /// A file.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A server's settings; with an authority of clients it wants their certificates.
    pub fn server(&self, name: &str, clients: Option<&str>) -> Arc<ServerConfig> {
        let certificates = |name: &str| -> Vec<CertificateDer<'static>> {
            let file = self.file(&format!("{name}.crt"));
            CertificateDer::pem_file_iter(file).unwrap().map(Result::unwrap).collect()
        };
        let provider = Arc::clone(&super::tls::PROVIDER);
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(certificates(authority));
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let key = PrivateKeyDer::from_pem_file(self.file(&format!("{name}.key"))).unwrap();
        Arc::new(builder.with_single_cert(certificates(name), key).unwrap())
    }
}
