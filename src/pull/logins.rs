//! Whose credentials are shown to a registry, and in which order: the pod's, the host's file, helpers, provider plugins.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tracing::warn;

use crate::base::time::now;
use crate::image::credentials::{Keyring, Login};
use crate::image::hosts::Endpoint;
use crate::image::providers::{Answer, Provider};
use crate::image::reference::Reference;

use super::programs::{Program, TIME_LIMIT, docker_helper};

/// The host's file of credentials that may be missing: nobody named it.
const DEFAULT_AUTH_FILE: &str = "/etc/podward/auth.json";

/// Where programs are looked up when the agent was started without a search path.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The files and directories that tell credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginSettings {
    /// The host-wide credentials: a docker `config.json`.
    pub auth_file: PathBuf,
    /// The file that names the credential provider plugins.
    pub provider_config: Option<PathBuf>,
    /// The directory of the plugins.
    pub provider_dir: PathBuf,
}

/// The logins for a registry, and what was wrong on the way to them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// To be tried in this order; nothing for an anonymous pull.
    pub logins: Vec<Login>,
    /// Each source that could not be asked, for the message of a pull that is refused; logged already.
    pub problems: Vec<String>,
}

/// Everything on this host that knows credentials.
#[derive(Debug)]
pub struct Logins {
    /// Where.
    settings: LoginSettings,
    /// The search path of helpers.
    path: OsString,
    /// How long a program may take.
    limit: Duration,
    /// The file of credentials as it was read last.
    auth: Mutex<Watched<Keyring>>,
    /// The plugins as they were read last.
    providers: Mutex<Watched<Vec<Provider>>>,
    /// Answers of plugins that still hold: by whom, what, until when.
    answers: Mutex<Vec<(String, Answer, Instant)>>,
}

impl Logins {
    /// Nothing is read yet.
    pub fn new(settings: LoginSettings) -> Self {
        Self {
            settings,
            path: std::env::var_os("PATH").unwrap_or_else(|| SEARCH_PATH.into()),
            limit: TIME_LIMIT,
            auth: Mutex::default(),
            providers: Mutex::default(),
            answers: Mutex::default(),
        }
    }

    /// The logins for a repository such as `docker.io/library/busybox`, at the registry itself or, with the mirror's host in
    /// front, at a mirror; or for a host alone. The pod's come first.
    pub async fn logins(&self, repository: &str, secrets: &[Keyring]) -> Found {
        let mut found = Found::default();
        for keyring in secrets {
            found.extend(keyring.logins(repository));
        }
        let (keyring, problems) = self.auth();
        found.problems.extend(problems);
        found.extend(keyring.logins(repository));
        if let Some(name) = keyring.helper(repository) {
            let registry = repository.split('/').next().unwrap_or_default();
            match docker_helper(name, registry, &self.path, self.limit).await {
                Ok(login) => found.extend(login),
                Err(problem) => found.failed(problem),
            }
        }
        let (providers, problems) = self.providers();
        found.problems.extend(problems);
        for provider in providers.iter().filter(|provider| provider.serves(repository)) {
            match self.provided(provider, repository).await {
                Ok(keyring) => found.extend(keyring.logins(repository)),
                Err(problem) => found.failed(problem),
            }
        }
        found
    }

    /// The logins for each of the hosts that serve an image, in the hosts' order, and what was wrong on the way. A mirror
    /// is shown what fits its own name, never what is the registry's.
    pub async fn of_endpoints(
        &self,
        reference: &Reference,
        endpoints: &[Endpoint],
        secrets: &[Keyring],
    ) -> (Vec<Vec<Login>>, Vec<String>) {
        let (mut logins, mut problems) = (Vec::new(), Vec::new());
        for endpoint in endpoints {
            let place = if endpoint.own {
                reference.repository.clone()
            } else {
                format!("{}/{}", endpoint.name(), reference.path())
            };
            let found = self.logins(&place, secrets).await;
            logins.push(found.logins);
            problems.extend(found.problems);
        }
        problems.dedup();
        (logins, problems)
    }

    /// The host's file of credentials.
    fn auth(&self) -> (Keyring, Vec<String>) {
        let file = &self.settings.auth_file;
        let mut watched = self.auth.lock().unwrap_or_else(PoisonError::into_inner);
        watched.look(file, file == Path::new(DEFAULT_AUTH_FILE), |text, mode| {
            // Group and owner are the operator's choice.
            if mode & 0o006 != 0 {
                warn!(path = %file.display(), "every user of this host can read or write the credentials; run chmod o= on the file");
            }
            Keyring::of_config(&file.display().to_string(), text)
        })
    }

