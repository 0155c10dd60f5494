//! Where in AWS an integration calls, with stage variables in it (websocket-api, 6.2).
//!
//! In:  a uri of the operator's, such as
//!      `arn:aws:apigateway:eu-west-1:sqs:path/123456789012/${stageVariables.queue}`.
//! Out: a function or a service's action or path, and in which region.
//!
//! ```text
//! arn:{partition}:lambda:{region}:{account}:function:{name}[:{version or alias}]
//! arn:{partition}:apigateway:{region}:lambda:path/2015-03-31/functions/{function}/invocations
//! arn:{partition}:apigateway:{region}:[{subdomain}.]{service}:action/{Action}[&{query}]
//! arn:{partition}:apigateway:{region}:[{subdomain}.]{service}:path/{path}[?{query}]
//! ```
//!
//! Holds always: partition, region, service and subdomain of an [`AwsCall`] are words that may
//! stand in a host's name, so that no stage variable leads a signed call to a host of its own
//! choice; function, path and query have visible ASCII only.

use std::{collections::BTreeMap, fmt, str::FromStr};

use crate::variable_text::VariableText;

/// A uri as written, `${stageVariables.NAME}` not yet replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsUri {
    text: VariableText,
}

/// Why a uri was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAwsUri {
    /// `${` without `}`, or a variable that is no stage variable.
    #[error("`{0}`: only ${{stageVariables.NAME}} may stand in a uri")]
    Variable(String),
    /// The stage does not define a variable that the uri needs.
    #[error("`{uri}` needs the stage variable `{name}`, which the stage does not define")]
    Undefined {
        /// As written.
        uri: String,
        /// The variable.
        name: String,
    },
    /// None of the forms.
    #[error(
        "`{0}` is neither arn:aws:lambda:region:account:function:name[:version] nor arn:aws:apigateway:region:service:path/path or :action/name"
    )]
    Form(String),
    /// A part of the uri that names something has characters that no such name has.
    #[error("`{uri}` has no {part} where one must stand: `{found}`")]
    Part {
        /// With its variables replaced.
        uri: String,
        /// `partition`, `region`, `account`, `service`, `function`, `version or alias` or `action`.
        part: &'static str,
        /// What stands there.
        found: String,
    },
    /// `#`, which is never sent.
    #[error("`{0}` has a fragment, which is never sent: write %23 for a `#`")]
    Fragment(String),
    /// A space, a control character or one beyond ASCII.
    #[error("`{uri}` holds {character:?}, which a uri has percent-encoded")]
    Character {
        /// With its variables replaced.
        uri: String,
        /// The first such character.
        character: char,
    },
}

/// What is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AwsCall {
    /// A function, by Lambda's Invoke API.
    Lambda {
        /// `aws`, `aws-cn`, ...
        partition: String,
        /// Where Lambda is called. `None`: where `[aws]` says.
        region: Option<String>,
        /// A name, or an ARN without version and alias: what the Invoke path names, as one
        /// segment, to be percent-encoded.
        function: String,
        /// A version or an alias.
        qualifier: Option<String>,
    },
    /// Another service, or another operation of Lambda's.
    Service {
        /// `aws`, `aws-cn`, ...
        partition: String,
        /// Where the service is called. `None`: where `[aws]` says.
        region: Option<String>,
        /// What stands before the service in its host's name, such as a bucket.
        subdomain: Option<String>,
        /// As AWS names it in hosts: `sqs`, `dynamodb`, `states`, ...
        service: String,
        /// What of it.
        target: AwsServiceTarget,
    },
}

/// What of a service is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AwsServiceTarget {
    /// An operation, at the service's root.
    Action {
        /// Such as `PutItem`; letters and digits.
        name: String,
        /// What follows the name's `&`, not empty; `{NAME}` in it is a path parameter.
        query: Option<String>,
    },
    /// A path; `{NAME}` in it is a path parameter.
    Path {
        /// Begins with one `/`.
        path: String,
        /// What follows `?`.
        query: Option<String>,
    },
}

