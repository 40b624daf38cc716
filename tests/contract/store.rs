//! The store's client against real etcd: what the agent and the operators' verbs rely on.

use std::time::Duration;

use podward::testing::{
    store::{Change, Compare, Error, Op, Range, Settings, Store, Txn, TxnOutcome, Watch},
    time,
};

use super::etcd::{self, Etcd, Wish};

/// How to reach a cluster.
pub(super) fn settings(etcd: &Etcd) -> Settings {
    Settings {
        endpoints: etcd.endpoints(),
        ca_file: etcd.ca_file().map(Into::into),
        timeout: Duration::from_secs(5),
        ..Settings::default()
    }
}

/// A connection to a cluster.
pub(super) async fn connect(etcd: &Etcd) -> Store {
    Store::connect(&settings(etcd), 0).await.unwrap()
}

/// Puts a value when the demands hold.
pub(super) async fn put(
    store: &Store,
    when: Vec<Compare>,
    key: &str,
    value: &str,
) -> Result<TxnOutcome, Error> {
    let then = vec![Op::put(key, value)];
    store.txn(&Txn { when, then, otherwise: vec![Op::Get(Range::key(key))] }).await
}

/// The next changes as text, with the keys' last parts.
async fn changes(watch: &mut Watch) -> Vec<String> {
    let (_, changes) = tokio::time::timeout(Duration::from_secs(10), watch.next())
        .await
        .expect("a change")
        .unwrap();
    let shown = changes.into_iter().map(|change| match change {
        Change::Put(kv) => format!("{}={}", kv.key, String::from_utf8(kv.value).unwrap()),
        Change::Delete(key, _) => format!("{key} is gone"),
    });
    shown.collect()
}

#[test]
fn the_harness_starts_kills_wipes_saves_and_restores_clusters() {
    if !etcd::is_there() {
        return;
    }
    let mut one = Etcd::of(Wish::plain(1)).unwrap();
    one.ctl(&["put", "a", "1"]).unwrap();
    let saved = one.save("saved").unwrap();
    one.ctl(&["put", "a", "2"]).unwrap();
    assert_eq!(one.compact().unwrap(), 3);
    one.kill(0).unwrap();
    one.revive(0).unwrap();
    assert_eq!(one.ctl(&["get", "a", "--print-value-only"]).unwrap(), "2\n");
    one.restore(&saved, None).unwrap();
    assert_eq!(one.ctl(&["get", "a", "--print-value-only"]).unwrap(), "1\n");
    one.wipe(Some("another")).unwrap();
    assert_eq!(one.revision().unwrap(), 1);
    one.enable_auth().unwrap();
    assert_eq!(one.ctl(&["user", "list"]).unwrap(), "root\n");
}

#[tokio::test]
async fn transactions_do_what_they_say_only_when_what_they_demand_holds() {
    if !etcd::is_there() {
        return;
    }
    let etcd = Etcd::start(1).unwrap();
    let store = connect(&etcd).await;
    let made = put(&store, vec![Compare::Absent("/a/1".into())], "/a/1", "x").await.unwrap();
    let (first, second) = (made.header.revision, made.header.revision + 1);
    assert!(made.succeeded && put(&store, Vec::new(), "/a/1", "y").await.unwrap().succeeded);
    for (demand, holds) in [
        (Compare::Absent("/a/1".into()), false),
        (Compare::Absent("/a/2".into()), true),
        (Compare::Present("/a/1".into()), true),
        (Compare::Present("/a/2".into()), false),
        (Compare::ModRevision("/a/1".into(), first), false),
        (Compare::ModRevision("/a/1".into(), second), true),
        (Compare::ModRevision("/a/2".into(), 0), true),
        (Compare::CreateRevision("/a/1".into(), first), true),
        (Compare::CreateRevision("/a/1".into(), second), false),
    ] {
        let txn = Txn { when: vec![demand.clone()], ..Txn::default() };
        assert_eq!(store.txn(&txn).await.unwrap().succeeded, holds, "{demand:?}");
    }
    let lost = put(&store, vec![Compare::Absent("/a/1".into())], "/a/1", "z").await.unwrap();
    assert!(!lost.succeeded);
    assert_eq!(lost.listings[0].kvs[0].value, b"y", "the other branch reads what is there");
    put(&store, Vec::new(), "/a/2", "x").await.unwrap();
    put(&store, Vec::new(), "/a0", "x").await.unwrap();
    let listing = store.list(&Range::prefix("/a/")).await.unwrap();
    assert_eq!(listing.kvs.iter().map(|kv| &*kv.key).collect::<Vec<_>>(), ["/a/1", "/a/2"]);
    assert_eq!(store.ping().await.unwrap(), listing.header, "reading makes no revision");
    let delete = Txn { then: vec![Op::Delete(Range::prefix("/a/"))], ..Txn::default() };
    store.txn(&delete).await.unwrap();
    assert_eq!(store.get("/a/1").await.unwrap().1, None);
    assert!(store.get("/a0").await.unwrap().1.is_some());
}