    /// The plugins.
    fn providers(&self) -> (Vec<Provider>, Vec<String>) {
        let Some(file) = &self.settings.provider_config else {
            return (Vec::new(), Vec::new());
        };
        let mut watched = self.providers.lock().unwrap_or_else(PoisonError::into_inner);
        watched.look(file, false, |text, _| {
            let text = String::from_utf8_lossy(text);
            let config = serde_saphyr::from_str(&text).map_err(|error| {
                format!("is not YAML: {}", error.to_string().lines().next().unwrap_or_default())
            });
            match config.and_then(|config| Provider::read_all(&config)) {
                Ok(providers) => (providers, Vec::new()),
                Err(fault) => (Vec::new(), vec![format!("{}: {fault}", file.display())]),
            }
        })
    }

    /// What a plugin answers about a repository, or has answered.
    async fn provided(&self, provider: &Provider, repository: &str) -> Result<Keyring, String> {
        let name = &provider.name;
        let known = {
            let now = now().mono;
            let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            answers.retain(|(_, _, until)| *until > now);
            let mut fitting =
                answers.iter().filter(|(by, one, _)| by == name && one.scope.covers(repository));
            fitting.next().map(|(_, answer, _)| answer.keyring.clone())
        };
        if let Some(keyring) = known {
            return Ok(keyring);
        }
        let file = self.settings.provider_dir.join(name);
        let program = Program {
            file: &file,
            args: &provider.args,
            env: &provider.env,
            path: &self.path,
            limit: self.limit,
        };
        let bytes = program.answer(&Provider::request(repository)).await?;
        let answer = provider.answer(repository, &bytes);
        let answer = answer.map_err(|problem| format!("{}: {problem}", file.display()))?;
        let keyring = answer.keyring.clone();
        if let Some(until) =
            now().mono.checked_add(answer.cache).filter(|_| !answer.cache.is_zero())
        {
            let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            answers.push((name.clone(), answer, until));
        }
        Ok(keyring)
    }
}

impl Found {
    /// Adds logins that are not among them yet: a registry that has refused one is not bothered with it again.
    fn extend(&mut self, logins: impl IntoIterator<Item = Login>) {
        for login in logins {
            if !self.logins.contains(&login) {
                self.logins.push(login);
            }
        }
    }

    /// Notes a program that failed.
    fn failed(&mut self, problem: String) {
        warn!(error = problem, "a source of credentials is passed over");
        self.problems.push(problem);
    }
}

/// What identifies a version of a file: when it was changed, its size, its inode.
type Version = (i64, i64, u64, u64);

/// What a file said when it was read last.
#[derive(Debug, Default)]
struct Watched<T> {
    /// Which version of the file; `None` for none.
    version: Option<Version>,
    /// What it said.
    value: T,
    /// What is wrong with it.
    problems: Vec<String>,
}