impl AwsUri {
    /// Whether `text` means to be a uri of this kind, right or wrong.
    pub fn is_aws_uri(text: &str) -> bool {
        text.starts_with("arn:")
    }

    /// Checks the variables' form, and the uri's own where it has no variables; the form of one
    /// that has some shows once they are replaced.
    ///
    /// # Errors
    /// What is wrong, with the uri named.
    pub fn parse(text: &str) -> Result<Self, InvalidAwsUri> {
        if !Self::is_aws_uri(text) {
            return Err(InvalidAwsUri::Form(text.to_owned()));
        }
        let text = VariableText::parse(text).map_err(|bad| InvalidAwsUri::Variable(bad.0))?;
        if !text.has_variables() {
            AwsCall::parse(text.as_str())?;
        }
        Ok(Self { text })
    }

    /// The uri as written.
    pub fn as_str(&self) -> &str {
        self.text.as_str()
    }

    /// Whether the uri, as written, is that of a function.
    ///
    /// A variable that stands for the service itself is not seen through; what the uri calls
    /// shows in [`Self::expand`].
    pub fn names_function(&self) -> bool {
        let mut parts = self.as_str().splitn(6, ':').skip(2);
        match [parts.next(), parts.next(), parts.next(), parts.next()] {
            [Some("lambda"), ..] => true,
            [Some("apigateway"), _, Some("lambda"), Some(target)] => {
                target.strip_prefix("path/").is_some_and(|path| function_of(path).is_some())
            }
            _ => false,
        }
    }

    /// Replaces the variables and takes the uri apart. What a variable stands for is not looked
    /// at again for variables.
    ///
    /// # Errors
    /// [`InvalidAwsUri::Undefined`] for a variable that is not in `variables`; otherwise what is
    /// wrong with the uri that results.
    pub fn expand(&self, variables: &BTreeMap<String, String>) -> Result<AwsCall, InvalidAwsUri> {
        let uri = self.text.expand(variables).map_err(|missing| InvalidAwsUri::Undefined {
            uri: self.as_str().to_owned(),
            name: missing.0,
        })?;
        AwsCall::parse(&uri)
    }
}

impl FromStr for AwsUri {
    type Err = InvalidAwsUri;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for AwsUri {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl AwsCall {
    /// Takes a uri without variables apart.
    fn parse(uri: &str) -> Result<Self, InvalidAwsUri> {
        if let Some(character) = uri.chars().find(|c| !c.is_ascii_graphic()) {
            return Err(InvalidAwsUri::Character { uri: uri.to_owned(), character });
        }
        if uri.contains('#') {
            return Err(InvalidAwsUri::Fragment(uri.to_owned()));
        }
        let mut parts = uri.splitn(6, ':');
        let mut part = || parts.next().ok_or_else(|| InvalidAwsUri::Form(uri.to_owned()));
        let (arn, partition, kind) = (part()?, part()?, part()?);
        let (region, owner, resource) = (part()?, part()?, part()?);
        if arn != "arn" {
            return Err(InvalidAwsUri::Form(uri.to_owned()));
        }
        let place = Place {
            uri,
            partition: named(uri, "partition", partition, is_host_word)?,
            // Empty: the gateway's own. An ARN always says one.
            region: match region {
                "" if kind == "apigateway" => None,
                region => Some(named(uri, "region", region, is_host_word)?),
            },
        };
        match kind {
            "lambda" => place.function(uri),
            "apigateway" => place.integration(owner, resource),
            _ => Err(InvalidAwsUri::Form(uri.to_owned())),
        }
    }
}

/// What all forms begin with.
struct Place<'a> {
    uri: &'a str,
    partition: String,
    region: Option<String>,
}

impl Place<'_> {
    fn form(&self) -> InvalidAwsUri {
        InvalidAwsUri::Form(self.uri.to_owned())
    }

