//! What is known of AWS's services: under which name they are reached and signed for, and how
//! their actions are called.
//!
//! In:  a service's name, as a uri has it.
//! Out: a [`Service`].
//!
//! Sources: "Service endpoints and quotas" of the AWS General Reference; the services' API
//! references (their "Common parameters", and the `X-Amz-Target` of their examples).

/// One service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Service<'a> {
    /// What stands before the region in its host.
    pub(super) host: &'a str,
    /// What it is signed for.
    pub(super) signing_name: &'a str,
    /// Whether one host serves all regions, and is signed for `us-east-1`. (So it is in the
    /// partition `aws`; others have regions of their own for these.)
    pub(super) is_global: bool,
    /// How its actions are called.
    pub(super) protocol: Protocol,
}

/// How a service's actions are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// The action in `X-Amz-Target`, after this and a dot; the parameters as JSON.
    Json {
        /// Such as `DynamoDB_20120810`.
        target: &'static str,
        /// `application/x-amz-json-1.0` or `-1.1`.
        content_type: &'static str,
    },
    /// The action as the parameter `Action`, among the others in query or form.
    Query {
        /// The parameter `Version`, where it is known.
        version: Option<&'static str>,
    },
}

const JSON_1_0: &str = "application/x-amz-json-1.0";
const JSON_1_1: &str = "application/x-amz-json-1.1";

/// A service that is not known is called as most old ones are: by Query.
pub(super) fn service(name: &str) -> Service<'_> {
    let (host, signing_name) = match name {
        "eventbridge" => ("events", "events"),
        "stepfunctions" => ("states", "states"),
        "cloudwatch" => ("monitoring", "monitoring"),
        // The broker: each account has its own subdomain of `iot`.
        "iotdata" => ("iot", "iotdata"),
        "email" | "ses" => ("email", "ses"),
        "bedrock-runtime" => ("bedrock-runtime", "bedrock"),
        name => (name, name),
    };
    let json = |target, content_type| Protocol::Json { target, content_type };
    let query = |version| Protocol::Query { version: Some(version) };
    let protocol = match host {
        "dynamodb" => json("DynamoDB_20120810", JSON_1_0),
        "states" => json("AWSStepFunctions", JSON_1_0),
        "kinesis" => json("Kinesis_20131202", JSON_1_1),
        "events" => json("AWSEvents", JSON_1_1),
        "firehose" => json("Firehose_20150804", JSON_1_1),
        "logs" => json("Logs_20140328", JSON_1_1),
        "secretsmanager" => json("secretsmanager", JSON_1_1),
        "ssm" => json("AmazonSSM", JSON_1_1),
        "kms" => json("TrentService", JSON_1_1),
        "cognito-idp" => json("AWSCognitoIdentityProviderService", JSON_1_1),
        "sqs" => query("2012-11-05"),
        "sns" => query("2010-03-31"),
        "monitoring" => query("2010-08-01"),
        "email" => query("2010-12-01"),
        "sts" => query("2011-06-15"),
        "iam" => query("2010-05-08"),
        _ => Protocol::Query { version: None },
    };
    let is_global = matches!(host, "iam" | "route53" | "cloudfront");
    Service { host, signing_name, is_global, protocol }
}

/// The domain under which a partition's services are.
pub(super) fn dns_suffix(partition: &str) -> &'static str {
    match partition {
        "aws-cn" => "amazonaws.com.cn",
        "aws-iso" => "c2s.ic.gov",
        "aws-iso-b" => "sc2s.sgov.gov",
        "aws-eusc" => "amazonaws.eu",
        _ => "amazonaws.com",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_called_eventbridge_is_the_service_events() {
        assert_eq!(service("eventbridge"), service("events"));
        assert_eq!(service("events").host, "events");
    }

    #[test]
    fn an_unknown_service_is_called_by_query_under_its_own_name() {
        let protocol = Protocol::Query { version: None };
        let new = Service { host: "new", signing_name: "new", is_global: false, protocol };
        assert_eq!(service("new"), new);
    }
}
