use std::{fs, os::unix::fs::PermissionsExt as _, thread};

use rustls::{
    ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, ServerConnection,
    SupportedProtocolVersion,
    pki_types::{ServerName, pem::PemObject as _},
    version::{TLS12, TLS13},
};
use time::Duration;

use super::*;

fn authority() -> (TempDir, DevelopmentAuthority) {
    let folder = tempfile::tempdir().unwrap();
    let made = DevelopmentAuthority::load_or_create(&folder.path().join("ca")).unwrap();
    (folder, made)
}

/// A handshake of a client that trusts what is in the file, without a socket.
fn handshake(
    server: &Arc<ServerConfig>,
    trusted: &Path,
    name: &str,
    version: &'static SupportedProtocolVersion,
) -> Result<ProtocolVersion, rustls::Error> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(trusted).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = ServerConnection::new(server.clone()).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        while !wire.is_empty() {
            let taken = server.read_tls(&mut wire.as_slice()).unwrap();
            wire.drain(..taken);
            server.process_new_packets()?;
        }
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        while !wire.is_empty() {
            let taken = client.read_tls(&mut wire.as_slice()).unwrap();
            wire.drain(..taken);
            client.process_new_packets()?;
        }
    }
    Ok(client.protocol_version().expect("the handshake is over"))
}

#[test]
fn clients_trust_it_for_each_of_the_names_in_tls_1_2_and_1_3() {
    let (_folder, authority) = authority();
    let names =
        ["chat.localhost", "10.1.2.3", "*.execute-api.eu-west-1.amazonaws.com", "Chat.Example.com"];
    let server = authority.server_config(&names.map(str::to_owned)).unwrap();
    for (version, spoken) in
        [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)]
    {
        for name in [
            "localhost",
            "chat.localhost",
            "127.0.0.1",
            "::1",
            "10.1.2.3",
            "abc123.execute-api.eu-west-1.amazonaws.com",
            "chat.example.com",
        ] {
            for trusted in [authority.ca_certificate_path(), authority.bundle_path()] {
                let shaken = handshake(&server, &trusted, name, version);
                assert_eq!(shaken, Ok(spoken), "{name}");
            }
        }
        for name in ["example.com", "10.1.2.4", "abc123.execute-api.us-east-1.amazonaws.com"] {
            let shaken = handshake(&server, &authority.ca_certificate_path(), name, version);
            assert!(shaken.is_err(), "{name} is none of its names");
        }
    }
}

#[test]
fn the_authority_is_kept_and_what_it_signs_is_trusted_after_a_restart() {
    let (_folder, first) = authority();
    let before = fs::read(first.ca_certificate_path()).unwrap();
    let again = DevelopmentAuthority::load_or_create(&first.folder).unwrap();
    assert_eq!(fs::read(again.ca_certificate_path()).unwrap(), before);
    let server = again.server_config(&[]).unwrap();
    assert!(handshake(&server, &first.ca_certificate_path(), "localhost", &TLS13).is_ok());
}

#[test]
fn two_authorities_do_not_trust_each_other() {
    let ((_one, ours), (_two, theirs)) = (authority(), authority());
    let server = theirs.server_config(&[]).unwrap();
    assert!(handshake(&server, &ours.ca_certificate_path(), "localhost", &TLS13).is_err());
}

#[test]
fn nobody_else_can_look_into_the_folder_or_read_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("state/ca");
    fs::create_dir_all(&inside).unwrap();
    fs::set_permissions(&inside, fs::Permissions::from_mode(0o755)).unwrap();
    DevelopmentAuthority::load_or_create(&inside).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&inside), 0o700);
    assert_eq!(mode(&inside.join(AUTHORITY)), 0o600);
    let keys = |name| fs::read_to_string(inside.join(name)).unwrap().matches("PRIVATE").count();
    assert_eq!((keys(AUTHORITY), keys(CA), keys(BUNDLE)), (2, 0, 0));
}