    /// `owner` is `service` or `subdomain.service`, `resource` what follows it.
    fn integration(self, owner: &str, resource: &str) -> Result<AwsCall, InvalidAwsUri> {
        let (subdomain, service) = match owner.rsplit_once('.') {
            Some((subdomain, service)) => (Some(subdomain), service),
            None => (None, owner),
        };
        let service = named(self.uri, "service", service, is_host_word)?;
        let is_subdomain = |text: &str| text.split('.').all(is_host_word);
        let subdomain =
            subdomain.map(|text| named(self.uri, "service", text, is_subdomain)).transpose()?;
        let target = if let Some(action) = resource.strip_prefix("action/") {
            let (name, query) = match action.split_once('&') {
                Some((name, query)) => (name, Some(query)),
                None => (action, None),
            };
            let is_action = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric());
            let name = named(self.uri, "action", name, is_action)?;
            let query = query.filter(|query| !query.is_empty()).map(str::to_owned);
            AwsServiceTarget::Action { name, query }
        } else if let Some(path) = resource.strip_prefix("path/") {
            if let Some(function) = function_of(path).filter(|_| owner == "lambda") {
                return self.function(function);
            }
            let (path, query) = match path.split_once('?') {
                Some((path, query)) => (path, Some(query.to_owned())),
                None => (path, None),
            };
            // `path//endpoints/x` is written as often as `path/endpoints/x`, and means the same.
            let path = format!("/{}", path.trim_start_matches('/'));
            AwsServiceTarget::Path { path, query }
        } else {
            return Err(self.form());
        };
        let Self { partition, region, .. } = self;
        Ok(AwsCall::Service { partition, region, subdomain, service, target })
    }

    /// `text` is `name[:q]`, `account:name[:q]`, `account:function:name[:q]`, or a whole ARN.
    fn function(self, text: &str) -> Result<AwsCall, InvalidAwsUri> {
        let parts: Vec<&str> = text.split(':').collect();
        // An account is what parts `account:name` from `name:version`.
        let is_account = |text: &str| text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
        let (prefix, name, qualifier) = match parts.as_slice() {
            ["arn", partition, "lambda", region, account, "function", rest @ ..] => {
                named(self.uri, "partition", partition, is_host_word)?;
                named(self.uri, "region", region, is_host_word)?;
                named(self.uri, "account", account, is_account)?;
                (6, rest.first(), rest.get(1..))
            }
            ["arn", ..] => return Err(self.form()),
            [account, "function", rest @ ..] if is_account(account) => {
                (2, rest.first(), rest.get(1..))
            }
            [account, rest @ ..] if is_account(account) && !rest.is_empty() => {
                (1, rest.first(), rest.get(1..))
            }
            rest => (0, rest.first(), rest.get(1..)),
        };
        let (Some(name), Some(qualifier)) = (name, qualifier) else { return Err(self.form()) };
        named(self.uri, "function", name, |text| text.len() <= 140 && is_word(text))?;
        let qualifier = match qualifier {
            [] => None,
            [qualifier] => Some(named(self.uri, "version or alias", qualifier, is_qualifier)?),
            [_, _, ..] => return Err(self.form()),
        };
        Ok(AwsCall::Lambda {
            function: parts[..=prefix].join(":"),
            qualifier,
            partition: self.partition,
            region: self.region,
        })
    }
}

/// The function that a `lambda:path` uri invokes, from what follows `path/`.
fn function_of(path: &str) -> Option<&str> {
    let rest = path.trim_start_matches('/').strip_prefix("2015-03-31/functions/")?;
    rest.strip_suffix("/invocations").filter(|function| !function.contains('?'))
}

/// `text`, which is not empty, if it is what stands for `part`.
fn named(
    uri: &str,
    part: &'static str,
    text: &str,
    is_one: impl Fn(&str) -> bool,
) -> Result<String, InvalidAwsUri> {
    if text.is_empty() || !is_one(text) {
        return Err(InvalidAwsUri::Part { uri: uri.to_owned(), part, found: text.to_owned() });
    }
    Ok(text.to_owned())
}

