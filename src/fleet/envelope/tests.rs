//! Tests of envelopes: what openssl makes is understood, and what nobody vouches for is refused by its reason.

use super::*;

/// What `openssl genpkey -algorithm ed25519` made for these tests alone.
const OWN: (&str, &str) = (
    "MC4CAQAwBQYDK2VwBCIEIJY8figHijh+AJ+EIBE/vlmU/9bVQWFADZWCdgLQqdJM",
    "MCowBQYDK2VwAyEANIxe/wc8tIEEZhCcGsjrs/8I4imo7g91sZJRxKm63jI=",
);
/// The same, of somebody else.
const OTHER: (&str, &str) = (
    "MC4CAQAwBQYDK2VwBCIEIGg5SiI1WREFkcCSEOY89BaB9TL8vGvEePtTo01q979b",
    "MCowBQYDK2VwAyEAbsQuTaM7ECABDOO/th1CsgzVj6VQEY7ni+l65fnUBnQ=",
);

fn pem(label: &str, body: &str) -> Vec<u8> {
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n").into_bytes()
}

fn private(pair: (&str, &str)) -> PrivateKey {
    PrivateKey::parse(&pem("PRIVATE KEY", pair.0)).unwrap()
}

fn public(pair: (&str, &str)) -> PublicKey {
    PublicKey::parse(&pem("PUBLIC KEY", pair.1)).unwrap()
}

#[test]
fn keys_of_openssl_are_read_and_known_by_the_digest_of_the_public_one() {
    assert_eq!(public(OWN).id, "fef8127c5873ba55");
    assert_eq!(private(OWN).id, public(OWN).id);
    assert_ne!(private(OTHER).id, public(OWN).id);
    assert_eq!(format!("{:?}", private(OWN)), "PrivateKey { id: \"fef8127c5873ba55\", .. }");
    let commented = [b"operations, 2026\r\n", &pem("PUBLIC KEY", OWN.1)[..]].concat();
    assert_eq!(PublicKey::parse(&commented).unwrap(), public(OWN));
}

#[test]
fn an_envelope_bears_the_signature_that_openssl_makes() {
    // `openssl pkeyutl -sign -rawin` over: DSSEv1 31 application/vnd.podward.v1+json 7 {"a":1}
    let sealed: Value = serde_json::from_slice(&private(OWN).seal(b"{\"a\":1}")).unwrap();
    assert_eq!(
        sealed,
        json!({
            "payloadType": "application/vnd.podward.v1+json",
            "payload": "eyJhIjoxfQ==",
            "signatures": [{
                "keyid": "fef8127c5873ba55",
                "sig": "AdZHWuwvdYmxR9r/tnfixKR8+yVcLzM8ToSaaK1Cobx125PoiNdEM/KxR5PjXP3+QO01XuzKnJn4E0cwNFlvAg==",
            }],
        })
    );
}

#[test]
fn any_one_of_several_keys_suffices() {
    let keys = [public(OTHER), public(OWN)];
    let sealed = private(OWN).seal(b"value");
    let opened = open(&sealed, &keys).unwrap();
    assert_eq!(opened, Opened { payload: b"value".to_vec(), key: public(OWN).id });
    assert_eq!(payload(&sealed), Ok(Some(b"value".to_vec())));
    // Signed by both, of which one is known.
    let mut both: Value = serde_json::from_slice(&sealed).unwrap();
    let other: Value = serde_json::from_slice(&private(OTHER).seal(b"value")).unwrap();
    let signatures = [&other["signatures"][0], &both["signatures"][0]].map(Value::clone);
    both["signatures"] = json!(signatures);
    let both = both.to_string();
    assert_eq!(open(both.as_bytes(), &keys[1..]).unwrap().key, public(OWN).id);
    // The id is a hint and no more.
    let nameless = both.replace("keyid", "id");
    assert_eq!(open(nameless.as_bytes(), &keys[1..]).unwrap().key, public(OWN).id);
}

