//! Who may do what in the store: roles with their ranges, users with their roles, and whether etcd asks at all.

use etcd_client::{Permission, PermissionType, UserAddOptions};

use super::{client::Store, error::Error, kv::Range};

/// What became of a role or a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// It was not there.
    Created,
    /// It was there and lacked something.
    Configured,
    /// It was there as it should be.
    Unchanged,
}

impl std::fmt::Display for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
        })
    }
}

/// What a role lets its users do with a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Right {
    /// The keys.
    pub range: Range,
    /// Whether they may be written as well as read.
    pub write: bool,
}

impl Right {
    /// As etcd knows it.
    fn permission(&self) -> Permission {
        let kind = if self.write { PermissionType::Readwrite } else { PermissionType::Read };
        Permission::new(kind, &*self.range.from).with_range_end(&*self.range.to)
    }

    /// Whether a permission that is there is this one.
    fn is(&self, there: &Permission) -> bool {
        let own = self.permission();
        (own.key(), own.range_end(), own.get_type())
            == (there.key(), there.range_end(), there.get_type())
    }
}

impl Store {
    /// Whether etcd asks who comes.
    pub async fn asks(&self) -> Result<bool, Error> {
        let mut client = self.client.auth_client();
        match self.within(client.authenticate("podward".into(), String::new())).await {
            Err(Error::Answer(text)) if text.contains("not enabled") => Ok(false),
            Ok(_) | Err(Error::Denied(_) | Error::Answer(_)) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Has etcd ask who comes. There must be a user `root` with the role `root`.
    pub async fn ask_from_now_on(&self) -> Result<(), Error> {
        let mut client = self.client.auth_client();
        self.within(client.auth_enable()).await.map(drop)
    }

    /// Makes a role with these rights; others that it has stay.
    pub async fn role(&self, name: &str, rights: &[Right]) -> Result<Made, Error> {
        let mut client = self.client.auth_client();
        let (there, mut made) = match self.within(client.role_get(name)).await {
            Ok(role) => (role.permissions(), Made::Unchanged),
            Err(Error::Answer(text)) if text.contains("role name not found") => {
                self.within(client.role_add(name)).await?;
                (Vec::new(), Made::Created)
            }
            Err(error) => return Err(error),
        };
        for right in rights {
            if !there.iter().any(|there| right.is(there)) {
                self.within(client.role_grant_permission(name, right.permission())).await?;
                made = if made == Made::Unchanged { Made::Configured } else { made };
            }
        }
        Ok(made)
    }

    /// Makes a user with a role. Without a password only a certificate of that common name lets it in. The password of a
    /// user that is there becomes this one; whether it was another one before can be told only where etcd asks.
    pub async fn user(
        &self,
        name: &str,
        password: Option<&str>,
        role: &str,
    ) -> Result<Made, Error> {
        let mut client = self.client.auth_client();
        let mut made = Made::Unchanged;
        let roles = match self.within(client.user_get(name)).await {
            Ok(user) => {
                if let Some(password) = password {
                    made = self.password_of(name, password).await?;
                }
                user.roles().to_vec()
            }
            Err(Error::Answer(text)) if text.contains("user name not found") => {
                let options = UserAddOptions::new();
                let options = if password.is_none() { options.with_no_pwd() } else { options };
                let password = password.unwrap_or_default();
                self.within(client.user_add(name, password, Some(options))).await?;
                made = Made::Created;
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        if !roles.iter().any(|there| there == role) {
            self.within(client.user_grant_role(name, role)).await?;
            made = if made == Made::Unchanged { Made::Configured } else { made };
        }
        Ok(made)
    }

    /// Gives a user this password.
    async fn password_of(&self, name: &str, password: &str) -> Result<Made, Error> {
        let mut client = self.client.auth_client();
        let outcome = match self.within(client.authenticate(name.into(), password.into())).await {
            Ok(_) => return Ok(Made::Unchanged),
            Err(Error::Denied(_)) => Made::Configured,
            // Nobody is asked, so nothing can be compared.
            Err(Error::Answer(text)) if text.contains("not enabled") => Made::Unchanged,
            Err(error) => return Err(error),
        };
        self.within(client.user_change_password(name, password)).await?;
        Ok(outcome)
    }
}
