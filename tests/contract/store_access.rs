//! Who may come to the store: certificates, passwords, tokens that run out, and what each role may do.

use std::{fs, time::Duration};

use podward::testing::store::{Error, Range, Settings, Store};

use super::{
    etcd::{self, Etcd, ROOT, Security, Wish, certs::Pair},
    store::{connect, put, settings},
};

/// Why nobody can be reached by these settings.
async fn why(settings: &Settings) -> String {
    Store::connect(settings, 0).await.expect_err("a refusal").to_string()
}

/// The same settings with a certificate.
fn showing(settings: &Settings, pair: &Pair) -> Settings {
    Settings {
        cert_file: Some(pair.certificate.clone()),
        key_file: Some(pair.key.clone()),
        ..settings.clone()
    }
}

#[tokio::test]
async fn certificates_are_verified_on_both_sides_and_problems_have_names() {
    if !etcd::is_there() {
        return;
    }
    let etcd = Etcd::of(Wish::plain(1).by(Security::Mutual)).unwrap();
    let open = settings(&etcd);
    let ours = etcd.client_certificate("operator").unwrap();
    let known = showing(&open, &ours);
    let store = Store::connect(&known, 0).await.unwrap();
    put(&store, Vec::new(), "/a", "1").await.unwrap();
    let mut watch = store.watch(&[Range::key("/a")], 2).await.unwrap();
    assert_eq!(watch.next().await.unwrap().1.len(), 1);

    let refused = why(&open).await;
    assert!(refused.contains("wants a client certificate"), "{refused}");
    assert!(refused.contains("`etcd.certFile` and `etcd.keyFile`"), "{refused}");
    let dir = tempfile::tempdir().unwrap();
    let foreign = Pair::authority(dir.path(), "foreign").unwrap();
    let stranger = foreign.vouch(dir.path(), "stranger", "127.0.0.1").unwrap();
    let refused = why(&showing(&open, &stranger)).await;
    assert!(refused.contains("refuses us with the alert"), "{refused}");
    let expired = etcd.authority().unwrap();
    let expired = expired.vouch_until(dir.path(), "expired", "127.0.0.1", "-1").unwrap();
    let refused = why(&showing(&open, &expired)).await;
    assert!(refused.contains("refuses us with the alert"), "{refused}");

    let unknown = Settings { ca_file: Some(foreign.certificate), ..known.clone() };
    let refused = why(&unknown).await;
    assert!(
        refused
            .contains("signed by an unknown authority; name its CA certificate in `etcd.caFile`"),
        "{refused}"
    );
    let missing = Settings { ca_file: Some("/no/such/file".into()), ..known.clone() };
    let refused = why(&missing).await;
    assert!(refused.contains("/no/such/file"), "{refused}");
    let endpoints = vec![known.endpoints[0].replace("https", "http")];
    let plain = Settings { endpoints, timeout: Duration::from_secs(2), ..known.clone() };
    assert!(why(&plain).await.contains(&plain.endpoints[0]));

    // A certificate that is renewed counts for the next connection.
    fs::copy(&stranger.certificate, &ours.certificate).unwrap();
    fs::copy(&stranger.key, &ours.key).unwrap();
    assert!(Store::connect(&known, 0).await.is_err());
    store.ping().await.unwrap();
}

#[tokio::test]
async fn a_plain_store_asked_by_tls_is_named() {
    if !etcd::is_there() {
        return;
    }
    let etcd = Etcd::start(1).unwrap();
    let endpoints = vec![etcd.endpoints()[0].replace("http", "https")];
    let refused = why(&Settings { endpoints, ..settings(&etcd) }).await;
    assert!(
        refused.contains("HTTP response to HTTPS client") || refused.contains("tls"),
        "{refused}"
    );
}

#[tokio::test]
async fn passwords_let_in_and_tokens_are_renewed_unseen() {
    if !etcd::is_there() {
        return;
    }
    let mut etcd = Etcd::of(Wish::plain(1).flag("--auth-token-ttl").flag("1")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    fs::write(&file, format!("{}\n", ROOT.1)).unwrap();
    let anonymous = settings(&etcd);
    let root = Settings {
        username: Some(ROOT.0.into()),
        password_file: Some(file.clone()),
        ..anonymous.clone()
    };
    // A host may have its password before the store asks for it.
    let early = Store::connect(&root, 0).await.unwrap();
    put(&early, Vec::new(), "/a", "1").await.unwrap();
    etcd.enable_auth().unwrap();

    let store = Store::connect(&root, 0).await.unwrap();
    let lease = store.grant(Duration::from_mins(1)).await.unwrap();
    let mut keeper = store.keep_alive(lease).await.unwrap();
    let mut watch = store.watch(&[Range::key("/a")], 0).await.unwrap();
    // The token dies three times over; requests and streams go on, and new streams open.
    for round in 0..3 {
        tokio::time::sleep(Duration::from_millis(2500)).await;
        put(&store, Vec::new(), "/a", &round.to_string()).await.unwrap();
        assert_eq!(watch.next().await.unwrap().1.len(), 1);
        tokio::time::sleep(Duration::from_millis(2500)).await;
        let mut second = store.watch(&[Range::key("/a"), Range::key("/b")], 0).await.unwrap();
        put(&store, Vec::new(), "/b", "x").await.unwrap();
        assert_eq!(second.next().await.unwrap().1.len(), 1);
        store.watch_beside(&mut watch, &[Range::key("/b")]).await.unwrap();
        put(&store, Vec::new(), "/b", "y").await.unwrap();
        assert_eq!(watch.next().await.unwrap().1.len(), 1);
        tokio::time::sleep(Duration::from_millis(2500)).await;
        keeper.renew().await.unwrap();
        store.keep_alive(lease).await.unwrap().renew().await.unwrap();
    }

    let outsider = Store::connect(&anonymous, 0).await.unwrap();
    let refused = outsider.get("/a").await.unwrap_err();
    assert!(matches!(refused, Error::Denied(_)), "{refused}");
    assert!(refused.to_string().contains("set etcd.username and etcd.passwordFile"), "{refused}");
    let refused = outsider.watch(&[Range::key("/a")], 0).await.expect_err("no right to watch");
    assert!(matches!(refused, Error::Denied(_)), "{refused}");
    let error = early.get("/a").await.unwrap_err();
    assert!(matches!(error, Error::Denied(_)), "{error}");

    fs::write(&file, "wrong\n").unwrap();
    let refused = Store::connect(&root, 0).await.unwrap_err();
    assert!(matches!(refused, Error::Denied(_)), "{refused}");
    assert!(
        refused.to_string().contains("see etcd.username and what etcd.passwordFile holds"),
        "{refused}"
    );
    assert!(!refused.to_string().contains(ROOT.1) && !refused.to_string().contains("wrong"));
    fs::write(&file, "").unwrap();
    assert!(why(&root).await.contains("holds no password"));
    store.ping().await.unwrap();
    let _ = connect(&etcd).await;
}
