//! The IAM authorizer: the upgrade request is signed with a key that may connect (websocket-api,
//! 9.6).
//!
//! In:  the upgrade request as it was received, nothing decoded.
//! Out: whose signature it is, or why it is refused.
//!
//! Holds always: a right signature alone lets nobody in; the key's policy does.

use std::collections::HashMap;

use tidegate_flow::{
    context::IamFacts,
    iam_access::{self, Circumstances, StageArn},
    policy::Decision,
    sigv4::{self, SignatureError, SignedRequest, SigningKeys},
};
use tidegate_integrations::Owner;
use tidegate_model::{AccessKey, RouteKey};

use crate::{Denial, DenialStatus};

/// One IAM authorizer of one stage, ready to decide.
#[derive(Debug)]
pub struct IamAuthorizer {
    keys: HashMap<String, AccessKey>,
    account_id: String,
    resource: String,
}

impl IamAuthorizer {
    /// The authorizer for the stage that `arn` names, with these keys.
    pub fn new(keys: &[AccessKey], arn: &StageArn<'_>) -> Self {
        Self {
            keys: keys.iter().map(|key| (key.access_key_id.clone(), key.clone())).collect(),
            account_id: arn.account_id.to_owned(),
            resource: arn.route(RouteKey::CONNECT),
        }
    }

    /// Checks the signature, and whether its key may connect.
    ///
    /// # Errors
    /// 403, with Amazon's text where the signature does not match.
    pub fn check(
        &self,
        request: &SignedRequest<'_>,
        signing_keys: &mut SigningKeys,
        circumstances: &Circumstances<'_>,
    ) -> Result<IamFacts, Denial> {
        let find = |id: &str| self.keys.get(id);
        let signed = sigv4::verify(request, find, signing_keys, circumstances.now_s)
            .map_err(|refused| signature_denial(&refused))?;
        let Some(key) = self.keys.get(&signed.access_key_id) else {
            return Err(signature_denial(&SignatureError::Mismatch));
        };
        let facts = iam_access::facts(key, &self.account_id);
        let asked = circumstances.connect(&self.resource, Some(&facts));
        let refused = match iam_access::decide(key, &asked) {
            Decision::Allow => None,
            Decision::Deny => Some(("denied", "the access key's policy denies it")),
            Decision::NoMatch => Some(("not_allowed", "the access key's policy does not allow it")),
        };
        match refused {
            None => Ok(facts),
            Some((kind, log)) => {
                Err(Denial::new(DenialStatus::Forbidden, kind, Owner::Client, log))
            }
        }
    }
}

fn signature_denial(refused: &SignatureError) -> Denial {
    Denial {
        error_type: refused.error_type(),
        message: refused.message(),
        ..Denial::new(DenialStatus::Forbidden, "signature", Owner::Client, refused.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use serde_json::json;
    use tidegate_model::{PolicyDocument, Secret};

    use super::*;

    const ARN: StageArn<'_> =
        StageArn { region: "us-east-1", account_id: "123456789012", api_id: "chat", stage: "prod" };

    fn check(now_s: u64, headers: &[(&str, &[u8])]) -> Result<IamFacts, Denial> {
        let policy = json!({
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]
        });
        let key = AccessKey {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: Secret::new("secret".to_owned()),
            session_token: None,
            user: None,
            policy: PolicyDocument::from_json(&policy).ok(),
        };
        let request =
            SignedRequest { method: "GET", raw_path: "/prod", raw_query: "", headers, body: b"" };
        let circumstances = Circumstances {
            source_ip: Ipv4Addr::LOCALHOST.into(),
            secure_transport: false,
            user_agent: None,
            referer: None,
            now_s,
        };
        IamAuthorizer::new(&[key], &ARN).check(&request, &mut SigningKeys::new(), &circumstances)
    }

    /// What is signed rightly, and what a policy says of it, is tested over sockets.
    #[test]
    fn an_unsigned_request_is_refused_with_403() {
        let denial = check(0, &[("Host", b"chat.localhost")]).unwrap_err();
        assert_eq!(denial.status.code(), 403);
        assert_eq!(denial.error_type, "MissingAuthenticationTokenException");
    }
}
