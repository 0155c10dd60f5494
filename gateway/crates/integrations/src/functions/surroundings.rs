//! What a worker finds in its environment.
//!
//! In:  the function's settings, what the gateway gives to all its workers, the gateway's own
//! environment.
//! Out: the program to run and its variables.
//!
//! Holds always: of the gateway's own environment only [`INHERITED`] reaches a worker, so that a
//! secret of the gateway's does not; the function's `environment` wins over everything but the
//! address of the Runtime API.

use std::{
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
    io,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use tidegate_flow::context::iso_8601;
use tidegate_model::{AwsCredentials, LocalFunction};

use crate::functions::preload::NODE_FILE;

/// What a program needs to be found, to find its parts and to print text; no proxies, no
/// credentials, nothing of `TIDEGATE_*` or `AWS_*`.
const INHERITED: [&str; 12] = [
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TMPDIR",
    "VIRTUAL_ENV",
    "PYTHONPATH",
    "NODE_PATH",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
];

/// What the gateway gives to all workers of its local functions.
#[derive(Debug, Clone)]
pub struct WorkerSurroundings {
    /// `AWS_REGION`, and in the functions' ARNs.
    pub region: String,
    /// In the functions' ARNs: 12 digits.
    pub account_id: String,
    /// Made by the gateway for its own workers: what they sign their posts to it with.
    pub credentials: AwsCredentials,
    /// A PEM file of the system's authorities and the gateway's own development authority. `None`:
    /// workers trust what their libraries trust.
    pub ca_bundle: Option<PathBuf>,
    /// Where the gateway speaks TLS on the loopback address. With it, the names
    /// `*.execute-api.{region}.amazonaws.com` lead there in Python and Node; without it they are
    /// looked up.
    pub gateway_port: Option<u16>,
    /// More variables, such as `AWS_ENDPOINT_URL_SQS`.
    pub variables: BTreeMap<String, String>,
}

impl WorkerSurroundings {
    /// `arn:aws:lambda:{region}:{account}:function:{name}`.
    pub(super) fn function_arn(&self, name: &str) -> String {
        let partition = if self.region.starts_with("cn-") { "aws-cn" } else { "aws" };
        format!("arn:{partition}:lambda:{}:{}:function:{name}", self.region, self.account_id)
    }

    /// What the api's Amazon names end in.
    fn execute_api_suffix(&self) -> String {
        let top = if self.region.starts_with("cn-") { "com.cn" } else { "com" };
        format!(".execute-api.{}.amazonaws.{top}", self.region)
    }
}

/// The variables of one worker. `own` is the gateway's own environment, `preload` the folder of
/// [`super::preload`], `api` where this worker finds its Runtime API.
pub(super) fn variables(
    function: &LocalFunction,
    around: &WorkerSurroundings,
    own: impl Fn(&str) -> Option<OsString>,
    preload: Option<&Path>,
    api: SocketAddr,
    started_at_ms: u64,
) -> BTreeMap<OsString, OsString> {
    let mut all: BTreeMap<OsString, OsString> = BTreeMap::new();
    for name in INHERITED {
        if let Some(value) = own(name) {
            all.insert(name.into(), value);
        }
    }
    let mut put = |name: &str, value: &OsStr| {
        all.insert(name.into(), value.to_owned());
    };
    let name = &function.name;
    let date = iso_8601(started_at_ms)[..10].replace('-', "/");
    let handler = function.command.last().map_or("", String::as_str);
    for (variable, value) in [
        ("_HANDLER", handler),
        ("AWS_LAMBDA_FUNCTION_NAME", name),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &function.memory_mb.to_string()),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", &format!("/aws/lambda/{name}")),
        ("AWS_LAMBDA_LOG_STREAM_NAME", &format!("{date}/[$LATEST]{:032x}", rand::random::<u128>())),
        ("AWS_EXECUTION_ENV", "AWS_Lambda_tidegate"),
        ("AWS_REGION", &around.region),
        ("AWS_DEFAULT_REGION", &around.region),
        ("AWS_ACCESS_KEY_ID", &around.credentials.access_key_id),
        ("AWS_SECRET_ACCESS_KEY", around.credentials.secret_access_key.reveal()),
        ("TZ", ":UTC"),
    ] {
        put(variable, value.as_ref());
    }
    put("LAMBDA_TASK_ROOT", function.directory.as_ref());
    if let Some(token) = &around.credentials.session_token {
        put("AWS_SESSION_TOKEN", token.reveal().as_ref());
    }
    if let Some(bundle) = &around.ca_bundle {
        for variable in ["AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"] {
            put(variable, bundle.as_ref());
        }
    }
    for (variable, value) in &around.variables {
        put(variable, value.as_ref());
    }
    for (variable, value) in &function.environment {
        put(variable, value.reveal().as_ref());
    }
    if let (Some(folder), Some(port)) = (preload, around.gateway_port) {
        all.insert("TIDEGATE_EXECUTE_API_SUFFIX".into(), around.execute_api_suffix().into());
        all.insert("TIDEGATE_EXECUTE_API_PORT".into(), port.to_string().into());
        prepend(&mut all, "PYTHONPATH", folder.as_ref(), ":");
        prepend(&mut all, "NODE_OPTIONS", &require(folder), " ");
    }
    all.insert("AWS_LAMBDA_RUNTIME_API".into(), api.to_string().into());
    all
}

