//! `podward store init`: the users and roles of operators and hosts, made once and left alone when they are there.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::Args as ClapArgs;
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::config::Settings;
use crate::store::{self, Keys, Made, Range, Right, Store};

use super::{failure::Failure, store_client};

/// The user who may do everything, and its role.
const ROOT: &str = "root";

/// What `store init` is asked for.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// The file with the operators' password
    #[arg(long, value_name = "FILE")]
    pub operator_password_file: Option<PathBuf>,
    /// The file with the hosts' password
    #[arg(long, value_name = "FILE")]
    pub node_password_file: Option<PathBuf>,
    /// Where files with new passwords are made for users that have none; files that are there are read
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Users without passwords, who come with certificates of their names
    #[arg(long, conflicts_with_all = ["operator_password_file", "node_password_file", "out"])]
    pub no_password: bool,
    /// Have etcd ask who comes from now on; it needs root's password
    #[arg(long, requires = "root_password_file")]
    pub enable_auth: bool,
    /// The file with root's password: who does this once etcd asks
    #[arg(long, value_name = "FILE")]
    pub root_password_file: Option<PathBuf>,
}

/// Makes what is not there, and says what it did and what remains.
pub async fn run(args: &Args, settings: &Settings, out: &mut dyn Write) -> anyhow::Result<()> {
    let passwords = Passwords::of(args)?;
    let root = args.root_password_file.as_deref().map(store::password).transpose();
    let root = root.map_err(store_client::refusal)?;
    let mut connection = store_client::required(settings)?;
    if let Some(file) = &args.root_password_file {
        connection.username = Some(ROOT.to_owned());
        connection.password_file = Some(file.clone());
    }
    let store = Store::connect(&connection, 0).await.map_err(refusal)?;
    let cluster = &settings.cluster;
    let keys = Keys::new(&settings.etcd.prefix, cluster);
    let (operator, node) =
        (format!("podward-{cluster}-operator"), format!("podward-{cluster}-node"));
    let made = rights(&store, &keys, [&operator, &node], &passwords).await;
    for line in made.map_err(refusal)? {
        writeln!(out, "{line}")?;
    }
    let asked = store.asks().await.map_err(store_client::refusal)?;
    if args.enable_auth {
        let enabled = enable(&store, asked, root.as_deref()).await;
        writeln!(out, "{}", enabled.map_err(store_client::refusal)?)?;
    }
    remains(args, asked || args.enable_auth, &passwords, [&operator, &node], out)
}

/// Why it cannot be done, and by whom it can.
fn refusal(error: store::Error) -> anyhow::Error {
    match error {
        store::Error::Denied(_) => Failure::hinted(
            error.to_string(),
            "only root may do this where etcd asks who comes: --root-password-file FILE",
        ),
        error => store_client::refusal(error),
    }
}

/// The passwords of operators and hosts with where they came from; `None` for users without.
struct Passwords([Option<(String, PathBuf)>; 2]);

impl Passwords {
    /// Reads or makes them, before anything else is done.
    fn of(args: &Args) -> anyhow::Result<Self> {
        if args.no_password {
            return Ok(Self([None, None]));
        }
        let one = |file: &Option<PathBuf>, name: &str, flag: &str| {
            let path = match (file, &args.out) {
                (Some(file), _) => file.clone(),
                (None, Some(dir)) => dir.join(format!("{name}.password")),
                (None, None) => {
                    return Err(Failure::usage(
                        format!("where is the {name} user's password to come from?"),
                        Some(format!(
                            "{flag} FILE, --out DIR for a new one, or --no-password for certificates"
                        )),
                    ));
                }
            };
            if file.is_none() && !path.exists() {
                generate(&path).with_context(|| format!("make {}", path.display()))?;
            }
            let password = store::password(&path).map_err(store_client::refusal)?;
            Ok(Some((password, path)))
        };
        Ok(Self([
            one(&args.operator_password_file, "operator", "--operator-password-file")?,
            one(&args.node_password_file, "node", "--node-password-file")?,
        ]))
    }
}

/// Makes a file with a new password that only its owner may read.
fn generate(path: &Path) -> anyhow::Result<()> {
    let mut bytes = [0; 24];
    let random = SystemRandom::new().fill(&mut bytes);
    random.map_err(|_| anyhow::anyhow!("the kernel gives no random bytes"))?;
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{}", URL_SAFE_NO_PAD.encode(bytes))?;
    Ok(file.sync_all()?)
}

/// Makes the roles and their users; a line for each.
async fn rights(
    store: &Store,
    keys: &Keys,
    [operator, node]: [&String; 2],
    Passwords(passwords): &Passwords,
) -> Result<Vec<String>, store::Error> {
    let right = |prefix: &str, write| Right { range: Range::prefix(prefix), write };
    let (root, spec, fleet) = (keys.root(), keys.spec(), keys.fleet());
    let of_operators = store.role(operator, &[right(root, true)]).await?;
    let of_nodes = store.role(node, &[right(&spec, false), right(&fleet, true)]).await?;
    let mut lines = vec![
        format!("role {operator} {of_operators}: reads and writes below {root}"),
        format!("role {node} {of_nodes}: reads below {spec}, reads and writes below {fleet}"),
    ];
    for (name, password) in [operator, node].into_iter().zip(passwords) {
        let secret = password.as_ref().map(|(password, _)| password.as_str());
        let made = store.user(name, secret, name).await?;
        lines.push(match password {
            Some((_, path)) => format!("user {name} {made}: its password is in {}", path.display()),
            None => format!("user {name} {made}: for certificates of that common name"),
        });
    }
    Ok(lines)
}

/// Makes root and has etcd ask.
async fn enable(store: &Store, asked: bool, root: Option<&str>) -> Result<String, store::Error> {
    if asked {
        return Ok("authentication unchanged: it is enabled".into());
    }
    let made = store.user(ROOT, root, ROOT).await?;
    store.ask_from_now_on().await?;
    let root = if made == Made::Created { "root created" } else { "root was there" };
    Ok(format!("authentication enabled ({root})"))
}

/// Says what is left to do.
fn remains(
    args: &Args,
    asks: bool,
    Passwords(passwords): &Passwords,
    users: [&String; 2],
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    writeln!(out, "\nWhat remains:")?;
    if !asks {
        writeln!(
            out,
            "- authentication is not enabled: whoever reaches etcd may change everything. Run this again with \
             --enable-auth --root-password-file FILE"
        )?;
    }
    for ((user, password), whose) in users.into_iter().zip(passwords).zip(["operators", "hosts"]) {
        match password {
            Some((_, path)) => writeln!(
                out,
                "- {whose}: etcd.username: {user}, and etcd.passwordFile with what is in {}",
                path.display()
            )?,
            None => writeln!(
                out,
                "- {whose}: etcd.certFile and etcd.keyFile with the common name {user}; etcd must run with \
                 --client-cert-auth"
            )?,
        }
    }
    if args.out.is_some() {
        writeln!(out, "- bring the files to where they belong and remove them here")?;
    }
    Ok(())
}
