//! AWS's shared files, `credentials` and `config`, as far as they say access keys.
//!
//! In:  the text of a file, and which of the two it is.
//! Out: profiles by name, each with its settings.
//!
//! ```text
//! ~/.aws/credentials        ~/.aws/config
//! [default]                 [default]
//! aws_access_key_id = …     region = …
//! [chat]                    [profile chat]
//! ```
//!
//! Source: "Shared config and credentials files" of the AWS SDKs and Tools reference guide.
//!
//! Holds always: no text is refused, for the files are other tools' as well; what is no profile,
//! no setting, or a setting nested under another one is passed over; names of settings are in
//! lower case.

use std::collections::BTreeMap;

use tidegate_model::Secret;

/// Settings by name. Any of them may be a secret.
pub(super) type Profile = BTreeMap<String, Secret>;

/// Profiles by name.
pub(super) type Profiles = BTreeMap<String, Profile>;

/// Which of the two files a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileKind {
    /// A section's name is a profile's.
    Credentials,
    /// `profile NAME` is a profile's, and `default`; other sections are not profiles.
    Config,
}

/// Adds what `text` says to `profiles`, over what is there.
pub(super) fn read_profiles(text: &str, kind: FileKind, profiles: &mut Profiles) {
    let mut current: Option<&mut Profile> = None;
    for line in text.strip_prefix('\u{feff}').unwrap_or(text).lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(section) = trimmed.strip_prefix('[') {
            let name = section.split_once(']').and_then(|(name, _)| profile_name(name, kind));
            current = name.map(|name| profiles.entry(name.to_owned()).or_default());
            continue;
        }
        // What is indented belongs to the setting above it, such as those of `s3 =`.
        if line.starts_with([' ', '\t']) {
            continue;
        }
        let (Some(profile), Some((name, value))) = (&mut current, trimmed.split_once('=')) else {
            continue;
        };
        let value = without_comment(value).trim();
        profile.insert(name.trim().to_ascii_lowercase(), Secret::new(value.to_owned()));
    }
}

/// The profile that a section is of; `None` for sections of something else.
fn profile_name(section: &str, kind: FileKind) -> Option<&str> {
    let section = section.trim();
    let prefixed = section
        .strip_prefix("profile")
        .filter(|rest| rest.starts_with([' ', '\t']))
        .map(|rest| rest.trim().trim_matches(['"', '\'']));
    match (kind, prefixed) {
        (FileKind::Credentials, None) => Some(section),
        (FileKind::Credentials, Some(_)) => None,
        (FileKind::Config, Some(name)) => Some(name),
        (FileKind::Config, None) => (section == "default").then_some(section),
    }
    .filter(|name| !name.is_empty())
}

/// A comment in a setting's line begins after white space, since a secret may have `#` in it.
fn without_comment(value: &str) -> &str {
    let comment = value
        .match_indices(['#', ';'])
        .find(|(at, _)| value[..*at].ends_with([' ', '\t']))
        .map_or(value.len(), |(at, _)| at);
    &value[..comment]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, kind: FileKind) -> Vec<(String, String, String)> {
        let mut profiles = Profiles::new();
        read_profiles(text, kind, &mut profiles);
        let mut all = Vec::new();
        for (profile, settings) in profiles {
            for (name, value) in settings {
                all.push((profile.clone(), name, value.reveal().to_owned()));
            }
        }
        all
    }

    fn expected(settings: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
        let owned = |(a, b, c): &(&str, &str, &str)| ((*a).into(), (*b).into(), (*c).into());
        settings.iter().map(owned).collect()
    }

    #[test]
    fn profiles_of_a_credentials_file_have_their_plain_names() {
        let text = "\u{feff}# keys\r\n[default]\r\naws_access_key_id = AKIDEXAMPLE\r\n\
                    AWS_Secret_Access_Key=a/b+c==\r\n\r\n[chat] ; of the demo\naws_session_token=t\n\
                    [profile other]\naws_session_token=u\n";
        assert_eq!(
            read(text, FileKind::Credentials),
            expected(&[
                ("chat", "aws_session_token", "t"),
                ("default", "aws_access_key_id", "AKIDEXAMPLE"),
                ("default", "aws_secret_access_key", "a/b+c=="),
            ])
        );
    }

    #[test]
    fn profiles_of_a_config_file_say_that_they_are() {
        let text = "[default]\nregion = eu-west-1\n[profile chat]\na=1\n[chat]\na=2\n\
                    [sso-session x]\na=3\n[profile \"two words\"]\na=4\n[profile]\na=5\n[profile ]\na=6";
        assert_eq!(
            read(text, FileKind::Config),
            expected(&[
                ("chat", "a", "1"),
                ("default", "region", "eu-west-1"),
                ("two words", "a", "4"),
            ])
        );
    }

    #[test]
    fn a_comment_begins_after_white_space_only() {
        let text = "[p]\na = x#y;z # said\nb=x\t; said\nc = # said\nd=# kept\n";
        assert_eq!(
            read(text, FileKind::Credentials),
            expected(&[("p", "a", "x#y;z"), ("p", "b", "x"), ("p", "c", ""), ("p", "d", "# kept")])
        );
    }

    #[test]
    fn nested_settings_and_what_is_no_setting_are_passed_over() {
        let text = "a = before any section\n[p]\ns3 =\n  aws_access_key_id = nested\nnothing\na=1\n[p\nb=2\n";
        assert_eq!(
            read(text, FileKind::Credentials),
            expected(&[("p", "a", "1"), ("p", "s3", "")])
        );
    }

    #[test]
    fn a_profile_that_comes_twice_is_one_and_the_later_setting_counts() {
        let text = "[p]\na=1\nb=1\n[q]\n[p]\na=2\n";
        assert_eq!(
            read(text, FileKind::Credentials),
            expected(&[("p", "a", "2"), ("p", "b", "1")])
        );
    }
}
