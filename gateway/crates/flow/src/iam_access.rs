//! What an access key may do, and the names of what it may do it to (websocket-api, 9.6).
//!
//! In:  an [`AccessKey`] whose signature was right, and what it asks for.
//! Out: whether its policy lets it; who it is, for `identity`; and ARNs.
//!
//! Holds always: a key with a policy may do what its policy allows and nothing else; a key without
//! one may do everything here.

use std::net::IpAddr;

use tidegate_model::AccessKey;

use crate::{
    context::IamFacts,
    policy::{AccessRequest, Decision, evaluate},
};

/// What a client does that connects.
pub const INVOKE: &str = "execute-api:Invoke";

/// What a backend does that calls `@connections`, or our extensions beside it.
pub const MANAGE_CONNECTIONS: &str = "execute-api:ManageConnections";

/// The collection whose members policies may leave out.
const COLLECTION: &str = "@connections";

/// A stage, as ARNs name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageArn<'a> {
    /// Such as `eu-west-1`.
    pub region: &'a str,
    /// 12 digits.
    pub account_id: &'a str,
    /// The api's id.
    pub api_id: &'a str,
    /// The stage's name.
    pub stage: &'a str,
}

impl StageArn<'_> {
    /// Of a route: `arn:aws:execute-api:{region}:{account}:{api}/{stage}/$connect`; an authorizer
    /// knows it as `methodArn`.
    pub fn route(&self, route_key: &str) -> String {
        let Self { region, account_id, api_id, stage } = self;
        format!("arn:aws:execute-api:{region}:{account_id}:{api_id}/{stage}/{route_key}")
    }

    /// Of a management call: `.../{stage}/POST/@connections/{connectionId}`. `path` is what follows
    /// the stage, decoded and without a slash before it.
    pub fn management(&self, method: &str, path: &str) -> ManagementArn {
        let collection = self.route(&format!("{method}/{COLLECTION}"));
        let member = path.strip_prefix(COLLECTION).filter(|rest| rest.starts_with('/'));
        ManagementArn {
            resource: self.route(&format!("{method}/{path}")),
            collection: member.map(|_| collection),
        }
    }
}

/// The resource of a management call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagementArn {
    /// The whole path.
    pub resource: String,
    /// The same without the connection's id: Amazon's examples of policies end in `@connections`.
    /// `None` for what is no member of that collection.
    pub collection: Option<String>,
}

/// The circumstances of a request that policies may ask for.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// The peer's address.
    pub source_ip: IpAddr,
    /// Whether it came over TLS.
    pub secure_transport: bool,
    /// `User-Agent`.
    pub user_agent: Option<&'a str>,
    /// `Referer`.
    pub referer: Option<&'a str>,
    /// Seconds since 1970.
    pub now_s: u64,
}

impl<'a> Circumstances<'a> {
    /// A connect, for the policy of an authorizer or, with `principal`, of an access key.
    /// `resource` is [`StageArn::route`] of `$connect`.
    pub fn connect(&self, resource: &'a str, principal: Option<&'a IamFacts>) -> AccessRequest<'a> {
        AccessRequest {
            action: INVOKE,
            resource,
            alias: None,
            source_ip: self.source_ip,
            secure_transport: self.secure_transport,
            user_agent: self.user_agent,
            referer: self.referer,
            principal,
            now_s: self.now_s,
        }
    }

    /// A management call by the key of `principal`.
    pub fn manage(&self, arn: &'a ManagementArn, principal: &'a IamFacts) -> AccessRequest<'a> {
        AccessRequest {
            action: MANAGE_CONNECTIONS,
            alias: arn.collection.as_deref(),
            ..self.connect(&arn.resource, Some(principal))
        }
    }
}

/// What `key` may do about `request`. Without a policy it may do everything here.
pub fn decide(key: &AccessKey, request: &AccessRequest<'_>) -> Decision {
    key.policy.as_ref().map_or(Decision::Allow, |policy| evaluate(policy, request))
}