/// A part of a host's name.
fn is_host_word(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_word(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

/// `7`, `prod`, `$LATEST`.
fn is_qualifier(text: &str) -> bool {
    let text = text.strip_prefix('$').unwrap_or(text);
    (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FUNCTION: &str = "arn:aws:lambda:eu-west-1:123456789012:function:chat";

    fn expand(text: &str) -> Result<AwsCall, InvalidAwsUri> {
        AwsUri::parse(text)?.expand(&BTreeMap::new())
    }

    fn with_variables(text: &str, variables: &[(&str, &str)]) -> Result<AwsCall, InvalidAwsUri> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        AwsUri::parse(text)?.expand(&variables.iter().map(owned).collect())
    }

    fn lambda(function: &str, qualifier: Option<&str>) -> AwsCall {
        AwsCall::Lambda {
            partition: "aws".to_owned(),
            region: Some("eu-west-1".to_owned()),
            function: function.to_owned(),
            qualifier: qualifier.map(str::to_owned),
        }
    }

    fn service(subdomain: Option<&str>, service: &str, target: AwsServiceTarget) -> AwsCall {
        AwsCall::Service {
            partition: "aws".to_owned(),
            region: Some("eu-west-1".to_owned()),
            subdomain: subdomain.map(str::to_owned),
            service: service.to_owned(),
            target,
        }
    }

    fn path(path: &str, query: Option<&str>) -> AwsServiceTarget {
        AwsServiceTarget::Path { path: path.to_owned(), query: query.map(str::to_owned) }
    }

    fn action(name: &str, query: Option<&str>) -> AwsServiceTarget {
        AwsServiceTarget::Action { name: name.to_owned(), query: query.map(str::to_owned) }
    }

    fn invocations(function: &str) -> String {
        format!(
            "arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/{function}/invocations"
        )
    }

    #[test]
    fn a_functions_arn_and_its_lambda_path_call_the_same() {
        assert_eq!(expand(FUNCTION), Ok(lambda(FUNCTION, None)));
        assert_eq!(expand(&invocations(FUNCTION)), Ok(lambda(FUNCTION, None)));
        for qualifier in ["7", "prod", "$LATEST"] {
            let uri = format!("{FUNCTION}:{qualifier}");
            assert_eq!(expand(&uri), Ok(lambda(FUNCTION, Some(qualifier))));
            assert_eq!(expand(&invocations(&uri)), Ok(lambda(FUNCTION, Some(qualifier))));
        }
    }

    /// Lambda's Invoke API: a name, a partial ARN, or a full one.
    #[test]
    fn a_lambda_path_may_name_a_function_in_short() {
        for (function, name, qualifier) in [
            ("chat", "chat", None),
            ("chat:prod", "chat", Some("prod")),
            ("123456789012:chat", "123456789012:chat", None),
            ("123456789012:chat:7", "123456789012:chat", Some("7")),
            ("123456789012:function:chat:7", "123456789012:function:chat", Some("7")),
            ("123456789012", "123456789012", None),
        ] {
            assert_eq!(expand(&invocations(function)), Ok(lambda(name, qualifier)), "{function}");
        }
    }

    #[test]
    fn another_path_of_lambda_is_a_service_call() {
        for (tail, query) in [
            ("chat", None),
            ("invocations", None),
            ("chat/invocations", Some("a")),
            ("", Some("/invocations")),
        ] {
            let whole = format!("/2015-03-31/functions/{tail}");
            let uri = query.map_or(whole.clone(), |query| format!("{whole}?{query}"));
            let uri = format!("arn:aws:apigateway:eu-west-1:lambda:path{uri}");
            assert_eq!(expand(&uri), Ok(service(None, "lambda", path(&whole, query))), "{uri}");
            assert!(!AwsUri::parse(&uri).unwrap().names_function(), "{uri}");
        }
    }

    #[test]
    fn a_services_action_and_path_are_told_apart() {
        let prefix = "arn:aws:apigateway:eu-west-1:";
        let uri = |tail: &str| expand(&format!("{prefix}{tail}"));
        assert_eq!(uri("sns:action/Publish"), Ok(service(None, "sns", action("Publish", None))));
        assert_eq!(
            uri("s3:action/GetObject&Bucket={bucket}&Key=a"),
            Ok(service(None, "s3", action("GetObject", Some("Bucket={bucket}&Key=a"))))
        );
        assert_eq!(
            uri("sqs:path/123456789012/jobs.fifo?a=b:c"),
            Ok(service(None, "sqs", path("/123456789012/jobs.fifo", Some("a=b:c"))))
        );
        assert_eq!(
            uri("my.bucket.s3:path/{key}"),
            Ok(service(Some("my.bucket"), "s3", path("/{key}", None)))
        );
        assert_eq!(
            uri("runtime.sagemaker:path//endpoints/x"),
            Ok(service(Some("runtime"), "sagemaker", path("/endpoints/x", None)))
        );
        assert_eq!(uri("sqs:path/"), Ok(service(None, "sqs", path("/", None))));
    }

    #[test]
    fn without_a_region_the_gateways_own_is_meant() {
        let Ok(AwsCall::Service { region, .. }) = expand("arn:aws:apigateway::sns:action/Publish")
        else {
            panic!("it is a service")
        };
        assert_eq!(region, None);
        assert!(expand("arn:aws:lambda::123456789012:function:chat").is_err());
    }

    #[test]
    fn stage_variables_are_replaced_wherever_they_stand() {
        let name = "arn:aws:lambda:eu-west-1:123456789012:function:${stageVariables.name}";
        let both = format!("{name}:${{stageVariables.alias}}");
        let variables = [("name", "chat"), ("alias", "blue"), ("region", "eu-west-1")];
        assert_eq!(with_variables(name, &variables), Ok(lambda(FUNCTION, None)));
        assert_eq!(with_variables(&both, &variables), Ok(lambda(FUNCTION, Some("blue"))));
        let versioned = [("name", "chat:blue")];
        assert_eq!(with_variables(name, &versioned), Ok(lambda(FUNCTION, Some("blue"))));
        let in_path = invocations(name);
        assert_eq!(with_variables(&in_path, &variables), Ok(lambda(FUNCTION, None)));
        assert!(AwsUri::parse(&in_path).unwrap().names_function());
        let queue = "arn:aws:apigateway:${stageVariables.region}:sqs:path/123456789012/${stageVariables.name}";
        assert_eq!(
            with_variables(queue, &variables),
            Ok(service(None, "sqs", path("/123456789012/chat", None)))
        );
        assert!(!AwsUri::parse(queue).unwrap().names_function());
        let undefined = InvalidAwsUri::Undefined { uri: both, name: "alias".to_owned() };
        let refused = with_variables(&format!("{name}:${{stageVariables.alias}}"), &versioned);
        assert_eq!(refused, Err(undefined));
    }

    #[test]
    fn only_stage_variables_may_stand_in_a_uri() {
        for variable in ["${name}", "${context.stage}", "${stageVariables.}", "${stageVariables.a"]
        {
            let error = AwsUri::parse(&format!("arn:aws:lambda:{variable}")).unwrap_err();
            assert_eq!(error, InvalidAwsUri::Variable(variable.to_owned()));
        }
    }

    #[test]
    fn a_stage_variable_leads_to_no_host_of_its_own() {
        let uri = "arn:aws:apigateway:${stageVariables.a}:sqs:path/x";
        for bad in ["evil.example/", "evil.example", "EU", "-a", "a@b", "eu-west-1:s3.evil", ""] {
            let expanded = with_variables(uri, &[("a", bad)]);
            if bad.is_empty() {
                assert!(expanded.is_ok(), "the gateway's own region");
            } else {
                assert!(expanded.is_err(), "{bad}: {expanded:?}");
            }
        }
        let uri = "arn:aws:apigateway:eu-west-1:${stageVariables.a}:path/x";
        for bad in ["evil.example/x.s3", "a..s3", ".s3", "s3.", "a@s3", "S3"] {
            assert!(with_variables(uri, &[("a", bad)]).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_no_function_and_no_service_is_refused() {
        for bad in [
            "",
            "http://h/",
            "arn:",
            "arn:aws:sqs:eu-west-1:123456789012:jobs",
            "arn:aws:lambda:eu-west-1:123456789012:layer:chat",
            "arn:aws:lambda:eu-west-1:123456789012:function",
            "arn:aws:lambda:eu-west-1:123456789012:function:a:b:c",
            "arn:aws:apigateway:eu-west-1:sqs",
            "arn:aws:apigateway:eu-west-1:sqs:jobs",
        ] {
            assert_eq!(expand(bad), Err(InvalidAwsUri::Form(bad.to_owned())), "{bad}");
        }
        for (bad, part, found) in [
            ("arn:aws:lambda:eu-west-1:12345:function:a", "account", "12345"),
            ("arn:aws:lambda:eu-west-1:123456789012:function:", "function", ""),
            ("arn:aws:lambda:eu-west-1:123456789012:function:a/b", "function", "a/b"),
            ("arn:aws:lambda:eu-west-1:123456789012:function:a:b/c", "version or alias", "b/c"),
            ("arn:aws:apigateway:eu-west-1:sqs:action/", "action", ""),
            ("arn:aws:apigateway:eu-west-1:sqs:action/A?b", "action", "A?b"),
            ("arn:Aws:apigateway:eu-west-1:sqs:action/A", "partition", "Aws"),
        ] {
            let refused =
                InvalidAwsUri::Part { uri: bad.to_owned(), part, found: found.to_owned() };
            assert_eq!(expand(bad), Err(refused), "{bad}");
        }
        let fragment = "arn:aws:apigateway:eu-west-1:sqs:path/a#b";
        assert_eq!(expand(fragment), Err(InvalidAwsUri::Fragment(fragment.to_owned())));
    }

    #[test]
    fn a_stage_variable_cannot_break_the_request_line() {
        let uri = "arn:aws:apigateway:eu-west-1:sqs:path/${stageVariables.a}";
        for character in [' ', '\r', 'ä', '\0'] {
            let refused = with_variables(uri, &[("a", &character.to_string())]).unwrap_err();
            assert!(
                matches!(refused, InvalidAwsUri::Character { character: c, .. } if c == character)
            );
        }
    }

    proptest! {
        #[test]
        fn whatever_expands_is_fit_for_a_request(
            text in any::<String>(),
            tail in "[a-zA-Z:/?#@{}$.& \\n0-9_-]{0,30}",
            region in "[a-z0-9./@:-]{0,8}",
        ) {
            for uri in [
                text,
                format!("arn:aws:apigateway:{region}:s3:{tail}"),
                format!("arn:aws:apigateway:{region}:{tail}:path/{tail}"),
                format!("arn:aws:lambda:{region}:123456789012:function:{tail}"),
                invocations(&tail),
            ] {
                let Ok(call) = expand(&uri) else { continue };
                let is_host = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b));
                match call {
                    AwsCall::Lambda { partition, region, function, qualifier } => {
                        prop_assert!(AwsUri::parse(&uri).unwrap().names_function());
                        prop_assert!(is_host(&partition) && region.as_deref().is_none_or(is_host));
                        let whole = format!("{function}{}", qualifier.unwrap_or_default());
                        prop_assert!(whole.bytes().all(|b| b.is_ascii_graphic() && !b"/?#%".contains(&b)));
                    }
                    AwsCall::Service { partition, region, subdomain, service, target } => {
                        prop_assert!(!AwsUri::parse(&uri).unwrap().names_function());
                        prop_assert!(is_host(&partition) && region.as_deref().is_none_or(is_host));
                        prop_assert!(is_host(&service) && subdomain.as_deref().is_none_or(is_host));
                        let (path, query) = match target {
                            AwsServiceTarget::Action { name, query } => (format!("/{name}"), query),
                            AwsServiceTarget::Path { path, query } => (path, query),
                        };
                        prop_assert!(path.starts_with('/') && !path.starts_with("//") && !path.contains('?'));
                        let whole = path + query.as_deref().unwrap_or_default();
                        prop_assert!(whole.bytes().all(|b| b.is_ascii_graphic() && b != b'#'));
                    }
                }
            }
        }
    }
}