#[test]
fn what_nobody_vouches_for_is_refused_by_its_reason() {
    let keys = [public(OWN)];
    let said = |bytes: &[u8]| open(bytes, &keys).unwrap_err().to_string();
    for unsigned in [&b"kind: DaemonSet"[..], b"{\"kind\": \"DaemonSet\"}", b"", b"{", b"\xff"] {
        assert_eq!(said(unsigned), "unsigned");
        assert_eq!(payload(unsigned), Ok(None));
    }
    let other = private(OTHER);
    assert_eq!(said(&other.seal(b"value")), format!("signed by an unknown key ({})", other.id));
    let own = private(OWN).seal(b"value");
    let with = |member: &str, value: Value| {
        let mut envelope: Value = serde_json::from_slice(&own).unwrap();
        envelope[member] = value;
        envelope.to_string().into_bytes()
    };
    let altered = with("payload", json!(BASE64_STANDARD.encode("other")));
    let reason = "altered: the signature of key fef8127c5873ba55 is not of these bytes";
    assert_eq!(said(&altered), reason);
    for (member, value, reason) in [
        ("payloadType", json!("text/plain"), "its payloadType is not podward's"),
        ("payload", json!("%"), "its payload is not base64"),
        ("payload", json!(1), "its payload is not base64"),
        ("signatures", json!([]), "it has no signatures"),
        ("signatures", json!({}), "it has no signatures"),
        ("signatures", json!([{ "keyid": "a" }]), "a signature is not base64"),
        ("signatures", json!(vec![json!({}); 17]), "it has more than 16 signatures"),
    ] {
        assert_eq!(said(&with(member, value)), format!("bad envelope: {reason}"));
    }
    let short = with("signatures", json!([{ "keyid": "\u{1b}[31m\n", "sig": "AAAA" }]));
    assert_eq!(said(&short), "signed by an unknown key ([31m)");
    let nameless = with("signatures", json!([{ "sig": "AAAA" }]));
    assert_eq!(said(&nameless), "signed by an unknown key (without a name)");
    assert!(matches!(open(&own, &[]), Err(Refusal::UnknownKey(_))));
}

#[test]
fn keys_of_another_sort_are_named_with_what_makes_the_right_one() {
    let rsa =
        "MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKj34GkxFhD90vcNLYLInFEX6Ppy1tPf9Cnzj4p4WGeKLs1Pt8Qu";
    let ec = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg";
    let public = |label, body| PublicKey::parse(&pem(label, body)).unwrap_err().to_string();
    let private = |label, body| PrivateKey::parse(&pem(label, body)).unwrap_err().to_string();
    let make_public = "make it by `openssl pkey -in ops.key -pubout -out ops.pub`";
    let make_private = "make one by `openssl genpkey -algorithm ed25519 -out ops.key`";
    for (label, body, found) in [
        ("PUBLIC KEY", rsa, "an RSA key"),
        ("PRIVATE KEY", OWN.0, "a private key"),
        ("CERTIFICATE", rsa, "a certificate"),
    ] {
        let expected = format!("holds {found} where a public ed25519 key belongs; {make_public}");
        assert_eq!(public(label, body), expected);
    }
    for (label, body, found) in [
        ("PRIVATE KEY", ec, "an elliptic curve key"),
        ("PUBLIC KEY", OWN.1, "a public key"),
        ("ENCRYPTED PRIVATE KEY", "AAAA", "a private key with a password"),
        ("OPENSSH PRIVATE KEY", "AAAA", "a key of OpenSSH"),
        ("RSA PRIVATE KEY", "AAAA", "an RSA key"),
        ("SOMETHING ELSE", "AAAA", "a PEM block SOMETHING ELSE"),
    ] {
        let expected = format!(
            "holds {found} where a private ed25519 key without a password belongs; {make_private}"
        );
        assert_eq!(private(label, body), expected);
    }
    assert_eq!(public("PUBLIC KEY", &OWN.1[..40]), format!("is damaged; {make_public}"));
    assert_eq!(private("PRIVATE KEY", "%%"), format!("is damaged; {make_private}"));
    for empty in [&b""[..], b"nothing", b"\0\xff", b"-----BEGIN "] {
        let error = PublicKey::parse(empty).unwrap_err().to_string();
        assert_eq!(error, format!("holds no key in PEM; {make_public}"));
    }
    let torn = PrivateKey::parse(b"-----BEGIN PRIVATE KEY-----\nMC4C").unwrap_err().to_string();
    assert_eq!(torn, format!("is damaged; {make_private}"));
}

#[test]
fn a_detached_signature_names_digest_and_generation() {
    let payload = detached(b"abc", 7);
    let digest = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(detached_says(&payload), Some((digest.to_owned(), 7)));
    assert_eq!(digest_of(b"abc"), digest);
    for other in [&b"{}"[..], b"{\"digest\": \"x\"}", b"{\"generation\": 1}", b"x"] {
        assert_eq!(detached_says(other), None);
    }
}
