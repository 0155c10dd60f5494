//! What holds where nothing is written, and what lifts it or takes its place.

use tidegate_model::{PostDuringConnect, SlowClient};

use super::*;

#[test]
fn defaults_are_api_gateways_quotas() {
    let configuration = loaded(with("")).configuration;
    let limits = &configuration.limits;
    assert_eq!(limits.max_message_bytes, 128 * 1024);
    assert_eq!(limits.max_frame_bytes, 32 * 1024);
    assert_eq!(limits.idle_timeout, Duration::from_mins(10));
    assert_eq!(limits.max_connection, Some(Duration::from_hours(2)));
    assert_eq!(limits.new_connections_per_s, NonZeroU32::new(500));
    let api = &configuration.apis[0];
    assert_eq!(api.stages[0].throttle, Some(Throttle { rate: 10_000.0, burst: 5_000 }));
    assert_eq!(api.integrations[0].timeout, Duration::from_secs(29));
}

#[test]
fn the_other_defaults_are_those_of_the_contract() {
    let Loaded { configuration, warnings } = loaded(with(""));
    let limits = &configuration.limits;
    assert_eq!(configuration.listen.address.to_string(), "127.0.0.1:8080");
    assert_eq!(configuration.admin.to_string(), "127.0.0.1:8081");
    assert!(configuration.listen.tls.is_none());
    assert_eq!(limits.send_queue_bytes, 1_048_576);
    assert_eq!(limits.slow_client, SlowClient::Close);
    assert_eq!(limits.max_in_flight.get(), 16);
    assert_eq!(limits.lifecycle_calls_in_flight.get(), 256);
    assert_eq!(limits.handshake_timeout, Duration::from_secs(10));
    assert_eq!(limits.connections, NonZeroU32::new(1_000_000));
    assert_eq!(limits.connections_per_ip, None);
    assert_eq!(configuration.drain.deadline, Duration::from_secs(30));
    assert_eq!(configuration.drain.spread, Duration::from_secs(20));
    assert_eq!(configuration.store, Store::Memory);
    let api = &configuration.apis[0];
    assert_eq!(api.post_during_connect, PostDuringConnect::Held);
    assert!(api.allowed_origins.is_none() && api.integrations[0].context_headers);
    // Nobody can call the management API, which starts all the same.
    assert!(matches!(&configuration.management, Management::SigV4(keys) if keys.is_empty()));
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("management.credentials"), "{warnings:?}");
}

#[test]
fn limits_are_lifted_by_none_where_that_is_allowed() {
    let limits = loaded(with(
        "[limits]\nmax_connection_s = \"none\"\nconnections = \"none\"\n\
         new_connections_per_s = \"none\"\nconnections_per_ip = 7",
    ))
    .configuration
    .limits;
    assert_eq!(limits.max_connection, None);
    assert_eq!((limits.connections, limits.new_connections_per_s), (None, None));
    assert_eq!(limits.connections_per_ip, NonZeroU32::new(7));
    let (_, message) = problem(with("[limits]\nidle_timeout_s = \"none\""));
    assert_eq!(message, "expected an integer, found a string");
    let (_, message) = problem(with("[limits]\nmax_connection_s = \"never\""));
    assert_eq!(message, "expected an integer or \"none\", found \"never\"");
    let (_, message) = problem(with("[limits]\nmax_connection_s = 0"));
    assert_eq!(message, "0 is an error, \"none\" lifts it");
    let (_, message) = problem(with("[limits]\nidle_timeout_s = 0"));
    assert_eq!(message, "expected 1 to 4294967295, found 0");
    let text = SMALL.replace("stages.prod]", "stages.prod]\nthrottle = \"none\"");
    let configuration = loaded(parse(&text, Path::new("."), "f")).configuration;
    assert_eq!(configuration.apis[0].stages[0].throttle, None);
}

#[test]
fn a_throttle_of_zero_is_kept_and_one_that_is_no_number_is_not() {
    let throttle = |text: &str| {
        let text = SMALL.replace("stages.prod]", &format!("stages.prod]\nthrottle = {text}"));
        parse(&text, Path::new("."), "f")
    };
    let configuration = loaded(throttle("{ rate = 0, burst = 0 }")).configuration;
    assert_eq!(configuration.apis[0].stages[0].throttle, Some(Throttle { rate: 0.0, burst: 0 }));
    for rate in ["nan", "-0.5", "inf", "\"1\"", "true"] {
        let (key, _) = problem(throttle(&format!("{{ rate = {rate}, burst = 1 }}")));
        assert_eq!(key, "apis.chat.stages.prod.throttle.rate", "{rate}");
    }
    assert_eq!(problem(throttle("{ rate = 1 }")).0, "apis.chat.stages.prod.throttle.burst");
}

#[test]
fn management_calls_have_api_gateways_quota_unless_another_is_written() {
    let throttle = |text: &str| with(&format!("[management]\n{text}"));
    let of = |text| loaded(throttle(text)).configuration.management_throttle;
    assert_eq!(of(""), Some(Throttle { rate: 10_000.0, burst: 5_000 }));
    assert_eq!(of("throttle = { rate = 0, burst = 1 }"), Some(Throttle { rate: 0.0, burst: 1 }));
    assert_eq!(of("throttle = \"none\""), None);
    assert_eq!(problem(throttle("throttle = { rate = 1 }")).0, "management.throttle.burst");
    assert_eq!(problem(throttle("throttle = 5")).0, "management.throttle");
}

#[test]
fn a_drain_spreads_over_less_than_its_deadline() {
    assert_eq!(problem(with("[drain]\nspread_s = 30")).0, "drain.spread_s");
    loaded(with("[drain]\ndeadline_s = 60\nspread_s = 30"));
}
