//! `tidegate render`, with the real program.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder for files") }
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).expect("a file that can be written");
        path
    }

    /// Renders a template with files for the other options, given as `(option, text)`.
    fn render(&self, template: &str, options: &[(&str, &str)]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.arg("render").arg("--template").arg(self.write("t.vtl", template));
        for (option, text) in options {
            command.arg(format!("--{option}")).arg(self.write(option, text));
        }
        command.output().expect("the program runs")
    }
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).expect("the output is text")
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("messages are text")
}

#[test]
fn render_prints_exactly_the_output_with_everything_a_template_may_read() {
    let template = "#set($m = $input.path('$'))\n\
        $m.text|$input.json('$.list')|$context.connectionId|$stageVariables.env|\
        $input.params('id')|$extra[1]";
    let output = Files::new().render(
        template,
        &[
            ("body", r#"{"text":"hi","list":[1, 2]}"#),
            ("context", r#"{"connectionId":"c-1"}"#),
            ("params", r#"{"path":{},"querystring":{"id":"7"},"header":{}}"#),
            ("stage-variables", r#"{"env":"dev"}"#),
            ("vars", r#"{"extra":["a","b"]}"#),
        ],
    );
    assert_eq!(stdout(&output), "hi|[1,2]|c-1|dev|7|b");
    assert_eq!(stderr(&output), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn render_without_other_files_has_an_empty_payload() {
    let output = Files::new().render("$input.body [$context.stage]\n", &[]);
    assert_eq!(stdout(&output), "{} []\n");
}

#[test]
fn a_body_need_not_be_json() {
    let output = Files::new().render("$input.json('$')", &[("body", "a=b")]);
    assert_eq!(stdout(&output), "\"a=b\"");
}

#[test]
fn a_template_that_does_not_parse_is_named_with_line_and_column() {
    let output = Files::new().render("one\n  #if($x) two", &[]);
    assert_eq!(stdout(&output), "");
    assert!(stderr(&output).contains("t.vtl: line 2, column 3: "), "{}", stderr(&output));
    assert_eq!(output.status.code(), Some(65));
}

#[test]
fn a_template_that_fails_is_named_with_line_and_column_and_prints_nothing() {
    let output = Files::new().render("one\n$l.get(9)", &[("vars", r#"{"l":[1]}"#)]);
    assert_eq!(stdout(&output), "");
    assert!(stderr(&output).contains("t.vtl: line 2, column 1: "), "{}", stderr(&output));
    assert_eq!(output.status.code(), Some(65));
    let output = Files::new().render("$input.json('$.a')", &[("body", "{bad")]);
    assert!(stderr(&output).contains("the body is not JSON"), "{}", stderr(&output));
    assert_eq!(output.status.code(), Some(65));
}

#[test]
fn a_file_that_is_missing_or_not_text_exits_with_66() {
    let files = Files::new();
    let missing = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["render", "--template", "no-such-template.vtl"])
        .output()
        .expect("the program runs");
    assert!(stderr(&missing).contains("no-such-template.vtl: cannot be read"));
    assert_eq!(missing.status.code(), Some(66));
    let template = files.write("t.vtl", [0xff, 0xfe]);
    let not_text = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .arg("render")
        .arg("--template")
        .arg(template)
        .output()
        .expect("the program runs");
    assert_eq!(not_text.status.code(), Some(66));
}

#[test]
fn a_file_that_is_not_the_json_it_must_be_exits_with_64_and_is_named() {
    let cases = [
        ("context", "{", "context: not JSON"),
        ("vars", "[1]", "vars: not a JSON object"),
        ("params", r#"{"query":{}}"#, r#"params: "query" must be path, querystring or header"#),
        ("params", r#"{"path":{"id":7}}"#, r#"params: "id" must be a string"#),
    ];
    for (option, text, message) in cases {
        let output = Files::new().render("x", &[(option, text)]);
        assert!(stderr(&output).contains(message), "{}", stderr(&output));
        assert_eq!(stdout(&output), "");
        assert_eq!(output.status.code(), Some(64));
    }
}
