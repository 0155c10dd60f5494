//! `deploy/helm/tidegate`, installed by the real Helm 4 into a stand-in for Kubernetes
//! (`helm_install.py`), and what it creates checked by Kubernetes' own schemas.
//!
//! No cluster is there: that pods start, drain and scale is not shown here.

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::{
    GATEWAY,
    programs::{in_repository, installed, python, run, run_with_input},
};

/// The oldest and a recent version that the chart is for.
const KUBERNETES: [&str; 2] = ["1.30", "1.34"];

async fn helm(values: &Value) -> Value {
    let home = TempDir::new().expect("a temporary folder");
    let mut install = python("helm_install.py");
    install.arg(in_repository("deploy/helm/tidegate")).arg("gate").arg(values.to_string());
    install.env("HOME", home.path()).env("TIDEGATE_HELM", installed("helm"));
    run(&mut install).await.json()
}

/// What Helm creates, each object checked by its kind's schema.
async fn created(values: Value) -> Vec<Value> {
    let said = helm(&values).await;
    assert!(said["error"].is_null(), "{}", said["error"]);
    let objects = said["objects"].as_array().expect("objects").clone();
    // The Prometheus operator's kind is not Kubernetes': its few keys are looked at below.
    let known: Vec<_> = objects.iter().filter(|it| it["kind"] != "ServiceMonitor").collect();
    let input = serde_json::to_vec(&known).expect("JSON");
    for version in KUBERNETES {
        let mut validate = python("validate.py");
        let problems = run_with_input(validate.args(["kubernetes", version]), &input).await.json();
        assert_eq!(problems, json!([]), "Kubernetes {version}");
    }
    objects
}

async fn refusal(values: Value) -> String {
    let said = helm(&values).await;
    said["error"].as_str().unwrap_or_else(|| panic!("not refused: {values}")).to_owned()
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let found = objects.iter().find(|it| it["kind"] == kind);
    found.unwrap_or_else(|| panic!("no {kind} was created"))
}

fn has(objects: &[Value], kind: &str) -> bool {
    objects.iter().any(|it| it["kind"] == kind)
}

fn pod(objects: &[Value]) -> &Value {
    &of_kind(objects, "Deployment")["spec"]["template"]["spec"]
}

fn everything_on() -> Value {
    json!({
        "secret": { "values": { "TIDEGATE_SECRET": "s", "TIDEGATE_REDIS_URL": "redis://r:6379" } },
        "autoscaling": { "enabled": true },
        "ingress": { "enabled": true, "className": "nginx", "host": "ws.example.com", "tlsSecretName": "tls" },
        "networkPolicy": { "clients": [{ "podSelector": { "matchLabels": { "app": "ingress" } } }] },
        "serviceMonitor": { "enabled": true, "labels": { "release": "monitoring" } },
        "imagePullSecrets": [{ "name": "registry" }],
        "podAnnotations": { "a": "b" },
        "nodeSelector": { "disk": "ssd" },
        "tolerations": [{ "operator": "Exists" }],
        "affinity": { "nodeAffinity": {} },
        "priorityClassName": "high",
    })
}

#[tokio::test]
async fn what_helm_creates_is_what_kubernetes_knows() {
    let plain = created(json!({})).await;
    for kind in [
        "Deployment",
        "Service",
        "ConfigMap",
        "Secret",
        "ServiceAccount",
        "PodDisruptionBudget",
        "NetworkPolicy",
    ] {
        assert!(has(&plain, kind), "{kind}");
    }
    for kind in ["HorizontalPodAutoscaler", "Ingress", "ServiceMonitor"] {
        assert!(!has(&plain, kind), "{kind} is off");
    }
    let all = created(everything_on()).await;
    let monitor = of_kind(&all, "ServiceMonitor");
    assert_eq!(monitor["spec"]["endpoints"][0]["port"], "admin");
    // The service that it selects is the one with the admin port.
    let wanted = monitor["spec"]["selector"]["matchLabels"].as_object().expect("labels");
    let selected: Vec<_> = all
        .iter()
        .filter(|it| it["kind"] == "Service")
        .filter(|it| wanted.iter().all(|(key, value)| it["metadata"]["labels"][key] == *value))
        .map(|it| &it["spec"]["ports"][0]["name"])
        .collect();
    assert_eq!(selected, [&json!("admin")]);
}

/// A key that the kind does not have is a problem, not passed over.
#[tokio::test]
async fn the_check_notices_what_kubernetes_does_not_know() {
    let mut deployment = of_kind(&created(json!({})).await, "Deployment").clone();
    deployment["spec"]["template"]["spec"]["containers"][0]["lifecycle"]["preStop"] =
        json!({ "slumber": { "seconds": 5 } });
    let input = json!([deployment]).to_string();
    let mut validate = python("validate.py");
    let validate = validate.args(["kubernetes", KUBERNETES[1]]);
    let problems = run_with_input(validate, input.as_bytes()).await.json();
    assert!(problems[0].as_str().is_some_and(|it| it.contains("slumber")), "{problems}");
}