#[test]
fn an_authority_whose_key_others_could_read_is_replaced() {
    let (_folder, authority) = authority();
    let before = fs::read(authority.ca_certificate_path()).unwrap();
    let key = authority.folder.join(AUTHORITY);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    DevelopmentAuthority::load_or_create(&authority.folder).unwrap();
    assert_ne!(fs::read(authority.ca_certificate_path()).unwrap(), before);
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn an_authority_near_its_end_is_replaced() {
    let (_folder, authority) = authority();
    let ca = || fs::read(authority.ca_certificate_path()).unwrap();
    let before = ca();
    let now = OffsetDateTime::now_utc();
    let after = |days| {
        DevelopmentAuthority::load_or_create_at(&authority.folder, now + Duration::days(days))
            .unwrap()
    };
    after(3200);
    assert_eq!(ca(), before);
    after(3300);
    assert_ne!(ca(), before);
}

/// Gateways that start at once, as far as one process can show it: each opens the lock itself.
#[test]
fn all_who_start_at_once_agree_on_one_authority() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca");
    let made: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| DevelopmentAuthority::load_or_create(&path).unwrap()))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for one in &made {
        assert_eq!(one.authority.certificate(), made[0].authority.certificate());
        let server = one.server_config(&[]).unwrap();
        assert!(handshake(&server, &path.join(CA), "localhost", &TLS13).is_ok());
    }
    let mut left: Vec<_> =
        fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, [AUTHORITY, BUNDLE, CA, "lock"], "and nothing half-made is left");
}

#[test]
fn a_damaged_file_is_reported_without_its_content() {
    let (_folder, authority) = authority();
    let path = authority.folder.join(AUTHORITY);
    let whole = fs::read_to_string(&path).unwrap();
    let secret = whole.lines().rev().nth(1).unwrap().to_owned();
    for damaged in [
        String::new(),
        "-----BEGIN".to_owned(),
        whole.replace("Valid until: ", "Valid until: x"),
        whole.replace("Valid until: ", "Valid until: 9999999999"),
        whole.replace("PRIVATE", "PUBLIC"),
        whole.replace("CERTIFICATE", "SOMETHING"),
        whole.replacen("-----BEGIN PRIVATE KEY-----\n", "-----BEGIN PRIVATE KEY-----\nMAAA", 1),
    ] {
        fs::write(&path, &damaged).unwrap();
        let error = DevelopmentAuthority::load_or_create(&authority.folder).unwrap_err();
        assert!(matches!(error, AuthorityError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains(AUTHORITY) && !error.to_string().contains(&secret));
    }
}

#[test]
fn without_a_folder_that_can_be_written_it_lives_in_one_that_goes_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("file");
    fs::write(&blocked, "").unwrap();
    let good = folder.path().join("good");
    let kept = DevelopmentAuthority::open_in(&[blocked.clone(), good.clone()]).unwrap();
    assert!(kept.ca_certificate_path().starts_with(&good));
    let made = DevelopmentAuthority::open_in(&[blocked]).unwrap();
    let path = made.ca_certificate_path();
    assert!(path.exists() && made.bundle_path().exists());
    assert!(handshake(&made.server_config(&[]).unwrap(), &path, "localhost", &TLS13).is_ok());
    drop(made);
    assert!(!path.parent().unwrap().exists());
}

#[test]
fn the_state_folder_is_xdgs_and_then_the_homes() {
    let folders = |xdg: Option<&str>, home: Option<&str>| {
        state_folders(|name| match name {
            "XDG_STATE_HOME" => xdg.map(Into::into),
            "HOME" => home.map(Into::into),
            _ => None,
        })
    };
    let paths = |all: &[&str]| all.iter().map(PathBuf::from).collect::<Vec<_>>();
    let both = paths(&["/x/tidegate", "/h/.local/state/tidegate"]);
    assert_eq!(folders(Some("/x"), Some("/h")), both);
    assert_eq!(folders(None, Some("/h")), paths(&["/h/.local/state/tidegate"]));
    assert_eq!(folders(Some("/h/.local/state"), Some("/h")), paths(&["/h/.local/state/tidegate"]));
    for unset in [None, Some(""), Some("relative/path")] {
        assert_eq!(folders(unset, unset), paths(&[]));
    }
}

#[test]
fn a_name_that_no_certificate_can_have_is_named() {
    let (_folder, authority) = authority();
    let error = authority.server_config(&["bücher.example".to_owned()]).unwrap_err();
    assert!(error.to_string().contains("bücher.example"), "{error}");
}
