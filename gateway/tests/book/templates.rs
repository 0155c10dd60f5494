//! `docs/templates.md`: the command that renders one. Its configurations are tried against services in
//! `gateway/tests/clients/aws_services.rs`.

use crate::{page::Page, terminal::Desk};

#[tokio::test]
async fn the_command_renders_a_template_with_all_that_it_may_read() {
    let [command] = Page::read("docs/templates.md").all("sh");
    let desk = Desk::new();
    for (file, text) in [
        (
            "t.vtl",
            "$input.path('$.text') $context.stage $input.params('room') $stageVariables.host $more",
        ),
        ("message.json", r#"{"text": "hi"}"#),
        ("context.json", r#"{"stage": "prod"}"#),
        ("params.json", r#"{"path": {}, "querystring": {"room": "red"}, "header": {}}"#),
        ("variables.json", r#"{"host": "inner"}"#),
        ("vars.json", r#"{"more": "and more"}"#),
    ] {
        desk.save(file, text);
    }
    assert_eq!(desk.shell().run(&command).await, "hi prod red inner and more");
}
