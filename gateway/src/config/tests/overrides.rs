//! What `--set` does to a file.

use super::*;

fn set(text: &str, arguments: &[&str]) -> Result<Loaded, Problems> {
    let overrides = Overrides::read(arguments).unwrap_or_else(|wrong| panic!("{wrong}"));
    let folder = example_folder();
    parse_full_with(text, &overrides, folder.path())
}

#[test]
fn a_set_key_takes_the_place_of_the_files_or_is_added() {
    let file = format!("[listen]\naddress = \"127.0.0.1:1\"\n[limits]\nmax_in_flight = 3\n{SMALL}");
    let configuration = loaded(set(
        &file,
        &[
            "listen.address=127.0.0.1:0",
            "store.kind=redis",
            "store.url={ env = \"TIDEGATE_REDIS_URL\" }",
            "apis.chat.integrations.backend.timeout_ms=1000",
            "apis.chat.routes.\"$disconnect\".integration=backend",
        ],
    ))
    .configuration;
    assert_eq!(configuration.listen.address.to_string(), "127.0.0.1:0");
    assert_eq!(configuration.limits.max_in_flight.get(), 3, "what is beside it stays");
    let Store::Redis(redis) = &configuration.store else { panic!("it is redis") };
    assert_eq!(redis.urls[0].reveal(), "redis://:hunter2@10.0.0.12:6379");
    let chat = &configuration.apis[0];
    assert_eq!(chat.integrations[0].timeout, Duration::from_secs(1));
    assert!(chat.routes.iter().any(|route| route.key.as_str() == "$disconnect"));
}

#[test]
fn the_last_of_two_holds_and_a_table_is_replaced_whole() {
    let limits = |arguments: &[&str]| {
        let file = format!("[limits]\nmax_in_flight = 3\nconnections = 4\n{SMALL}");
        let limits = loaded(set(&file, arguments)).configuration.limits;
        (limits.max_in_flight.get(), limits.connections.map(NonZeroU32::get))
    };
    assert_eq!(limits(&["limits.max_in_flight=5", "limits.\"max_in_flight\"=6"]), (6, Some(4)));
    assert_eq!(limits(&["limits={ max_in_flight = 7 }"]), (7, Some(1_000_000)));
    assert_eq!(limits(&["limits={}", "limits.connections=none"]), (16, None));
    assert_eq!(limits(&["limits.connections=none", "limits={}"]), (16, Some(1_000_000)));
}

#[test]
fn a_problem_with_a_set_value_names_the_argument_and_not_a_line() {
    for (arguments, expected) in [
        (
            vec!["limits.connections=0"],
            "--set limits.connections: 0 is an error, \"none\" lifts it",
        ),
        (vec!["listen.adress=x"], "--set listen.adress: unknown key, did you mean `address`?"),
        (
            vec!["listen.address=x y"],
            "--set listen.address: \"x y\" is no address: an IP address and a port such as 127.0.0.1:8080 or [::]:8080",
        ),
        (
            vec!["apis.chat.routes.\"$connect\".integration=bakend"],
            "--set apis.chat.routes.\"$connect\".integration: there is no integration \"bakend\", did you mean `backend`?",
        ),
        // In a value that is a table, and in one that is an array.
        (
            vec!["limits={ connections = 0 }"],
            "--set limits: limits.connections: 0 is an error, \"none\" lifts it",
        ),
        (
            vec![
                "management.credentials=[{ access_key_id = \"A\", secret_access_key = \"hunter2\" }, { access_key_id = \"A\", secret_access_key = \"hunter2\" }]",
            ],
            "--set management.credentials: management.credentials[1].access_key_id: \"A\" is given twice",
        ),
        // Missing from a table that is there for the argument's sake.
        (
            vec!["store.kind=redis"],
            "--set store.kind: store.url: is missing: \"redis\" needs one, such as \"redis://127.0.0.1:6379\"",
        ),
        (
            vec!["store.kind=redis", "store.url=http://:hunter2@a"],
            "--set store.url: redis url 1 is none of redis://, rediss://, redis+unix:// and redis+sentinel://",
        ),
        // The last of those that made it, where one replaces what another made.
        (
            vec!["drain.spread_s=1", "drain={ spread_s = 30 }"],
            "--set drain: drain.spread_s: 30 is not less than deadline_s (30)",
        ),
        (vec!["apis.chat.stages=3"], "--set apis.chat.stages: expected a table, found an integer"),
        // No place to put it.
        (
            vec!["apis.chat.route_selection_expression.x=1"],
            "--set apis.chat.route_selection_expression.x: `apis.chat.route_selection_expression` is no table, so nothing can be set in it",
        ),
        (
            vec!["apis.chat.domains=[]", "apis.chat.domains.0=x"],
            "--set apis.chat.domains.0: `apis.chat.domains` is an array, whose items are not set one by one: set it whole",
        ),
    ] {
        let found = lines(set(SMALL, &arguments));
        assert_eq!(found, [expected], "{arguments:?}");
        assert!(!found[0].contains("hunter2"));
    }
}

#[test]
fn the_files_own_problems_keep_their_lines_beside_those_of_the_arguments() {
    let file = format!("[limits]\nmax_in_flight = 0\nidle_timeout_s = 0\n{SMALL}");
    assert_eq!(
        lines(set(&file, &["limits.connections=0", "limits.max_in_flight=1", "drain.x=1"])),
        [
            "--set drain.x: unknown key, known here: deadline_s, spread_s",
            "--set limits.connections: 0 is an error, \"none\" lifts it",
            "gateway.toml:3: limits.idle_timeout_s: expected 1 to 4294967295, found 0",
        ]
    );
    let warnings = loaded(set(SMALL, &["limits.send_queue_bytes=1024"])).warnings;
    assert!(
        warnings.iter().any(|one| one.starts_with("--set limits.send_queue_bytes: less than")),
        "{warnings:?}"
    );
}

proptest! {
    #[test]
    fn any_arguments_are_refused_or_give_a_configuration_or_problems_and_no_panic(
        arguments in prop::collection::vec(
            prop_oneof![
                any::<String>(),
                "(apis|listen|store|limits|\"a=\")([.](chat|address|url|routes|'x'))?=[\\[\\]{}\"'=.,#a-z0-9\n ]{0,12}",
            ],
            0..4,
        ),
    ) {
        if let Ok(overrides) = Overrides::read(&arguments)
            && let Err(problems) =
                parse_full_with(SMALL, &overrides, Path::new("/absent"))
        {
            for problem in problems.iter() {
                prop_assert!(problem.line.is_some() != problem.set.is_some(), "{problem}");
            }
        }
    }
}
