//! The AWS SDKs, unmodified but for their endpoint, against the management API (client contract,
//! section 1).

use tidegate_testkit::GatewayToml;

use crate::{
    gateway,
    program::{Program, cases, output_of},
};

const ACCESS_KEY_ID: &str = "AKIDEXAMPLE";
const SECRET_ACCESS_KEY: &str = "an example's secret/+=";

/// Runs a case against a gateway that wants signed calls, with the credentials where SDKs look.
async fn run(program: Program, case: &str) {
    let toml = GatewayToml::new().signed(ACCESS_KEY_ID, SECRET_ACCESS_KEY);
    let (gateway, _function) = gateway(toml).await;
    let mut command = program.command();
    command
        .arg(case)
        .env("TIDEGATE_WS_URL", gateway.ws_url("prod"))
        .env("TIDEGATE_MANAGEMENT_URL", gateway.management_url("prod"))
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
        .env("AWS_REGION", "us-east-1")
        .env("AWS_DEFAULT_REGION", "us-east-1");
    output_of(command).await;
}

mod boto3 {
    use super::*;

    cases! {
        Program::Python("python/boto3_sdk.py"), run:
        a_post_arrives_as_text,
        posts_of_one_client_arrive_in_order,
        get_says_since_when_and_from_where,
        delete_closes_with_1000_and_then_it_is_gone,
        a_connection_that_its_client_closed_is_gone,
        an_id_that_never_existed_is_gone,
        a_wrong_secret_is_403,
        an_unknown_access_key_is_403,
        an_unsigned_call_is_403,
        a_wrong_stage_is_403,
        a_malformed_id_is_400,
        a_post_over_128_kib_is_413,
        a_post_that_is_no_text_is_400,
        the_endpoint_may_end_in_a_slash,
    }
}

mod javascript {
    use super::*;

    cases! {
        Program::Node("node/javascript_sdk.mjs"), run:
        a_post_arrives_as_text,
        get_says_since_when_and_from_where,
        get_copes_with_a_client_that_names_no_user_agent,
        delete_closes_with_1000_and_then_it_is_gone,
        a_connection_that_its_client_closed_is_gone,
        an_id_that_never_existed_is_gone,
        a_wrong_secret_is_403,
        an_unknown_access_key_is_403,
        an_unsigned_call_is_403,
        a_wrong_stage_is_403,
        a_malformed_id_is_400,
        a_post_over_128_kib_is_413,
        the_endpoint_may_end_in_a_slash,
    }
}