#[tokio::test]
async fn a_transaction_reads_what_it_is_about_to_overwrite_so_each_knows_who_came_before() {
    if !etcd::is_there() {
        return;
    }
    let etcd = Etcd::start(1).unwrap();
    let store = connect(&etcd).await;
    let enter = |name: usize| {
        let store = store.clone();
        async move {
            let then = vec![
                Op::Get(Range::key("/last")),
                Op::put(format!("/queue/{name}"), ""),
                Op::put("/last", name.to_string()),
            ];
            let outcome = store.txn(&Txn { then, ..Txn::default() }).await.unwrap();
            let last = outcome.listings[0].kvs.first();
            let before =
                last.map(|kv| (String::from_utf8_lossy(&kv.value).into(), kv.mod_revision));
            (outcome.header.revision, before)
        }
    };
    let all = (0..50).map(enter).map(tokio::spawn).collect::<tokio::task::JoinSet<_>>();
    let mut entered: Vec<(i64, Option<(String, i64)>)> =
        all.join_all().await.into_iter().map(Result::unwrap).collect();
    entered.sort_unstable();
    assert_eq!(entered[0].1, None, "nobody was before the first");
    for pair in entered.windows(2) {
        let (name, revision) = pair[1].1.clone().unwrap();
        assert_eq!(revision, pair[0].0, "the one right before");
        let (_, key) = store.get(&format!("/queue/{name}")).await.unwrap();
        assert_eq!(key.unwrap().create_revision, revision, "known by the revision of its key, too");
    }
}

#[tokio::test]
async fn ranges_of_any_size_are_read_whole_and_at_one_revision() {
    if !etcd::is_there() {
        return;
    }
    let etcd = Etcd::start(1).unwrap();
    let store = connect(&etcd).await;
    let value = "v".repeat(4096);
    for tens in 0..30 {
        let then = (0..100).map(|n| Op::put(format!("/many/{:05}", tens * 100 + n), value.clone()));
        store.txn(&Txn { then: then.collect(), ..Txn::default() }).await.unwrap();
    }
    let writer = connect(&etcd).await;
    let writing = tokio::spawn(async move {
        loop {
            put(&writer, Vec::new(), "/many/02999", "changed").await.unwrap();
            put(&writer, Vec::new(), "/many/99999", "new").await.unwrap();
            writer
                .txn(&Txn { then: vec![Op::Delete(Range::key("/many/99999"))], ..Txn::default() })
                .await
                .unwrap();
        }
    });
    for _ in 0..10 {
        let (header, kvs) =
            store.list_all(&[Range::key("/none"), Range::prefix("/many/")]).await.unwrap();
        let news = kvs.iter().filter(|kv| kv.key == "/many/99999").count();
        assert_eq!(kvs.len(), 3000 + news);
        assert!(kvs.iter().all(|kv| kv.mod_revision <= header.revision), "of one revision");
        assert!(kvs.is_sorted_by(|a, b| a.key < b.key));
    }
    writing.abort();
    // Seventy megabytes, which no one answer may hold.
    let value = "v".repeat(1 << 20);
    for n in 0..70 {
        put(&store, Vec::new(), &format!("/large/{n:02}"), &value).await.unwrap();
    }
    assert_eq!(store.list(&Range::prefix("/large/")).await.unwrap().kvs.len(), 70);
    let error = put(&store, Vec::new(), "/large/x", &"v".repeat(1 << 21)).await.unwrap_err();
    assert!(error.to_string().contains("; a value may have about 1.5 MB"), "{error}");
}

