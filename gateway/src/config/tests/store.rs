//! `[store]`: what nodes share.

use tidegate_model::{RedisStoreSettings, Secret};

use super::*;

fn redis(rest: &str) -> Result<Loaded, Problems> {
    let folder = example_folder();
    parse_full(&format!("[store]\nkind = \"redis\"\n{rest}\n{SMALL}"), folder.path())
}

fn settings(rest: &str) -> RedisStoreSettings {
    match loaded(redis(rest)).configuration.store {
        Store::Redis(settings) => settings,
        Store::Memory => panic!("it is redis"),
    }
}

#[test]
fn a_redis_store_has_the_contracts_defaults_and_takes_each_form_of_url() {
    let one = settings("url = \"redis://127.0.0.1:6379\"");
    assert_eq!(one.urls, [Secret::new("redis://127.0.0.1:6379".to_owned())]);
    assert_eq!((one.node_lease, one.prefix.as_str()), (Duration::from_secs(10), "tidegate"));
    let own = settings(
        "url = { env = \"TIDEGATE_REDIS_URL\" }\nnode_lease_s = 2\nprefix = \"eu:chat-1\"",
    );
    assert_eq!(own.urls[0].reveal(), "redis://:hunter2@10.0.0.12:6379");
    assert_eq!((own.node_lease, own.prefix.as_str()), (Duration::from_secs(2), "eu:chat-1"));
    let cluster = settings("url = [\"redis://a\", { file = \"redis-url\" }]");
    let urls: Vec<_> = cluster.urls.iter().map(Secret::reveal).collect();
    assert_eq!(urls, ["redis://a", "redis://10.0.0.13:6379"]);
    // Not the variable `redis://a`, and no single server.
    let one_node = settings("url = [\"redis://a\"]");
    assert_eq!((one_node.urls[0].reveal(), one_node.is_cluster), ("redis://a", true));
    assert_eq!([one.is_cluster, own.is_cluster, cluster.is_cluster], [false, false, true]);
    assert_eq!(
        settings("url = \"redis+sentinel://a,b:1/main\"").urls[0].reveal(),
        "redis+sentinel://a,b:1/main"
    );
}

#[test]
fn what_is_wrong_with_a_store_is_said_at_its_line_and_shows_no_password() {
    for (text, expected) in [
        ("", "1: store.url: is missing: \"redis\" needs one, such as \"redis://127.0.0.1:6379\""),
        (
            "url = \"http://u:hunter2@a\"",
            "3: store.url: redis url 1 is none of redis://, rediss://, redis+unix:// and redis+sentinel://",
        ),
        ("url = \"redis://u:hunter2@a:b\"", "3: store.url: redis url 1 is no redis url"),
        ("url = []", "3: store.url: redis url 1 is missing"),
        (
            "url = [\n\"redis://a\",\n\"redis://:hunter2@b/1\"]",
            "5: store.url[1]: redis url 2 names a database: a cluster has only 0",
        ),
        (
            "url = [\"redis://a\",\n{ env = \"NOT_SET\" }]",
            "4: store.url[1]: the environment variable `NOT_SET` is not set",
        ),
        (
            "url = [\"redis://a\",\n7]",
            "4: store.url[1]: expected a string, { env = … } or { file = … }, found an integer",
        ),
        (
            "url = { host = \"hunter2\" }",
            "3: store.url: expected a string, { env = … }, { file = … } or an array, found another table",
        ),
        ("uri = \"redis://:hunter2@a\"", "3: store.uri: unknown key, did you mean `url`?"),
        (
            "url = \"redis://a\"\nnode_lease_s = 1",
            "4: store.node_lease_s: expected 2 to 300, found 1",
        ),
        (
            "url = \"redis://a\"\nprefix = \"{a}\"",
            "4: store.prefix: \"{a}\" is no prefix: 1 to 64 of A-Z a-z 0-9 _ - . :",
        ),
        (
            "url = \"redis://a\"\n[limits]\nsend_queue_bytes = 16777216\nmax_message_bytes = 15728641",
            "6: limits.max_message_bytes: 15728641 is more than 15728640, which is what nodes that share a Redis can hand on",
        ),
    ] {
        let found = lines(redis(text));
        let expected = format!("gateway.toml:{expected}");
        assert_eq!(found, [expected], "{text}");
        assert!(!found[0].contains("hunter2"), "{text}");
    }
    settings(
        "url = \"redis://a\"\n[limits]\nsend_queue_bytes = 16777216\nmax_message_bytes = 15728640",
    );
}

#[test]
fn a_node_by_itself_has_no_url() {
    assert_eq!(
        lines(with("[store]\nurl = \"redis://:hunter2@a\"")),
        [
            "gateway.toml:2: store.url: store.kind is \"memory\", which has no url: \"redis\" is the kind for one"
        ]
    );
    let Loaded { configuration, warnings } =
        loaded(with("[store]\nkind = \"memory\"\nnode_lease_s = 5\nprefix = \"x\""));
    assert_eq!(configuration.store, Store::Memory);
    let unused: Vec<_> = warnings.iter().filter(|warning| warning.contains("store.")).collect();
    assert_eq!(
        unused,
        [
            "gateway.toml:3: store.node_lease_s: not used, because store.kind is \"memory\"",
            "gateway.toml:4: store.prefix: not used, because store.kind is \"memory\"",
        ]
    );
    // A kind that is none says nothing about the url beside it.
    let (key, message) = problem(with("[store]\nkind = \"rediss\"\nurl = \"redis://a\""));
    assert_eq!(key, "store.kind");
    assert_eq!(message, "expected \"memory\" or \"redis\", found \"rediss\"");
    // A large message is fine where nobody hands it on.
    loaded(with("[limits]\nsend_queue_bytes = 67108864\nmax_message_bytes = 67108864"));
}

#[test]
fn no_password_of_a_store_is_printed() {
    let folder = example_folder();
    let Loaded { configuration, warnings } = loaded(parse_full(FULL, folder.path()));
    let shown = format!("{configuration:?} {warnings:?} {}", summary(&configuration));
    assert!(shown.contains("10.0.0.12:6379") && !shown.contains("hunter2"), "{shown}");
}
