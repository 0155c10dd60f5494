//! From what the operator wrote to what the gateway trusts: the node's own sections.
//!
//! In:  a file whose shape fits, except for what the report names; the files and variables around.
//! Out: a [`Configuration`], or `None` where the report says why; a problem for everything that
//!      has the right type and makes no sense.
//!
//! Holds always: each check runs, whatever the others found, so that one edit can fix them all;
//! and none speaks about what an earlier problem has taken away.

use std::{net::SocketAddr, path::PathBuf};

use tidegate_model::{Configuration, Limits, ListenSection, Management, TlsFiles};

use super::{
    check_access_key::access_keys,
    check_api, check_aws, check_integration, check_store, check_tracing, check_usage,
    file::{
        DrainSection, GatewayFile, LimitsSection, ManagementAuth, ManagementSection, TlsSection,
    },
    key_path::KeyPath,
    report::Report,
    surroundings::Surroundings,
};

/// See the module.
pub(super) fn configuration(
    file: &GatewayFile,
    around: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Option<Configuration> {
    let root = KeyPath::root();
    let listen_key = root.key("listen").key("address");
    let admin_key = root.key("admin").key("address");
    let address = address(&file.listen.address, &listen_key, report);
    let tls_key = root.key("listen").key("tls");
    let tls = file.listen.tls.as_ref().map(|section| tls(section, &tls_key, around, report));
    let admin = self::address(&file.admin.address, &admin_key, report);
    if let (Some(listen), Some(admin)) = (address, admin)
        && listen == admin
        && listen.port() != 0
        && !report.is_lost(&listen_key)
        && !report.is_lost(&admin_key)
    {
        report.problem(&admin_key, format_args!("{admin} is taken by listen.address already"));
    }
    let key = root.key("management");
    let management = management(&file.management, !file.functions.is_empty(), &key, around, report);
    let limits = limits(&file.limits, &root.key("limits"), report);
    drain(&file.drain, &root.key("drain"), report);
    let store = check_store::store(file, &limits, around, report);
    let traces = check_tracing::traces(&file.tracing, &root.key("tracing"), around, report);
    let aws = check_aws::aws(&file.aws, &root.key("aws"), around, report);
    let functions = check_aws::functions(&file.functions, &root.key("functions"), around, report);
    let api_keys = check_usage::api_keys(&file.api_keys, &root.key("api_keys"), around, report);
    let apis = check_api::apis(file, &root.key("apis"), around, report);
    let usage_plans = check_usage::usage_plans(file, report);
    check_integration::unused(file, report);
    Some(Configuration {
        listen: ListenSection { address: address?, tls: unless_bad(tls)? },
        admin: admin?,
        management: management?,
        management_throttle: file.management.throttle.checked()?,
        limits,
        drain: file.drain.to_drain(),
        store: store?,
        traces: traces?,
        apis: apis?,
        aws: aws?,
        functions: functions?,
        api_keys: api_keys?,
        usage_plans: usage_plans?,
    })
}

fn address(text: &str, key: &KeyPath, report: &mut Report<'_>) -> Option<SocketAddr> {
    let address = text.parse().ok();
    if address.is_none() {
        let message = format!(
            "{text:?} is no address: an IP address and a port such as 127.0.0.1:8080 or [::]:8080"
        );
        report.problem(key, message);
    }
    address
}

fn tls(
    section: &TlsSection,
    key: &KeyPath,
    around: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Option<TlsFiles> {
    let mut file = |name: &str, path: &Option<String>| -> Option<PathBuf> {
        around
            .readable_file(path.as_deref()?)
            .map_err(|fault| report.problem(&key.key(name), fault))
            .ok()
    };
    let certificate = file("certificate", &section.certificate);
    let private_key = file("private_key", &section.private_key);
    let client_ca = file("client_ca", &section.client_ca);
    Some(TlsFiles { certificate: certificate?, private_key: private_key?, client_ca })
}

/// The workers of local functions have credentials of their own.
fn management(
    section: &ManagementSection,
    has_functions: bool,
    key: &KeyPath,
    around: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Option<Management> {
    let array = key.key("credentials");
    let credentials = access_keys(&section.credentials, &array, around, report);
    match section.auth {
        ManagementAuth::SigV4 => {
            if section.credentials.is_empty() && !has_functions {
                report.warning(
                    &array,
                    "no credentials, so nobody can call the management API (@connections)",
                );
            }
            Some(Management::SigV4(credentials?))
        }
        ManagementAuth::None => {
            if !section.credentials.is_empty() {
                report.warning(&array, "not used, because management.auth is \"none\"");
            }
            Some(Management::LoopbackOnly)
        }
    }
}

fn limits(section: &LimitsSection, key: &KeyPath, report: &mut Report<'_>) -> Limits {
    let limits = section.to_limits();
    if limits.send_queue_bytes < limits.max_message_bytes {
        report.warning(
            &key.key("send_queue_bytes"),
            format_args!(
                "less than max_message_bytes ({}), so the largest messages can never be sent",
                limits.max_message_bytes
            ),
        );
    }
    limits
}

fn drain(section: &DrainSection, key: &KeyPath, report: &mut Report<'_>) {
    if section.spread_s >= section.deadline_s.get() && !report.is_touched(key) {
        report.problem(
            &key.key("spread_s"),
            format_args!(
                "{} is not less than deadline_s ({})",
                section.spread_s, section.deadline_s
            ),
        );
    }
}

/// What was left out is fine, what was given must be good: `None` for what was given and bad.
pub(super) fn unless_bad<T>(given: Option<Option<T>>) -> Option<Option<T>> {
    given.map_or(Some(None), |good| good.map(Some))
}