#[tokio::test]
async fn a_lease_that_is_kept_keeps_its_keys_and_one_that_is_not_loses_them() {
    if !etcd::is_there() {
        return;
    }
    let etcd = Etcd::start(1).unwrap();
    let store = connect(&etcd).await;
    let (kept, left) = (
        store.grant(Duration::from_secs(2)).await.unwrap(),
        store.grant(Duration::from_secs(2)).await.unwrap(),
    );
    for (key, lease) in [("/kept", kept), ("/left", left)] {
        let then = vec![Op::Put { key: key.into(), value: b"x".to_vec(), lease }];
        store.txn(&Txn { then, ..Txn::default() }).await.unwrap();
    }
    let revision = store.ping().await.unwrap().revision;
    let mut watch = store.watch(&[Range::key("/left")], revision + 1).await.unwrap();
    let mut keeper = store.keep_alive(kept).await.unwrap();
    let began = time::now().mono;
    while began.elapsed() < Duration::from_secs(5) {
        assert_eq!(keeper.renew().await.unwrap(), Duration::from_secs(2));
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(changes(&mut watch).await, ["/left is gone"]);
    assert_eq!(store.get("/kept").await.unwrap().1.unwrap().lease, kept);
    assert!(matches!(store.keep_alive(left).await, Err(Error::LeaseGone)));
    let then = vec![Op::Put { key: "/left".into(), value: b"x".to_vec(), lease: left }];
    let put = store.txn(&Txn { then, ..Txn::default() }).await;
    assert!(matches!(put, Err(Error::LeaseGone)), "{put:?}");
    store.revoke(kept).await.unwrap();
    assert!(matches!(keeper.renew().await, Err(Error::LeaseGone)));
    assert_eq!(store.get("/kept").await.unwrap().1, None);
}

#[tokio::test]
async fn a_watch_of_several_ranges_tells_each_change_in_its_order() {
    if !etcd::is_there() {
        return;
    }
    let etcd = Etcd::start(1).unwrap();
    let store = connect(&etcd).await;
    put(&store, Vec::new(), "/a/old", "0").await.unwrap();
    let header = store.ping().await.unwrap();
    put(&store, Vec::new(), "/a/1", "missed").await.unwrap();
    let ranges = [Range::prefix("/a/"), Range::key("/b"), Range::prefix("/c/")];
    let mut watch = store.watch(&ranges, header.revision + 1).await.unwrap();
    assert_eq!(changes(&mut watch).await, ["/a/1=missed"]);
    for n in 0..200 {
        let key = ["/a/1", "/b", "/c/1", "/unwatched"][n % 4];
        put(&store, Vec::new(), key, &n.to_string()).await.unwrap();
    }
    let mut seen = Vec::new();
    while seen.len() < 150 {
        seen.extend(changes(&mut watch).await);
    }
    let expected =
        (0..200).filter(|n| n % 4 != 3).map(|n| format!("{}={n}", ["/a/1", "/b", "/c/1"][n % 4]));
    assert_eq!(seen, expected.collect::<Vec<_>>());
    let delete = Op::Delete(Range::prefix("/c/"));
    store
        .txn(&Txn { then: vec![Op::put("/a/1", "at once"), delete], ..Txn::default() })
        .await
        .unwrap();
    let mut both = changes(&mut watch).await;
    both.extend(changes(&mut watch).await);
    both.sort();
    assert_eq!(
        both,
        ["/a/1=at once", "/c/1 is gone"],
        "a transaction comes as one answer for each range"
    );

    // What happened while nobody watched is forgotten: that is said, and with which revision the store begins now.
    let revision = etcd.compact().unwrap();
    let mut watch = store.watch(&[Range::prefix("/a/")], header.revision + 1).await.unwrap();
    let told = watch.next().await;
    assert!(matches!(told, Err(Error::Compacted(at)) if at == revision), "{told:?}");
    // A watch from now on sees nothing old.
    let mut watch = store.watch(&[Range::prefix("/a/")], 0).await.unwrap();
    put(&store, Vec::new(), "/a/1", "new").await.unwrap();
    assert_eq!(changes(&mut watch).await, ["/a/1=new"]);
}

#[tokio::test]
async fn ranges_beside_a_watch_come_and_go_without_losing_what_the_watch_tells() {
    if !etcd::is_there() {
        return;
    }
    let etcd = Etcd::start(1).unwrap();
    let store = connect(&etcd).await;
    let mut watch = store.watch(&[Range::key("/a")], 0).await.unwrap();
    put(&store, Vec::new(), "/a", "1").await.unwrap();
    store.watch_beside(&mut watch, &[Range::key("/b"), Range::prefix("/c/")]).await.unwrap();
    assert_eq!(changes(&mut watch).await, ["/a=1"]);
    for key in ["/b", "/c/1", "/a"] {
        put(&store, Vec::new(), key, "2").await.unwrap();
        assert_eq!(changes(&mut watch).await, [format!("{key}=2")]);
    }
    // In place of others, and of none.
    store.watch_beside(&mut watch, &[Range::key("/d")]).await.unwrap();
    for key in ["/b", "/c/1", "/d"] {
        put(&store, Vec::new(), key, "3").await.unwrap();
    }
    assert_eq!(changes(&mut watch).await, ["/d=3"]);
    store.watch_beside(&mut watch, &[]).await.unwrap();
    for key in ["/d", "/a"] {
        put(&store, Vec::new(), key, "4").await.unwrap();
    }
    assert_eq!(changes(&mut watch).await, ["/a=4"]);
}

#[tokio::test]
async fn another_member_answers_when_one_is_dead_silent_or_without_a_leader() {
    if !etcd::is_there() {
        return;
    }
    let mut etcd = Etcd::start(3).unwrap();
    let leader = etcd.leader().unwrap();
    let mut known = settings(&etcd);
    known.timeout = Duration::from_secs(2);
    let store = Store::connect(&known, leader).await.unwrap();
    assert_eq!(store.endpoint(), known.endpoints[leader]);
    let status = store.status().await.unwrap();
    assert!(status.leads && status.has_leader && status.version.starts_with('3'), "{status:?}");
    put(&store, Vec::new(), "/a", "1").await.unwrap();
    let mut watch = store.watch(&[Range::key("/a")], 0).await.unwrap();

    etcd.kill(leader).unwrap();
    let lost = put(&store, Vec::new(), "/a", "2").await.unwrap_err();
    assert!(lost.is_connection(), "{lost}");
    assert!(lost.to_string().contains(&known.endpoints[leader]), "{lost}");
    let lost = watch.next().await.unwrap_err();
    assert!(lost.is_connection(), "{lost}");
    assert!(store.ping().await.is_err(), "a connection that ended stays so");
    etcd.leader().unwrap();
    let other = Store::connect(&known, leader).await.unwrap();
    assert_ne!(other.endpoint(), store.endpoint());
    put(&other, Vec::new(), "/a", "3").await.unwrap();
    etcd.revive(leader).unwrap();

    // One that is stopped where it stands keeps its connections and says nothing: each answer has its time.
    let lease = other.grant(Duration::from_secs(30)).await.unwrap();
    let mut keeper = other.keep_alive(lease).await.unwrap();
    let frozen = known.endpoints.iter().position(|endpoint| endpoint == other.endpoint()).unwrap();
    etcd.freeze(frozen).unwrap();
    let began = time::now().mono;
    let silent = keeper.renew().await.unwrap_err();
    assert!(silent.is_connection() && silent.to_string().contains("no answer"), "{silent}");
    let lost = Store::connect_to(&known, &known.endpoints[frozen]).await.unwrap_err();
    assert!(lost.to_string().contains("no answer within 2s"), "{lost}");
    assert!(began.elapsed() < Duration::from_secs(6));
    etcd.thaw(frozen).unwrap();

    // A member that is alone has no leader and decides nothing.
    etcd.leader().unwrap();
    let alone = Store::connect(&known, 0).await.unwrap();
    for member in (0..3).filter(|member| known.endpoints[*member] != alone.endpoint()) {
        etcd.kill(member).unwrap();
    }
    let lost = put(&alone, Vec::new(), "/a", "4").await.unwrap_err();
    assert!(lost.is_connection(), "{lost}");
    let nobody = Store::connect(&known, 1).await.unwrap_err().to_string();
    for endpoint in &known.endpoints {
        assert!(nobody.contains(endpoint.as_str()), "{nobody}");
    }
}

#[tokio::test]
async fn a_store_that_comes_back_is_the_same_one() {
    if !etcd::is_there() {
        return;
    }
    let mut etcd = Etcd::start(1).unwrap();
    let store = connect(&etcd).await;
    put(&store, Vec::new(), "/a", "1").await.unwrap();
    let before = store.ping().await.unwrap();
    etcd.kill(0).unwrap();
    etcd.revive(0).unwrap();
    assert!(store.ping().await.unwrap_err().is_connection());
    let store = connect(&etcd).await;
    assert_eq!(store.ping().await.unwrap(), before);
    let saved = etcd.save("saved").unwrap();
    put(&store, Vec::new(), "/a", "2").await.unwrap();
    etcd.restore(&saved, None).unwrap();
    let restored = connect(&etcd).await.ping().await.unwrap();
    assert_eq!(restored.cluster_id, before.cluster_id);
    assert!(restored.revision <= before.revision, "{restored:?} {before:?}");
    etcd.wipe(Some("another")).unwrap();
    assert_ne!(connect(&etcd).await.ping().await.unwrap().cluster_id, before.cluster_id);
}

#[tokio::test]
async fn a_full_store_says_so_and_what_helps() {
    if !etcd::is_there() {
        return;
    }
    let flags = Wish::plain(1).flag("--quota-backend-bytes").flag("4194304");
    let etcd = Etcd::of(flags).unwrap();
    let store = connect(&etcd).await;
    let value = "v".repeat(1 << 20);
    let mut outcome = Ok(TxnOutcome::default());
    for n in 0..10 {
        outcome = put(&store, Vec::new(), &format!("/a/{n}"), &value).await;
        if outcome.is_err() {
            break;
        }
    }
    let error = outcome.unwrap_err();
    assert!(
        matches!(&error, Error::Answer(_)) && error.to_string().contains("space exceeded; compact"),
        "{error}"
    );
    assert!(store.get("/a/0").await.unwrap().1.is_some(), "reading goes on");
    let status = store.status().await.unwrap();
    assert!(status.problems.iter().any(|problem| problem.contains("NOSPACE")), "{status:?}");
}

#[tokio::test]
async fn a_watch_on_a_connection_that_went_silent_ends_by_itself() {
    if !etcd::is_there() {
        return;
    }
    let etcd = Etcd::start(1).unwrap();
    let known = Settings { timeout: Duration::from_secs(2), ..settings(&etcd) };
    let store = Store::connect(&known, 0).await.unwrap();
    let mut watch = store.watch(&[Range::key("/a")], 0).await.unwrap();
    etcd.freeze(0).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(45), watch.next()).await;
    let ended = ended.expect("it is noticed").unwrap_err();
    assert!(ended.is_connection(), "{ended}");
}