impl<T: Clone + Default> Watched<T> {
    /// What a file says now, with what is wrong; that is logged once for each version.
    fn look(
        &mut self,
        file: &Path,
        may_be_missing: bool,
        read: impl FnOnce(&[u8], u32) -> (T, Vec<String>),
    ) -> (T, Vec<String>) {
        let version =
            |meta: &fs::Metadata| (meta.mtime(), meta.mtime_nsec(), meta.size(), meta.ino());
        match fs::metadata(file).map(|meta| (version(&meta), meta.mode())) {
            Ok((version, _)) if self.version == Some(version) => {}
            Ok((version, mode)) => match fs::read(file) {
                Ok(text) => {
                    (self.value, self.problems) = read(&text, mode);
                    self.version = Some(version);
                    self.tell();
                }
                Err(error) => self.unreadable(file, &error),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound && may_be_missing => {
                *self = Self::default();
            }
            Err(error) => self.unreadable(file, &error),
        }
        (self.value.clone(), self.problems.clone())
    }

    /// Says nothing any more, because the file cannot be read.
    fn unreadable(&mut self, file: &Path, error: &io::Error) {
        let problem = format!("{}: cannot be read: {error}", file.display());
        if self.problems != [problem.as_str()] {
            *self = Self { problems: vec![problem], ..Self::default() };
            self.tell();
        }
    }

    /// Logs what is wrong.
    fn tell(&self) {
        for problem in &self.problems {
            warn!(error = problem, "credentials cannot be read");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt as _, process};

    use tempfile::TempDir;

    use super::*;

    /// A directory with programs, and logins that use it.
    struct Host {
        /// The directory.
        dir: TempDir,
        /// What is tried.
        logins: Logins,
    }

    impl Host {
        /// Nothing but an empty directory and the search path.
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let mut logins = Logins::new(LoginSettings {
                auth_file: dir.path().join("auth.json"),
                provider_config: None,
                provider_dir: dir.path().to_owned(),
            });
            let path = [dir.path().as_os_str(), "/usr/bin:/bin".as_ref()].join(":".as_ref());
            (logins.path, logins.limit) = (path, Duration::from_secs(20));
            Self { dir, logins }
        }

        /// Writes a file that only its owner can read.
        fn write(&self, name: &str, text: &str) {
            let path = self.dir.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }

        /// Writes a shell script, by a process of its own: no thread of the tests that forks meanwhile holds it open.
        fn script(&self, name: &str, text: &str) {
            let path = self.dir.path().join(name);
            let status = process::Command::new("sh")
                .args(["-c", "printf '#!/bin/sh\\n%s' \"$1\" > \"$0\" && chmod 755 \"$0\""])
                .args([path.as_os_str(), text.as_ref()])
                .status();
            assert!(status.unwrap().success());
        }

        /// What the programs wrote down.
        fn said(&self, name: &str) -> String {
            fs::read_to_string(self.dir.path().join(name)).unwrap_or_default()
        }

        /// The logins for a repository.
        fn found(&self, repository: &str, secrets: &[Keyring]) -> Found {
            block_on(self.logins.logins(repository, secrets))
        }

        /// The users of the logins for a repository; nothing may have gone wrong.
        fn users(&self, repository: &str) -> Vec<String> {
            let found = self.found(repository, &[]);
            assert_eq!(found.problems, [""; 0]);
            let user = |login| match login {
                Login::Password { user, .. } => user,
                Login::Identity(_) | Login::Registry(_) => "token".to_owned(),
            };
            found.logins.into_iter().map(user).collect()
        }
    }

    /// What a future brings.
    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(future)
    }

    /// A file of credentials with one user for a registry.
    fn auths(registry: &str, user: &str) -> String {
        format!(r#"{{"auths": {{"{registry}": {{"username": "{user}", "password": "p"}}}}}}"#)
    }

    /// A user's login.
    fn login(user: &str) -> Login {
        Login::Password { user: user.to_owned(), password: "p".to_owned() }
    }

    #[test]
    fn the_pods_credentials_come_first_and_none_comes_twice() {
        let host = Host::new();
        host.write("auth.json", &auths("r.example", "host"));
        let of = |user| Keyring::of_config("s", auths("r.example", user).as_bytes()).0;
        let found = host.found("r.example/a", &[of("b"), of("host"), of("a")]);
        assert_eq!(found.logins, ["b", "host", "a"].map(login));
        assert_eq!(host.found("mirror.example:5000/a", &[of("b")]), Found::default());
    }

    #[test]
    fn a_mirror_is_shown_its_own_credentials_only() {
        let host = Host::new();
        host.write("auth.json", &auths("docker.io", "hub"));
        let mirrors = Keyring::of_config("s", auths("mirror.example:5000", "mirror").as_bytes()).0;
        let endpoint = |own: bool, name: &str| Endpoint { own, ..Endpoint::of(name).unwrap() };
        let endpoints = [
            endpoint(false, "mirror.example:5000"),
            endpoint(false, "other.example"),
            endpoint(true, "registry-1.docker.io"),
        ];
        let reference = Reference::parse("busybox").unwrap();
        let (logins, problems) =
            block_on(host.logins.of_endpoints(&reference, &endpoints, &[mirrors]));
        assert_eq!(logins, [vec![login("mirror")], vec![], vec![login("hub")]]);
        assert_eq!(problems, [""; 0]);
    }

    #[test]
    fn the_file_is_read_again_when_it_changes() {
        let host = Host::new();
        let missing = host.found("r.example/a", &[]);
        assert!(missing.problems[0].contains("auth.json: cannot be read: No such file"));
        host.write("auth.json", &auths("r.example", "first"));
        assert_eq!(host.users("r.example/a"), ["first"]);
        host.write("auth.json", &auths("r.example", "second"));
        assert_eq!(host.users("r.example/a"), ["second"]);
        host.write("auth.json", "{");
        let broken = host.found("r.example/a", &[]);
        assert!(broken.logins.is_empty() && broken.problems[0].contains("auth.json: is not JSON"));
    }

    #[test]
    fn a_helper_of_dockers_is_asked_by_its_standard_input() {
        let host = Host::new();
        host.write("auth.json", r#"{"credHelpers": {"r.example": "one"}, "credsStore": "all"}"#);
        host.script(
            "docker-credential-one",
            "echo \"$@\" > \"${0%/*}/args\"; cat > \"${0%/*}/input\"; env > \"${0%/*}/env\"\n\
             echo '{\"ServerURL\": \"x\", \"Username\": \"helped\", \"Secret\": \"p\"}'\n",
        );
        host.script(
            "docker-credential-all",
            "read -r url || true; case $url in *docker.io*) echo '{\"Username\": \"<token>\", \"Secret\": \"t\"}';;\n\
             *) echo 'credentials not found in native keychain'; exit 1;; esac\n",
        );
        assert_eq!(host.users("r.example/a"), ["helped"]);
        assert_eq!(
            (host.said("args").as_str(), host.said("input").as_str()),
            ("get\n", "r.example")
        );
        let env = host.said("env");
        assert!(env.contains("PATH=") && !env.contains("CARGO"), "{env}");
        assert_eq!(
            host.found("docker.io/library/busybox", &[]).logins,
            [Login::Identity("t".to_owned())]
        );
        assert_eq!(host.users("other.example/a"), [""; 0]);
    }

    #[test]
    fn a_program_that_fails_hangs_or_is_missing_is_passed_over() {
        let mut host = Host::new();
        host.write(
            "auth.json",
            r#"{"credHelpers": {"fails.example": "fails", "hangs.example": "hangs", "missing.example": "missing",
                "odd.example": "odd"}, "auths": {"fails.example": {"username": "host", "password": "p"}}}"#,
        );
        host.script("docker-credential-fails", "echo 'vault is sealed' >&2; exit 3\n");
        host.script("docker-credential-hangs", "sleep 1000 & echo $! > \"${0%/*}/pid\"; wait\n");
        host.script("docker-credential-odd", "echo hidden\n");
        host.logins.limit = Duration::from_secs(1);
        let found = host.found("fails.example/a", &[]);
        assert_eq!(found.logins, [login("host")]);
        assert_eq!(found.problems, ["docker-credential-fails: exit status: 3: vault is sealed"]);
        let found = host.found("missing.example/a", &[]);
        assert_eq!(found.problems, ["docker-credential-missing: not found; install it"]);
        let found = host.found("odd.example/a", &[]);
        assert!(!found.problems[0].contains("hidden"), "{found:?}");
        let found = host.found("hangs.example/a", &[]);
        assert_eq!(found.problems, ["docker-credential-hangs: no answer within 1s"]);
        let child = host.said("pid").trim().to_owned();
        let state = || fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        let ended = || state().is_empty() || state().contains(") Z ");
        assert!((0..200).any(|_| ended() || {
            std::thread::sleep(Duration::from_millis(10));
            false
        }));
    }

