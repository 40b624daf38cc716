//! Which user and groups a container's process has.
//!
//! As in Kubernetes, the group part of an image's `USER` counts for nothing: the group comes from
//! `runAsGroup`, else from the user's entry in the image's `/etc/passwd`, else it is 0.

use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::fault::StartFault;
use super::image::ImageConfig;

/// The numbers that the process runs under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The user.
    pub uid: u32,
    /// The primary group.
    pub gid: u32,
    /// Every group, the primary one first: a process outside its own group could be let in where the group is shut out.
    pub additional_gids: Vec<u32>,
}

/// How a user was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// By number.
    Uid(u32),
    /// By a name in the image's `/etc/passwd`.
    Name(String),
}

/// What must be looked up before a container's user is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserRequest {
    /// Nothing: all numbers were given.
    Known(User),
    /// The image's `/etc/passwd` and `/etc/group`, for [`resolve_user`].
    Lookup {
        /// The user.
        identity: Identity,
        /// The primary group, where it was given.
        gid: Option<u32>,
        /// Groups that the pod adds.
        supplemental: Vec<u32>,
        /// Whether memberships in the image's `/etc/group` count.
        merge: bool,
    },
}

/// The user that the spec asks for, else the image's, else root; refuses root where the spec forbids it.
pub fn user_request(
    spec: &PodSpec,
    container: &Container,
    image: &ImageConfig,
) -> Result<UserRequest, StartFault> {
    let pod = spec.security_context.as_ref();
    let own = container.security_context.as_ref();
    let wanted = own.and_then(|c| c.run_as_user).or(pod.and_then(|p| p.run_as_user));
    let identity = match wanted {
        Some(uid) => Identity::Uid(number("runAsUser", uid)?),
        None => image_identity(image)?,
    };
    if own.and_then(|c| c.run_as_non_root).or(pod.and_then(|p| p.run_as_non_root)) == Some(true) {
        refuse_root(&identity, wanted.is_some())?;
    }
    let gid = own.and_then(|c| c.run_as_group).or(pod.and_then(|p| p.run_as_group));
    let gid = gid.map(|gid| number("runAsGroup", gid)).transpose()?;
    let fs_group = pod.and_then(|p| p.fs_group).map(|gid| number("fsGroup", gid));
    let supplemental = pod
        .and_then(|p| p.supplemental_groups.as_ref())
        .into_iter()
        .flatten()
        .map(|&gid| number("supplementalGroups", gid));
    let supplemental = fs_group.into_iter().chain(supplemental).collect::<Result<Vec<_>, _>>()?;
    let merge = pod.and_then(|p| p.supplemental_groups_policy.as_deref()) != Some("Strict");
    Ok(match (identity, gid) {
        (Identity::Uid(uid), Some(gid)) if !merge => {
            UserRequest::Known(user(uid, gid, supplemental))
        }
        (identity, gid) => UserRequest::Lookup { identity, gid, supplemental, merge },
    })
}

/// Answers a request from the texts of the image's `/etc/passwd` and `/etc/group`; a missing file is an empty text.
pub fn resolve_user(request: &UserRequest, passwd: &str, group: &str) -> Result<User, StartFault> {
    let (identity, gid, supplemental, merge) = match request {
        UserRequest::Known(user) => return Ok(user.clone()),
        UserRequest::Lookup { identity, gid, supplemental, merge } => {
            (identity, gid, supplemental, merge)
        }
    };
    let entry = accounts(passwd).find(|account| match identity {
        Identity::Uid(uid) => account.uid == *uid,
        Identity::Name(name) => account.name == name,
    });
    let uid = match (identity, &entry) {
        (Identity::Uid(uid), _) => *uid,
        (Identity::Name(_), Some(account)) => account.uid,
        (Identity::Name(name), None) => {
            return Err(StartFault::create(format!(
                "unable to find user {name}: no matching entries in the image's /etc/passwd; set \
                 securityContext.runAsUser"
            )));
        }
    };
    let gid = gid.or(entry.as_ref().map(|account| account.gid)).unwrap_or(0);
    let name = entry.map(|account| account.name);
    let mut groups = match name {
        Some(name) if *merge => memberships(group, name),
        _ => Vec::new(),
    };
    groups.extend(supplemental);
    Ok(user(uid, gid, groups))
}

/// A user with each group once, the primary one first.
fn user(uid: u32, gid: u32, groups: Vec<u32>) -> User {
    let mut additional_gids = vec![gid];
    for group in groups {
        if !additional_gids.contains(&group) {
            additional_gids.push(group);
        }
    }
    User { uid, gid, additional_gids }
}

/// The user part of the image's `USER`.
fn image_identity(image: &ImageConfig) -> Result<Identity, StartFault> {
    let user = image.user.split(':').next().unwrap_or_default();
    Ok(match user.parse::<i64>() {
        _ if user.is_empty() => Identity::Uid(0),
        Ok(uid) => Identity::Uid(number("the image's USER", uid)?),
        Err(_) => Identity::Name(user.to_owned()),
    })
}

/// An id as the kernel takes it.
fn number(field: &str, id: i64) -> Result<u32, StartFault> {
    u32::try_from(id).ok().filter(|id| i32::try_from(*id).is_ok()).ok_or_else(|| {
        StartFault::config(format!(
            "{field}: {id}: out of range; give a number from 0 to {}",
            i32::MAX
        ))
    })
}

/// Holds `runAsNonRoot`.
fn refuse_root(identity: &Identity, explicit: bool) -> Result<(), StartFault> {
    match identity {
        Identity::Uid(0) if explicit => {
            Err(StartFault::config("container's runAsUser breaks non-root policy"))
        }
        Identity::Uid(0) => {
            Err(StartFault::config("container has runAsNonRoot and image will run as root"))
        }
        Identity::Uid(_) => Ok(()),
        Identity::Name(name) => Err(StartFault::config(format!(
            "container has runAsNonRoot and image has non-numeric user ({name}), cannot verify \
             user is non-root"
        ))),
    }
}

/// One readable line of `/etc/passwd`.
struct Account<'a> {
    /// The user's name.
    name: &'a str,
    /// The user.
    uid: u32,
    /// The user's primary group.
    gid: u32,
}

/// The readable lines of `/etc/passwd`; others are none of ours to mend.
fn accounts(passwd: &str) -> impl Iterator<Item = Account<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let (name, _password) = (fields.next()?, fields.next()?);
        Some(Account { name, uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
    })
}

/// The groups of `/etc/group` that list the user as a member.
fn memberships(group: &str, user: &str) -> Vec<u32> {
    let member_of = |line: &str| {
        let mut fields = line.trim().split(':');
        let (name, _password) = (fields.next()?, fields.next()?);
        let gid = fields.next()?.parse().ok()?;
        // The group that bears the user's name is the primary one.
        let listed = fields.next()?.split(',').any(|member| member == user);
        (listed && name != user).then_some(gid)
    };
    group.lines().filter_map(member_of).collect()
}

#[cfg(test)]
mod tests;
