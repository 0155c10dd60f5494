//! That any text, however damaged, gives a configuration or problems and never a panic.

use super::{
    super::{report::Report, sections},
    *,
};

/// The rest of a broken file is deserialized: whatever stands in whichever place, the schema must
/// have found it, so that every problem has its key and nothing is left for `serde` to refuse.
#[test]
fn every_wrong_value_in_every_place_is_found_by_the_schema() {
    let values = [
        "\"x\"",
        "\"\"",
        "\"none\"",
        "-1",
        "0",
        "1.5",
        "nan",
        "true",
        "[]",
        "{}",
        "[1]",
        "[\"x\"]",
        "{ a = 1 }",
        "{ env = 1 }",
        "{ env = \"A\" }",
        "1979-05-27",
        "99999999999",
        "99999999999999999999",
        "[{}]",
        "{ rate = {}, burst = [] }",
        "{ rate = 1, burst = 1.5 }",
        "{ file = 1 }",
        "{ file = \"absent\", env = \"A\" }",
        "{ Statement = [{ Effect = 1979-05-27 }, nan] }",
        "[\"RS256\", \"HS256\", 7]",
    ];
    // Every fourth line at a time: one by one takes long, all at once leaves nothing good beside.
    for (value, first) in values.iter().flat_map(|value| (0..4).map(move |first| (value, first))) {
        let lines = FULL.lines().enumerate().map(|(number, line)| match line.split_once(" = ") {
            Some((key, _)) if number % 4 == first => format!("{key} = {value}"),
            _ => line.to_owned(),
        });
        let text = lines.collect::<Vec<_>>().join("\n");
        let mut report = Report::new("gateway.toml", &text);
        assert!(
            sections(&text, &Overrides::default(), &mut report).is_some(),
            "{value} from line {first}"
        );
        for problem in report.finish().err().iter().flat_map(Problems::iter) {
            assert!(!problem.key.is_empty(), "{value}: {problem}");
        }
    }
}

proptest! {
    #[test]
    fn any_text_gives_a_configuration_or_problems_and_no_panic(text in any::<String>()) {
        if let Err(problems) = parse(&text, Path::new("."), "gateway.toml") {
            prop_assert!(problems.iter().len() > 0);
        }
    }

    #[test]
    fn a_damaged_file_gives_a_configuration_or_problems_and_no_panic(
        at in 0..FULL.len(),
        length in 0..40usize,
        put in "[\\[\\]{}\"'=.,$#a-z0-9\\n ]{0,12}",
    ) {
        let end = (at + length).min(FULL.len());
        let text = format!("{}{put}{}", &FULL[..at], &FULL[end..]);
        if let Err(problems) = parse(&text, Path::new("/absent"), "gateway.toml") {
            let lines = text.matches('\n').count() + 1;
            prop_assert!(problems.iter().len() > 0);
            for problem in problems.iter() {
                prop_assert!(problem.line.is_some_and(|line| (1..=lines).contains(&line)));
            }
        }
    }
}