/// Who signs with `key`, for `requestContext.identity` and for policies.
pub fn facts(key: &AccessKey, account_id: &str) -> IamFacts {
    let user = key.user.as_ref().unwrap_or(&key.access_key_id).clone();
    IamFacts {
        access_key: key.access_key_id.clone(),
        account_id: account_id.to_owned(),
        user_arn: format!("arn:aws:iam::{account_id}:user/{user}"),
        user,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidegate_model::{PolicyDocument, Secret};

    use super::*;

    const STAGE: StageArn<'_> = StageArn {
        region: "eu-west-1",
        account_id: "123456789012",
        api_id: "a1b2c3d4e5",
        stage: "prod",
    };

    fn circumstances() -> Circumstances<'static> {
        Circumstances {
            source_ip: [203, 0, 113, 7].into(),
            secure_transport: true,
            user_agent: None,
            referer: None,
            now_s: 1_795_348_793,
        }
    }

    fn key(user: Option<&str>, resource: Option<&str>) -> AccessKey {
        let policy = |resource| {
            let document = json!({"Version": "2012-10-17", "Statement": {
                "Effect": "Allow", "Action": "execute-api:*", "Resource": resource
            }});
            PolicyDocument::from_json(&document).unwrap()
        };
        AccessKey {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: Secret::new("secret".to_owned()),
            session_token: None,
            user: user.map(str::to_owned),
            policy: resource.map(policy),
        }
    }

    #[test]
    fn names_are_amazons() {
        let prefix = "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3d4e5/prod";
        assert_eq!(STAGE.route("$connect"), format!("{prefix}/$connect"));
        let post = STAGE.management("POST", "@connections/R0oXAdfD0kwCH6w=");
        assert_eq!(post.resource, format!("{prefix}/POST/@connections/R0oXAdfD0kwCH6w="));
        assert_eq!(post.collection, Some(format!("{prefix}/POST/@connections")));
        for path in ["@connections", "@connectionsx/1", "@groups/a", "@groups/@connections/1"] {
            let arn = STAGE.management("POST", path);
            assert_eq!(arn.resource, format!("{prefix}/POST/{path}"));
            assert_eq!(arn.collection, None, "{path}");
        }
    }

    /// websocket-api, 9.6: the resources that policies in use have.
    #[test]
    fn a_post_is_allowed_by_each_way_of_naming_it() {
        let manage = |resource: &str, method, path| {
            let key = key(None, Some(resource));
            let who = facts(&key, STAGE.account_id);
            let arn = STAGE.management(method, path);
            decide(&key, &circumstances().manage(&arn, &who)).is_allowed()
        };
        let id = "@connections/R0oXAdfD0kwCH6w=";
        let prefix = "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3d4e5/prod";
        for tail in
            ["/POST/@connections", "/POST/@connections/*", "/*", "/*/@connections", "/POST/*"]
        {
            assert!(manage(&format!("{prefix}{tail}"), "POST", id), "{tail}");
        }
        assert!(manage(&format!("{prefix}/POST/{id}"), "POST", id));
        for tail in ["/GET/@connections", "/$connect", "/POST/@connections/x", "", "/POST/@conn"] {
            assert!(!manage(&format!("{prefix}{tail}"), "POST", id), "{tail}");
        }
        assert!(!manage(&format!("{prefix}/POST/@connections"), "POST", "@groups/a"));
    }

    #[test]
    fn a_key_without_a_policy_may_do_everything_and_with_one_nothing_else() {
        let resource = STAGE.route("$connect");
        let may_connect = |key: &AccessKey| {
            let who = facts(key, STAGE.account_id);
            decide(key, &circumstances().connect(&resource, Some(&who)))
        };
        assert_eq!(may_connect(&key(None, None)), Decision::Allow);
        assert_eq!(may_connect(&key(None, Some(&resource))), Decision::Allow);
        assert_eq!(may_connect(&key(None, Some("x"))), Decision::NoMatch);
        let nothing = PolicyDocument { statements: Vec::new() };
        let key = AccessKey { policy: Some(nothing), ..key(None, None) };
        assert_eq!(may_connect(&key), Decision::NoMatch);
    }

    #[test]
    fn a_key_of_nobody_is_known_by_itself() {
        let named = facts(&key(Some("ann"), None), "123456789012");
        assert_eq!(named.user, "ann");
        assert_eq!(named.user_arn, "arn:aws:iam::123456789012:user/ann");
        assert_eq!(named.access_key, "AKIDEXAMPLE");
        let unnamed = facts(&key(None, None), "123456789012");
        assert_eq!(unnamed.user, "AKIDEXAMPLE");
        assert_eq!(unnamed.account_id, "123456789012");
    }
}
