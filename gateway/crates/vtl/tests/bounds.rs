//! Every template ends, whatever it asks for, and nothing that is read as one breaks the program.

use proptest::prelude::*;
use tidegate_vtl::{
    Bindings, ContextAfter, Fault, Json, Limits, MAX_TEMPLATE_BYTES, RenderError, RenderErrorKind,
    Rendered, Template,
};

const BODY: &str = r#"{"name":"Ann","tags":["a","b"],"deep":{"er":[{"x":1},{"x":2}]}}"#;

fn render(text: &str, limits: &Limits) -> Result<Rendered, RenderError> {
    let context =
        Json::parse(r#"{"requestId":"r","responseOverride":{"header":{}}}"#).expect("it is JSON");
    let bindings = Bindings { body: Some(BODY), context: &context, ..Bindings::default() };
    Template::compile(text).unwrap_or_else(|err| panic!("{text}: {err}")).render(&bindings, limits)
}

fn failure(text: &str) -> RenderErrorKind {
    render(text, &Limits::default()).expect_err(text).kind
}

/// `body` inside `levels` loops of 1000 iterations.
fn loops(levels: usize, body: &str) -> String {
    format!("{}{body}{}", "#foreach($i in [1..1000])".repeat(levels), "#end".repeat(levels))
}

#[test]
fn endless_work_ends_at_the_limit_of_steps() {
    assert_eq!(failure(&loops(4, "")), RenderErrorKind::TooManySteps(1_000_000));
    assert_eq!(failure("#set($r = [1..2000000000])"), RenderErrorKind::TooManySteps(1_000_000));
    let growing = format!("#set($l = [1]){}", loops(1, "$l.addAll($l)"));
    assert_eq!(failure(&growing), RenderErrorKind::TooManySteps(1_000_000));
    let many = format!("#set($a = []){}$a", loops(1, "#set($a = [$a, $a])"));
    assert!(matches!(failure(&many), RenderErrorKind::TooDeep(200)));
    let wide = format!("#set($a = [0]){}$a", "#set($a = [$a, $a])".repeat(60));
    assert_eq!(failure(&wide), RenderErrorKind::TooManySteps(1_000_000));
}

#[test]
fn a_text_that_doubles_ends_at_the_limit_of_output() {
    let max = 10 * 1024 * 1024;
    for double in ["#set($s = \"$s$s\")", "#set($s = $s + $s)", "#set($s = $s.concat($s))"] {
        let text = format!("#set($s = 'abcdefgh'){}", loops(1, double));
        assert_eq!(failure(&text), RenderErrorKind::OutputTooLong(max), "{double}");
    }
    let replace = format!("#set($s = 'a'){}", loops(1, "#set($s = $s.replace('a', 'aaaa'))"));
    assert_eq!(failure(&replace), RenderErrorKind::OutputTooLong(max));
    // Each match costs a step, which runs out first.
    let replace = format!("#set($s = 'a'){}", loops(1, "#set($s = $s.replaceAll('a', 'aaaa'))"));
    assert_eq!(failure(&replace), RenderErrorKind::TooManySteps(1_000_000));
}

#[test]
fn a_number_that_grows_without_end_fails() {
    let text = format!("#set($n = 3){}", loops(1, "#set($n = $n * $n)"));
    assert!(matches!(failure(&text), RenderErrorKind::Method(_)));
}

#[test]
fn a_block_that_names_itself_ends_at_the_limit_of_depth() {
    assert_eq!(failure("#define($b)x$b#end$b"), RenderErrorKind::TooDeep(200));
    assert_eq!(failure("#define($b)#set($s = \"$b\")#end$b"), RenderErrorKind::TooDeep(200));
}

#[test]
fn lists_that_hold_each_other_end() {
    let text = "#set($a = [])#set($b = [$a])#set($d = $a.add($b))";
    assert_eq!(failure(&format!("{text}$a")), RenderErrorKind::TooDeep(200));
    assert_eq!(failure(&format!("{text}#if($a == $b)#end")), RenderErrorKind::TooDeep(200));
    let own = render("#set($m = {})#set($m.self = $m)$m", &Limits::default()).unwrap();
    assert_eq!(own.output, "{self=(this Map)}");
}

#[test]
fn a_context_that_json_cannot_hold_is_absent_and_does_not_fail_the_render() {
    let rendered = render("#set($context.a = $context)x", &Limits::default()).unwrap();
    assert_eq!((rendered.output.as_str(), rendered.context), ("x", ContextAfter::Lost));
}

#[test]
fn a_structure_of_any_depth_is_dropped() {
    let text = format!("#set($a = []){}.", loops(2, "#set($a = [$a])"));
    let limits = Limits { max_steps: 100_000_000, ..Limits::default() };
    assert_eq!(render(&text, &limits).unwrap().output, ".");
}

#[test]
fn nesting_is_refused_at_compile_before_it_is_too_deep_to_walk() {
    let deep = 10_000;
    let nested = [
        "#if(true)".repeat(deep),
        format!("#if({}true)", "(".repeat(deep)),
        format!("#if({}true)", "!".repeat(deep)),
        format!("#set($a = {}", "[".repeat(deep)),
        format!("#set($a = {}", "{".repeat(deep)),
        "$a[".repeat(deep),
        "$a.b(".repeat(deep),
        "#define($a)".repeat(deep),
        format!("#set($a = 1{})", " + 1".repeat(deep)),
        format!("#if({}true)x#end", "true || (".repeat(deep)),
    ];
    for text in nested {
        let err = Template::compile(&text).expect_err(&text[..20]);
        assert!(err.message.contains("at most"), "{err}");
    }
}

#[test]
fn the_deepest_template_that_compiles_renders_or_says_that_it_is_too_deep() {
    let parentheses =
        |levels: usize| format!("#if({}true{})x#end", "(!".repeat(levels), ")".repeat(levels));
    let lists =
        |levels: usize| format!("#set($a = {}{})$a", "[".repeat(levels), "]".repeat(levels));
    let ifs = |levels: usize| format!("{}x{}", "#if(true)".repeat(levels), "#end".repeat(levels));
    for text in [&parentheses as &dyn Fn(usize) -> String, &lists, &ifs] {
        let deepest = (1..100).rev().map(text).find_map(|text| Template::compile(&text).ok());
        let rendered = deepest
            .expect("a shallow one compiles")
            .render(&Bindings::default(), &Limits::default());
        assert!(rendered.is_ok() || matches!(rendered, Err(err) if err.fault() == Fault::ApiOwner));
    }
}

#[test]
fn a_template_beyond_the_limit_of_size_is_refused() {
    assert!(Template::compile(&"x".repeat(MAX_TEMPLATE_BYTES)).is_ok());
    assert!(Template::compile(&"x".repeat(MAX_TEMPLATE_BYTES + 1)).is_err());
}

#[test]
fn the_largest_templates_of_one_sign_are_refused_or_taken_at_once() {
    for sign in ["$", "#", "\\", "#a(", "$a", "#*", "\"", "#[[", "${", "$!", "\\$a", "#set(", "\r"]
    {
        let _ = Template::compile(&sign.repeat(MAX_TEMPLATE_BYTES / sign.len()));
    }
}

#[test]
fn who_is_at_fault_is_told() {
    let template = Template::compile("$input.json('$.a')").unwrap();
    let bindings = Bindings { body: Some("{bad"), ..Bindings::default() };
    let err = template.render(&bindings, &Limits::default()).unwrap_err();
    assert_eq!(err.fault(), Fault::Client);
    let err = render("one\n two $input.path('$.tags').get(9)", &Limits::default()).unwrap_err();
    assert_eq!((err.fault(), err.line, err.column), (Fault::ApiOwner, 2, 6));
}

#[test]
fn a_parse_error_inside_a_string_is_where_it_is_in_the_template() {
    let err = Template::compile("é\n#set($a = \"b \"\"c\"\" ${d\")").unwrap_err();
    assert_eq!((err.line, err.column), (2, 20));
}

/// What templates are made of, so that random ones reach further than the first sign.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "$",
        "#",
        "\\",
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        "\"",
        "'",
        " ",
        "\n",
        ".",
        ",",
        "!",
        "=",
        "==",
        " - ",
        "+ ",
        "1",
        "-1",
        "1..3",
        "x",
        "$x",
        "$!x",
        "${x}",
        "$x.y",
        "$x.add(1)",
        "#set($x = [1..4])",
        "#set($x = {'a': $x})",
        "#set($x = \"$x$x\")",
        "#set($x.y = 1)",
        "#if($x)",
        "#if($x == 1 && !$y)",
        "#elseif(true)",
        "#else",
        "#end",
        "#{end}",
        "#foreach($i in $x)",
        "#foreach($j in [1..900])",
        "$foreach.index",
        "$foreach.parent",
        "#break",
        "#stop",
        "#define($d)",
        "$d",
        "#macro(m)",
        "#m()",
        "##",
        "#*",
        "*#",
        "#[[",
        "]]#",
        "$input.body",
        "$input.json('$..x')",
        "$input.path('$')",
        "$input.params()",
        "$x.put('k', $x)",
        "$x.add($x)",
        "$x.split('')",
        "$x.replaceAll('(.)', '$1$1')",
        "$util.escapeJavaScript($x)",
        "$context",
        "#set($context.responseOverride.status = $x)",
        "é",
        "😀",
        "\u{0}",
        "\\$x",
        "\\#if",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

fn small() -> Limits {
    Limits {
        max_steps: 5_000,
        max_depth: 60,
        max_output_bytes: 500,
        max_iterations: 1000,
        ..Limits::default()
    }
}

/// Whatever comes of a text, it is within the limits and its places are in the text.
fn check(text: &str) -> Result<(), TestCaseError> {
    let bindings = Bindings { body: Some(BODY), ..Bindings::default() };
    let lines = text.split('\n').count();
    match Template::compile(text) {
        Err(err) => prop_assert!(err.line as usize <= lines && err.column > 0),
        Ok(template) => match template.render(&bindings, &small()) {
            Ok(rendered) => prop_assert!(rendered.output.len() <= small().max_output_bytes),
            Err(err) => prop_assert!(err.line as usize <= lines && err.column > 0),
        },
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_text_without_references_directives_and_escapes_renders_as_itself(text in "[^$#\\\\]{0,200}") {
        prop_assert_eq!(render(&text, &Limits::default()).unwrap().output, text);
    }

    #[test]
    fn a_text_block_renders_as_itself(text in "[^\\]]{0,100}") {
        prop_assert_eq!(render(&format!("#[[{text}]]#"), &Limits::default()).unwrap().output, text);
    }

    #[test]
    fn any_text_compiles_and_renders_within_its_limits_or_is_refused(text in any::<String>()) {
        check(&text)?;
    }

    #[test]
    fn any_row_of_pieces_compiles_and_renders_within_its_limits_or_is_refused(text in pieces()) {
        check(&text)?;
    }

    #[test]
    fn any_body_is_json_text_again_or_is_refused(body in "[\\[{][\\[\\]{},:\"'a1.e \\\\-]{0,20}") {
        let template = Template::compile("$input.json('$')").unwrap();
        let bindings = Bindings { body: Some(&body), ..Bindings::default() };
        if let Ok(rendered) = template.render(&bindings, &Limits::default()) {
            let again = Bindings { body: Some(&rendered.output), ..Bindings::default() };
            prop_assert_eq!(template.render(&again, &Limits::default()).unwrap().output, rendered.output);
        }
    }

    #[test]
    fn a_double_reads_back_from_what_it_prints(double in any::<f64>()) {
        prop_assume!(double.is_finite());
        let text = tidegate_vtl::Number::Double(double).to_string();
        prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), double.to_bits());
    }

    #[test]
    fn any_pattern_and_replacement_answer_or_fail(
        pattern in "[a-c.*+?\\[\\]()|^$\\\\dwQE{}0-9&~-]{0,12}",
        replacement in "[a$1{}\\\\]{0,5}",
        text in "[a-c0-9é ]{0,12}",
    ) {
        let template = Template::compile("$s.replaceAll($p, $r) $s.split($p) $s.matches($p)").unwrap();
        let pairs = [("p", pattern), ("r", replacement), ("s", text)];
        let members = pairs.map(|(key, text)| (key, Json::String(text.into())));
        let bindings = Bindings { variables: &Json::Object(members.into_iter().collect()), ..Bindings::default() };
        let _ = template.render(&bindings, &Limits::default());
    }
}
