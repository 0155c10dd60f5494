//! The file itself, and the files and folders that it names.

use super::{super::load, *};

#[test]
fn a_file_is_read_with_its_own_name_and_folder() {
    let folder = example_folder();
    let path = folder.path().join("gateway.toml");
    fs::write(&path, format!("{KEY}{{ file = \"next-secret\" }}\n{SMALL}")).unwrap();
    let load = |path: &Path| load(path, &Overrides::default());
    loaded(load(&path));
    fs::write(&path, "x = 1").unwrap();
    assert!(lines(load(&path))[0].starts_with(&format!("{}:1: ", path.display())));
    fs::write(&path, b"# caf\xc3\xa9\n\xff").unwrap();
    assert_eq!(
        lines(load(&path)),
        [format!("{}:2: is not UTF-8 text, which TOML is", path.display())]
    );
    let absent = folder.path().join("absent.toml");
    assert_eq!(
        lines(load(&absent)),
        [format!("{}: cannot be read: there is no such file", absent.display())]
    );
}

#[test]
fn files_that_the_configuration_names_must_be_there() {
    let folder = example_folder();
    for name in ["cert.pem", "key.pem", "ca.pem", "next-secret", "room.vtl", "room.schema.json"] {
        let text = FULL.replace(name, "absent.pem");
        let (_, message) = problem(parse_full(&text, folder.path()));
        assert!(message.contains("absent.pem: there is no such file"), "{message}");
    }
    let text = FULL.replace("functions/rooms", "functions/absent");
    let (key, message) = problem(parse_full(&text, folder.path()));
    assert_eq!(key, "functions.rooms.directory");
    assert!(message.ends_with("functions/absent is no folder that is there"), "{message}");
    let text = FULL.replace("\"access.log\"", "\"absent/access.log\"");
    let (key, message) = problem(parse_full(&text, folder.path()));
    assert_eq!(key, "apis.chat.stages.prod.access_log.path");
    assert!(message.ends_with("absent is not there"), "{message}");
}

#[test]
fn relative_paths_start_at_the_folder_of_the_file() {
    let folder = example_folder();
    let configuration = loaded(parse_full(FULL, folder.path())).configuration;
    let tls = configuration.listen.tls.unwrap();
    assert_eq!(tls.certificate, folder.path().join("cert.pem"));
    let mut stages = configuration.apis.iter().flat_map(|api| &api.stages);
    let log = stages.find_map(|stage| stage.access_log.as_ref());
    assert_eq!(log.unwrap().path, folder.path().join("access.log"));
}
