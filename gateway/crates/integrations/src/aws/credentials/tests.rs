//! Where credentials are found, in which order, and when a changed file is noticed.

use std::{fs, fs::File};

use super::*;

const KEYS: &str = "aws_access_key_id = IN_FILE\naws_secret_access_key = s3cret\n";

fn environment(variables: &[(&str, &str)]) -> AwsEnvironment {
    let find = |name: &str| {
        let (_, value) = variables.iter().find(|(known, _)| *known == name)?;
        Some((*value).to_owned())
    };
    AwsEnvironment::new(find)
}

fn keys(access_key_id: &str) -> AwsCredentials {
    AwsCredentials {
        access_key_id: access_key_id.to_owned(),
        secret_access_key: Secret::new("s3cret".to_owned()),
        session_token: None,
    }
}

/// A home with these two files, the variables on top.
fn source(
    configured: &[&str],
    files: &[(&str, &str)],
    variables: &[(&str, &str)],
) -> (CredentialsSource, tempfile::TempDir) {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join(".aws")).unwrap();
    for (name, text) in files {
        fs::write(home.path().join(".aws").join(name), text).unwrap();
    }
    let mut all = vec![("HOME", home.path().to_str().unwrap())];
    all.extend_from_slice(variables);
    let configured = configured.iter().map(|name| ((*name).to_owned(), keys(name))).collect();
    (CredentialsSource::new(&configured, environment(&all)), home)
}

async fn found(source: &CredentialsSource, name: Option<&str>) -> Result<String, String> {
    source
        .find(name)
        .await
        .map(|keys| keys.access_key_id.clone())
        .map_err(|error| error.to_string())
}

const VARIABLES: [(&str, &str); 2] =
    [("AWS_ACCESS_KEY_ID", "IN_ENVIRONMENT"), ("AWS_SECRET_ACCESS_KEY", "s3cret")];

#[tokio::test]
async fn without_a_name_configuration_comes_first_then_environment_then_profile() {
    let file = format!("[default]\n{KEYS}");
    let files = [("credentials", file.as_str())];
    let (all, _home) = source(&["default"], &files, &VARIABLES);
    assert_eq!(found(&all, None).await.unwrap(), "default");
    let (all, _home) = source(&["other"], &files, &VARIABLES);
    assert_eq!(found(&all, None).await.unwrap(), "IN_ENVIRONMENT");
    assert_eq!(found(&all, Some("default")).await.unwrap(), "IN_ENVIRONMENT");
    let (all, _home) = source(&[], &files, &VARIABLES[..1]);
    assert_eq!(found(&all, None).await.unwrap(), "IN_FILE", "a key needs its secret");
    let (all, _home) = source(&[], &files, &[("AWS_ACCESS_KEY_ID", ""), VARIABLES[1]]);
    assert_eq!(found(&all, None).await.unwrap(), "IN_FILE", "empty is absent");
}

#[tokio::test]
async fn a_name_is_the_configurations_or_a_profiles_and_never_the_environments() {
    let file = format!("[profile chat]\n{KEYS}");
    let (all, _home) = source(&["posts"], &[("config", &file)], &VARIABLES);
    assert_eq!(found(&all, Some("posts")).await.unwrap(), "posts");
    assert_eq!(found(&all, Some("chat")).await.unwrap(), "IN_FILE");
    let refused = found(&all, Some("nobody")).await.unwrap_err();
    assert!(refused.contains("[aws.credentials.nobody]") && refused.contains(".aws/credentials"));
}

#[tokio::test]
async fn the_credentials_file_overrules_the_config_file() {
    let config = "[default]\naws_access_key_id = IN_CONFIG\naws_secret_access_key = x\naws_session_token = t\n";
    let credentials = format!("[default]\n{KEYS}");
    let (all, _home) =
        source(&[], &[("config", config), ("credentials", credentials.as_str())], &[]);
    let keys = all.find(None).await.unwrap();
    assert_eq!(
        (keys.access_key_id.as_str(), keys.secret_access_key.reveal()),
        ("IN_FILE", "s3cret")
    );
}

#[tokio::test]
async fn variables_name_the_profile_and_the_files() {
    let file = format!("[blue]\n{KEYS}");
    let variables = [("AWS_PROFILE", "blue"), ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/elsewhere")];
    let (all, _home) = source(&[], &[("elsewhere", &file)], &variables);
    assert_eq!(found(&all, None).await.unwrap(), "IN_FILE");
}

#[tokio::test]
async fn without_any_the_error_says_where_they_were_looked_for() {
    let (all, _home) = source(&[], &[], &[("AWS_PROFILE", "blue")]);
    let error = found(&all, None).await.unwrap_err();
    for place in ["[aws.credentials.default]", "AWS_ACCESS_KEY_ID", "profile `blue`", ".aws/config"]
    {
        assert!(error.contains(place), "{place}: {error}");
    }
    let role = "[default]\nrole_arn = arn:aws:iam::123456789012:role/x\n";
    let (all, _home) = source(&[], &[("credentials", role)], &[]);
    assert!(found(&all, None).await.unwrap_err().contains("has no aws_access_key_id"));
    let homeless = CredentialsSource::new(&BTreeMap::new(), environment(&[]));
    assert!(found(&homeless, None).await.unwrap_err().contains("HOME"));
}

#[tokio::test]
async fn keys_that_fit_in_no_header_are_refused_and_not_repeated() {
    let file = "[default]\naws_access_key_id = A\naws_secret_access_key = hunter 2\n";
    let (all, _home) = source(&[], &[("credentials", file)], &[]);
    let error = found(&all, None).await.unwrap_err();
    assert!(error.contains("secret access key of profile `default`"), "{error}");
    assert!(!error.contains("hunter"), "{error}");
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_named() {
    let (all, home) = source(&[], &[], &[]);
    fs::create_dir(home.path().join(".aws/credentials")).unwrap();
    assert!(found(&all, None).await.unwrap_err().ends_with(".aws/credentials"));
}

#[tokio::test(start_paused = true)]
async fn a_changed_file_is_noticed_and_an_unchanged_one_not_read() {
    let file = format!("[default]\n{KEYS}");
    let (all, home) = source(&[], &[("credentials", &file)], &[]);
    let path = home.path().join(".aws/credentials");
    assert_eq!(found(&all, None).await.unwrap(), "IN_FILE");
    let modified = fs::metadata(&path).unwrap().modified().unwrap();

    // Changed in a way that its time and length do not show.
    fs::write(&path, file.replace("IN_FILE", "IN_FIL2")).unwrap();
    File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    tokio::time::advance(LOOK_EVERY).await;
    assert_eq!(found(&all, None).await.unwrap(), "IN_FILE");
    tokio::time::advance(READ_EVERY).await;
    assert_eq!(found(&all, None).await.unwrap(), "IN_FIL2", "read again all the same");

    fs::write(&path, file.replace("IN_FILE", "ROTATED")).unwrap();
    let later = modified + Duration::from_secs(2);
    File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
    assert_eq!(found(&all, None).await.unwrap(), "IN_FIL2", "it is not looked at every time");
    tokio::time::advance(LOOK_EVERY).await;
    assert_eq!(found(&all, None).await.unwrap(), "ROTATED");

    // Unreadable from now on: what it said before serves.
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    tokio::time::advance(LOOK_EVERY).await;
    assert_eq!(found(&all, None).await.unwrap(), "ROTATED");
}