/// The gateway takes the file that the chart writes, and it agrees with ports and grace period.
#[tokio::test]
async fn the_gateway_takes_the_charts_configuration() {
    for values in [
        json!({ "drain": { "deadlineSeconds": 100, "spreadSeconds": 60, "preStopSleepSeconds": 7 } }),
        json!({ "replicas": 1, "store": { "kind": "memory" } }),
        json!({ "store": { "url": "redis://redis:6379" } }),
    ] {
        let objects = created(values.clone()).await;
        let toml = of_kind(&objects, "ConfigMap")["data"]["gateway.toml"].as_str().expect("a file");
        let folder = TempDir::new().expect("a temporary folder");
        let path = folder.path().join("gateway.toml");
        std::fs::write(&path, toml).expect("a file of ours");
        let mut check = Command::new(GATEWAY);
        check.arg("check").arg(&path).env_clear().env("TIDEGATE_SECRET", "s");
        if toml.contains("TIDEGATE_REDIS_URL") {
            check.env("TIDEGATE_REDIS_URL", "redis://:password@redis:6379");
        }
        let said = run(&mut check).await.expect_well();
        assert_eq!(said.err, "", "warnings");
        let pod = pod(&objects);
        let ports = &pod["containers"][0]["ports"];
        for port in ports.as_array().expect("ports") {
            let address = format!("address = \"0.0.0.0:{}\"", port["containerPort"]);
            assert!(toml.contains(&address), "{address} in\n{toml}");
        }
    }
}

#[tokio::test]
async fn a_leaving_pod_has_time_to_drain() {
    let drain = json!({ "deadlineSeconds": 100, "spreadSeconds": 60, "preStopSleepSeconds": 7 });
    let objects = created(json!({ "drain": drain })).await;
    let pod = pod(&objects);
    let grace = pod["terminationGracePeriodSeconds"].as_u64().expect("a number");
    let container = &pod["containers"][0];
    let sleep = container["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().expect("a number");
    assert_eq!(sleep, 7);
    assert!(grace > sleep + 100, "{grace} s for a sleep of {sleep} s and a drain of 100 s");
    assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/health/ready");
    assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/health/live");
}

#[tokio::test]
async fn the_pods_may_do_little() {
    let objects = created(json!({})).await;
    let pod = pod(&objects);
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["automountServiceAccountToken"], false);
    let container = &pod["containers"][0]["securityContext"];
    assert_eq!(container["readOnlyRootFilesystem"], true);
    assert_eq!(container["allowPrivilegeEscalation"], false);
    assert_eq!(container["capabilities"], json!({ "drop": ["ALL"] }));
}

#[tokio::test]
async fn it_scales_by_connections_and_cpu() {
    let objects = created(everything_on()).await;
    let metrics = &of_kind(&objects, "HorizontalPodAutoscaler")["spec"]["metrics"];
    assert_eq!(metrics[0]["pods"]["metric"]["name"], "tidegate_connections");
    assert_eq!(metrics[1]["resource"]["name"], "cpu");
    // Whoever scales by itself has no number beside it that each upgrade would bring back.
    assert!(of_kind(&objects, "Deployment")["spec"]["replicas"].is_null());
}

/// A changed secret or configuration changes the pods, else nobody would notice it.
#[tokio::test]
async fn a_change_rolls_the_pods() {
    let annotations = async |values: Value| {
        let objects = created(values).await;
        of_kind(&objects, "Deployment")["spec"]["template"]["metadata"]["annotations"].clone()
    };
    let before = annotations(json!({ "secret": { "values": { "A": "1" } } })).await;
    assert_eq!(before, annotations(json!({ "secret": { "values": { "A": "1" } } })).await);
    let secret = annotations(json!({ "secret": { "values": { "A": "2" } } })).await;
    assert_ne!(before["checksum/secret"], secret["checksum/secret"]);
    let spread = json!({ "deadlineSeconds": 30, "spreadSeconds": 10, "preStopSleepSeconds": 5 });
    let config = annotations(json!({ "drain": spread })).await;
    assert_ne!(before["checksum/config"], config["checksum/config"]);
}

#[tokio::test]
async fn a_secret_of_the_users_own_is_taken_and_none_is_made() {
    let objects = created(json!({ "secret": { "existingSecret": "mine" } })).await;
    assert!(!has(&objects, "Secret"));
    let from = &pod(&objects)["containers"][0]["envFrom"];
    assert_eq!(from, &json!([{ "secretRef": { "name": "mine" } }]));
}

#[tokio::test]
async fn values_that_cannot_work_are_refused_with_a_reason() {
    for (values, reason) in [
        (json!({ "replica": 2 }), "additional properties 'replica' not allowed"),
        (json!({ "store": { "kind": "memory" } }), "is for one replica"),
        (json!({ "store": { "url": "localhost" } }), "/store/url"),
        (
            json!({ "drain": { "deadlineSeconds": 5, "spreadSeconds": 9, "preStopSleepSeconds": 1 } }),
            "drain.spreadSeconds must be less",
        ),
        (
            json!({ "autoscaling": { "enabled": true, "targetConnections": 0, "targetCPUPercent": 0 } }),
            "autoscaling needs targetConnections or targetCPUPercent",
        ),
        (json!({ "ingress": { "enabled": true } }), "/ingress/host"),
    ] {
        let refusal = refusal(values.clone()).await;
        assert!(refusal.contains(reason), "{values}: {refusal}");
    }
}

/// The notes name the service that there is.
#[tokio::test]
async fn the_notes_lead_to_the_gateway() {
    let said = helm(&json!({})).await;
    let notes = said["notes"].as_str().expect("notes");
    let objects = said["objects"].as_array().expect("objects");
    let service = objects.iter().find(|it| it["spec"]["type"] == "ClusterIP").expect("a service");
    let address =
        format!("ws://{}.gateways.svc:80/", service["metadata"]["name"].as_str().unwrap());
    assert!(notes.contains(&address), "{notes}");
    assert!(notes.contains("There is no secret yet"), "{notes}");
}
