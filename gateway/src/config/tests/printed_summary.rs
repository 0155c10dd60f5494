//! What `tidegate check` prints of a good file.

use super::*;

#[test]
fn the_summary_tells_what_is_served_and_what_is_unusual() {
    let folder = example_folder();
    let configuration = loaded(parse_full(FULL, folder.path())).configuration;
    let log = folder.path().join("access.log");
    let text = summary(&configuration).replace(&log.display().to_string(), "access.log");
    let text = text.replace(&folder.path().display().to_string(), "/srv");
    let expected = r#"
listen      0.0.0.0:8443, https and wss, client certificates required
admin       127.0.0.1:8081
management  signed by AKIDEXAMPLE, AKIDNEXT; 1000/s, burst 500
store       redis cluster at 10.0.0.11:6379, 10.0.0.12:6379, 10.0.0.13:6379, prefix tidegate, lease 10 s
limits      max_connection_s = none (default 7200)
            slow_client = drop_oldest (default close)
            connections_per_ip = 1000 (default none)
traces      https://collector.example.com:4318/v1/traces, ratio 0.1, as tidegate
aws         region eu-west-1, account 123456789012
            credentials default, queues
            lambda at http://127.0.0.1:9001/
            sqs at https://queues.example.com/local
functions
  rooms  1 to 10 workers  /srv/functions/rooms  watched
api keys
  partner
usage plans
  partners  chat/prod, chat/beta, alerts/prod  keys partner  10/s, burst 5; 10000 a day

api alerts
  selects by  $request.body.action
  hosts       alerts.localhost, alerts.execute-api.*
  besides     api keys come from the authorizer
  stages
    /prod  10000/s, burst 5000
  routes
    $connect  → nothing   authorizer who, api key required
    $default  → function
  authorizers
    who  request  decide
  integrations
    decide    aws_proxy  POST  arn:aws:lambda:eu-west-1:123456789012:function:who:${stageVariables.alias}
    function  aws_proxy  POST  http://127.0.0.1:9000/function

api chat
  selects by  ${request.body.service}/${request.body.action}
  hosts       chat.example.com, *.chat.example.com, chat.localhost, chat.execute-api.*
  besides     binary messages go to $default; only the allowed origins
  models      Join, Room
  stages
    /beta  unthrottled
    /prod  10000/s, burst 5000  logs to access.log
  routes
    $connect     → backend  authorizer token, api key required, demands parameters
    $default     → rooms    two-way
    $disconnect  → backend
    chat/join    → room     100/s, burst 20, checks messages
    chat/ping    → echo     two-way
    chat/send    → queue
    chat/time    → time     two-way
  authorizers
    token  jwt  https://id.example.com
  integrations
    backend  http_proxy  POST  http://127.0.0.1:3000/messages  in beta
                               http://10.0.0.7:3000/messages  in prod
    echo     mock              200
    queue    aws         POST  arn:aws:apigateway:eu-west-1:sqs:path/123456789012/messages
    room     http        PUT   unix:/run/rooms.sock:/rooms/{room}
    rooms    aws_proxy   POST  function rooms
    time     mock              answered by templates

api devices
  selects by  $request.body.action
  hosts       devices.localhost, devices.execute-api.*
  stages
    /prod  10000/s, burst 5000
  routes
    $connect  → nothing  authorizer signed
  authorizers
    signed  iam  signed by AKIDDEVICE
"#;
    assert_eq!(format!("\n{text}"), expected);
}