    #[test]
    fn a_plugin_of_the_kubelets_is_asked_and_its_answer_kept() {
        let mut host = Host::new();
        host.write("auth.json", "{}");
        host.write(
            "providers.yaml",
            "apiVersion: kubelet.config.k8s.io/v1\nkind: CredentialProviderConfig\nproviders:\n- name: plug\n  \
             apiVersion: credentialprovider.kubelet.k8s.io/v1\n  matchImages: ['*.example']\n  \
             defaultCacheDuration: 1h\n  args: [--region, x]\n  env: [{name: WHO, value: plugin}]\n",
        );
        host.logins.settings.provider_config = Some(host.dir.path().join("providers.yaml"));
        host.script(
            "plug",
            "cat >> \"${0%/*}/asked\"; echo \" $*\" >> \"${0%/*}/asked\"\n\
             echo '{\"apiVersion\": \"credentialprovider.kubelet.k8s.io/v1\", \"kind\": \"CredentialProviderResponse\",\n\
             \"cacheKeyType\": \"Registry\", \"auth\": {\"*.example\": {\"username\": \"'$WHO'\", \"password\": \"p\"}}}'\n",
        );
        for repository in ["r.example/a", "r.example/b", "s.example/a"] {
            assert_eq!(host.users(repository), ["plugin"], "{repository}");
        }
        assert_eq!(host.users("elsewhere.org/a"), [""; 0]);
        let asked = |image: &str| {
            format!(
                "{{\"apiVersion\":\"credentialprovider.kubelet.k8s.io/v1\",\"image\":\"{image}\",\
                 \"kind\":\"CredentialProviderRequest\"}} --region x\n"
            )
        };
        assert_eq!(
            host.said("asked"),
            asked("r.example/a") + &asked("s.example/a"),
            "one per registry"
        );
        host.script("plug", "echo no; exit 1\n");
        let found = host.found("t.example/a", &[]);
        assert!(found.problems[0].ends_with("/plug: exit status: 1"), "{found:?}");
    }
}