fn prepend(all: &mut BTreeMap<OsString, OsString>, name: &str, first: &OsStr, between: &str) {
    let value = all.entry(name.into()).or_default();
    let rest = std::mem::replace(value, first.to_owned());
    if !rest.is_empty() {
        value.push(between);
        value.push(rest);
    }
}

/// Node parts its options at spaces, but for those in quotes, where a backslash escapes.
fn require(folder: &Path) -> OsString {
    let path = folder.join(NODE_FILE);
    let path = path.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\"");
    format!("--require \"{path}\"").into()
}

/// Finds `program` as a shell in `directory` would. Looked up here, not by the system, which would
/// not name the missing program, and may take a relative one from the gateway's own folder.
///
/// # Errors
/// There is no such file, or it may not be executed.
pub(super) fn find_program(
    program: &str,
    directory: &Path,
    path: Option<&OsStr>,
) -> io::Result<PathBuf> {
    if program.contains('/') {
        return Ok(directory.join(program));
    }
    let is_executable = |path: &PathBuf| {
        path.metadata()
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    path.into_iter()
        .flat_map(env::split_paths)
        .map(|folder| directory.join(folder).join(program))
        .find(is_executable)
        .ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("`{program}` is not on the PATH"))
        })
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, time::Duration};

    use tidegate_model::Secret;

    use super::*;

    fn function(environment: &[(&str, &str)]) -> LocalFunction {
        LocalFunction {
            name: "chat".to_owned(),
            command: ["python3", "-m", "awslambdaric", "app.handler"].map(str::to_owned).to_vec(),
            directory: "/srv/chat".into(),
            environment: environment
                .iter()
                .map(|(name, value)| ((*name).to_owned(), Secret::new((*value).to_owned())))
                .collect(),
            timeout: Duration::from_secs(3),
            memory_mb: 128,
            min_workers: 0,
            max_workers: 1,
            idle_worker: Duration::from_secs(300),
            watch: false,
        }
    }

    fn around() -> WorkerSurroundings {
        WorkerSurroundings {
            region: "eu-west-1".to_owned(),
            account_id: "123456789012".to_owned(),
            credentials: AwsCredentials {
                access_key_id: "ASIAWORKER".to_owned(),
                secret_access_key: Secret::new("secret".to_owned()),
                session_token: Some(Secret::new("token".to_owned())),
            },
            ca_bundle: Some("/run/bundle.pem".into()),
            gateway_port: Some(8443),
            variables: BTreeMap::from([("AWS_ENDPOINT_URL_SQS".to_owned(), "http://q".to_owned())]),
        }
    }

    /// What [`super::variables`] says of `name`, by default with a gateway's rich environment.
    fn variables(
        function: &LocalFunction,
        around: &WorkerSurroundings,
    ) -> impl Fn(&str) -> Option<String> + use<> {
        let own = |name: &str| Some(OsString::from(format!("own {name}")));
        let preload = Some(Path::new("/tmp/with \"space"));
        let api = SocketAddr::from((Ipv4Addr::LOCALHOST, 9001));
        let all = super::variables(function, around, own, preload, api, 1_701_245_041_796);
        move |name| all.get(OsStr::new(name)).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_worker_finds_what_lambda_gives_and_nothing_of_the_gateways_own() {
        let get = variables(&function(&[]), &around());
        for (name, value) in [
            ("_HANDLER", "app.handler"),
            ("LAMBDA_TASK_ROOT", "/srv/chat"),
            ("AWS_LAMBDA_FUNCTION_NAME", "chat"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/chat"),
            ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_DEFAULT_REGION", "eu-west-1"),
            ("AWS_ACCESS_KEY_ID", "ASIAWORKER"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_SESSION_TOKEN", "token"),
            ("AWS_CA_BUNDLE", "/run/bundle.pem"),
            ("NODE_EXTRA_CA_CERTS", "/run/bundle.pem"),
            ("SSL_CERT_FILE", "/run/bundle.pem"),
            ("AWS_ENDPOINT_URL_SQS", "http://q"),
            ("PATH", "own PATH"),
            ("PYTHONPATH", "/tmp/with \"space:own PYTHONPATH"),
            ("NODE_OPTIONS", "--require \"/tmp/with \\\"space/preload.cjs\""),
            ("TIDEGATE_EXECUTE_API_SUFFIX", ".execute-api.eu-west-1.amazonaws.com"),
            ("TIDEGATE_EXECUTE_API_PORT", "8443"),
            ("TZ", ":UTC"),
        ] {
            assert_eq!(get(name).as_deref(), Some(value), "{name}");
        }
        let stream = get("AWS_LAMBDA_LOG_STREAM_NAME").unwrap();
        assert!(stream.starts_with("2023/11/29/[$LATEST]"), "{stream}");
        for name in ["HTTPS_PROXY", "AWS_PROFILE", "TIDEGATE_LOG", "SSH_AUTH_SOCK"] {
            assert_eq!(get(name), None, "{name}");
        }
    }

    #[test]
    fn the_functions_own_environment_wins_but_for_the_runtime_api() {
        let own = [
            ("AWS_LAMBDA_RUNTIME_API", "elsewhere:1"),
            ("AWS_REGION", "us-east-2"),
            ("PATH", "/opt/bin"),
            ("PYTHONPATH", "lib"),
            ("NODE_OPTIONS", "--enable-source-maps"),
        ];
        let get = variables(&function(&own), &around());
        assert_eq!(get("AWS_LAMBDA_RUNTIME_API").unwrap(), "127.0.0.1:9001");
        assert_eq!(get("AWS_REGION").unwrap(), "us-east-2");
        assert_eq!(get("PATH").unwrap(), "/opt/bin");
        assert_eq!(get("PYTHONPATH").unwrap(), "/tmp/with \"space:lib");
        assert!(get("NODE_OPTIONS").unwrap().ends_with("preload.cjs\" --enable-source-maps"));
    }

    #[test]
    fn without_a_gateway_that_speaks_tls_nothing_is_preloaded() {
        let around = WorkerSurroundings { gateway_port: None, ca_bundle: None, ..around() };
        let get = variables(&function(&[]), &around);
        assert_eq!(get("PYTHONPATH").unwrap(), "own PYTHONPATH");
        for name in ["NODE_OPTIONS", "TIDEGATE_EXECUTE_API_PORT", "AWS_CA_BUNDLE"] {
            assert_eq!(get(name), None, "{name}");
        }
    }

    #[test]
    fn a_program_is_found_on_the_path_or_from_the_functions_folder() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("plain"), "").unwrap();
        std::fs::write(at("tool"), "").unwrap();
        std::fs::set_permissions(at("tool"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = env::join_paths([Path::new("/nowhere"), folder.path()]).unwrap();
        let find = |name| find_program(name, Path::new("/srv/chat"), Some(&path));
        assert_eq!(find("tool").unwrap(), at("tool"));
        assert_eq!(find("./bin/tool").unwrap(), Path::new("/srv/chat/./bin/tool"));
        assert_eq!(find("/bin/tool").unwrap(), Path::new("/bin/tool"));
        assert_eq!(find("plain").unwrap_err().to_string(), "`plain` is not on the PATH");
    }
}
