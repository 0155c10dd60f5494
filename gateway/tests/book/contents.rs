//! The book's order, its links, and the commands that it names.

use std::{collections::BTreeSet, process::Command};

use crate::{
    GATEWAY,
    page::{Page, book, pages_of, root},
};

/// Pages of `docs/` that stand beside the book.
const BESIDE: [&str; 5] =
    ["README.md", "architecture.md", "configuration.md", "runbook.md", "sizing.md"];

/// The chapters, as the table of contents has them: title and file.
fn chapters() -> Vec<(String, String)> {
    let contents = Page::read("docs/README.md");
    let numbered = contents.text.lines().filter_map(|line| {
        let (number, rest) = line.split_once(". [")?;
        Some((number.parse::<usize>().ok()?, rest))
    });
    numbered
        .enumerate()
        .map(|(index, (number, rest))| {
            assert_eq!(number, index + 1, "the chapters are numbered one by one");
            let (title, rest) = rest.split_once("](").expect("a link");
            let (file, _) = rest.split_once(')').expect("the link's end");
            (title.to_owned(), file.to_owned())
        })
        .collect()
}

#[test]
fn every_page_is_a_chapter_or_stands_beside_the_book() {
    let of_contents = chapters().into_iter().map(|(_, file)| file);
    let known: BTreeSet<_> = of_contents.chain(BESIDE.map(str::to_owned)).collect();
    let there = pages_of("docs").into_iter();
    let there: BTreeSet<_> =
        there.filter_map(|page| Some(page.name.split_once('/')?.1.into())).collect();
    assert_eq!(there, known);
}

#[test]
fn each_chapter_leads_to_the_ones_before_and_after_it() {
    let chapters = chapters();
    for (index, (title, file)) in chapters.iter().enumerate() {
        let page = Page::read(&format!("docs/{file}"));
        assert_eq!(page.title(), title, "docs/README.md calls {file} so");
        let mut footer = "[Contents](README.md)".to_owned();
        let neighbours = [
            ("Previous", index.checked_sub(1).and_then(|before| chapters.get(before))),
            ("Next", chapters.get(index + 1)),
        ];
        for (word, neighbour) in neighbours {
            if let Some((title, file)) = neighbour {
                footer += &format!(" · {word}: [{title}]({file})");
            }
        }
        assert!(page.text.ends_with(&format!("\n\n---\n{footer}\n")), "{file} ends with\n{footer}");
    }
}

#[test]
fn links_between_the_documents_lead_somewhere() {
    let mut pages = book();
    for folder in ["docs/adr", "load-tests", "fuzz", "deploy"] {
        pages.extend(pages_of(folder));
    }
    for folder in std::fs::read_dir(root().join("examples")).expect("the examples").flatten() {
        if folder.path().join("README.md").exists() {
            pages.extend(pages_of(&format!("examples/{}", folder.file_name().display())));
        }
    }
    for page in &pages {
        let folder = root().join(&page.name);
        let folder = folder.parent().expect("a page is in a folder");
        for link in page.links() {
            if link.contains("://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if path.is_empty() { root().join(&page.name) } else { folder.join(path) };
            assert!(target.exists(), "{} links to {link}: there is no such file", page.name);
            if !anchor.is_empty() {
                let name = target.canonicalize().expect("it is there");
                let root = root().canonicalize().expect("the root is there");
                let name = name.strip_prefix(&root).expect("inside").display().to_string();
                let anchors = Page::read(&name).anchors();
                let known = anchors.iter().any(|known| known == anchor);
                assert!(known, "{} links to {link}; {name} has {anchors:?}", page.name);
            }
        }
    }
}

/// What `tidegate --help` lists.
fn commands() -> BTreeSet<String> {
    let help = Command::new(GATEWAY).arg("--help").output().expect("run tidegate");
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let (_, list) = help.split_once("Commands:\n").expect("a list of commands");
    let names = list.lines().map_while(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn the_commands_of_the_documents_exist() {
    let known = commands();
    for page in book().into_iter().chain(pages_of("examples/chat")) {
        for rest in page.text.split("`tidegate ").skip(1) {
            let command = rest.split(|c: char| !c.is_ascii_lowercase() && c != '-').next();
            let command = command.unwrap_or("");
            let exists = command.is_empty() || command.starts_with('-') || known.contains(command);
            assert!(exists, "{} names `tidegate {command}`", page.name);
        }
    }
}

#[test]
fn the_reference_has_every_command() {
    let reference = Page::read("docs/reference.md");
    let rows = reference.text.lines().filter_map(|line| line.strip_prefix("| `tidegate "));
    let listed = rows.filter_map(|row| row.split([' ', '`']).next().map(str::to_owned));
    assert_eq!(listed.collect::<BTreeSet<_>>(), commands());
}
