//! A page of Markdown, as far as it is looked at.
//!
//! In:  a file below the repository's root. Out: its blocks by language, headings, links.
//!
//! Holds always: what stands in a block is no heading and no link.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

/// Where the repository is.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("gateway/ is in the root").to_owned()
}

/// One page.
pub(crate) struct Page {
    /// From the root, such as `docs/groups.md`.
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) blocks: Vec<Block>,
    /// Lines outside of blocks.
    prose: Vec<String>,
}

/// What stands between two fences.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) language: String,
    /// With a line break at its end.
    pub(crate) text: String,
    /// Where its first line is.
    pub(crate) line: usize,
}

impl Page {
    pub(crate) fn read(name: &str) -> Self {
        let path = root().join(name);
        let text =
            fs::read_to_string(&path).unwrap_or_else(|err| panic!("{}: {err}", path.display()));
        let (mut blocks, mut prose) = (Vec::new(), Vec::new());
        let mut open: Option<Block> = None;
        for (number, line) in text.lines().enumerate() {
            match (&mut open, line.strip_prefix("```")) {
                (Some(_), Some("")) => blocks.extend(open.take()),
                (Some(block), _) => block.text.extend([line, "\n"]),
                (None, Some(language)) => {
                    let language = language.to_owned();
                    open = Some(Block { language, text: String::new(), line: number + 2 });
                }
                (None, None) => prose.push(line.to_owned()),
            }
        }
        assert!(open.is_none(), "{name} has a block without an end");
        Self { name: name.to_owned(), text, blocks, prose }
    }

    /// The texts of a language's blocks; so many there are.
    pub(crate) fn all<const N: usize>(&self, language: &str) -> [String; N] {
        let found = self.blocks.iter().filter(|block| block.language == language);
        let found: Vec<_> = found.map(|block| block.text.clone()).collect();
        found
            .try_into()
            .unwrap_or_else(|found: Vec<_>| panic!("{}: {N} of {language}: {found:#?}", self.name))
    }

    /// The first heading.
    pub(crate) fn title(&self) -> &str {
        let title = self.prose.iter().find_map(|line| line.strip_prefix("# "));
        title.unwrap_or_else(|| panic!("{} has no title", self.name))
    }

    /// What a link may name after `#`, as GitHub makes it of headings.
    pub(crate) fn anchors(&self) -> Vec<String> {
        let mut seen: HashMap<String, usize> = HashMap::new();
        let headings = self.prose.iter().filter_map(|line| {
            let text = line.trim_start_matches('#').strip_prefix(' ')?;
            line.starts_with('#').then_some(text)
        });
        headings
            .map(|heading| {
                let slug: String = heading
                    .to_lowercase()
                    .chars()
                    .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                    .map(|c| if c == ' ' { '-' } else { c })
                    .collect();
                let times = seen.entry(slug.clone()).or_default();
                *times += 1;
                if *times == 1 { slug } else { format!("{slug}-{}", *times - 1) }
            })
            .collect()
    }

    /// The targets of its links.
    pub(crate) fn links(&self) -> Vec<String> {
        let prose = self.prose.join("\n");
        let targets = prose.split("](").skip(1);
        targets.filter_map(|rest| rest.split(')').next().map(str::to_owned)).collect()
    }
}

/// The pages of a folder, by name.
pub(crate) fn pages_of(folder: &str) -> Vec<Page> {
    let entries = fs::read_dir(root().join(folder)).expect("a folder of the project");
    let mut names: Vec<_> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.ends_with(".md"))
        .collect();
    names.sort_unstable();
    names.iter().map(|name| Page::read(&format!("{folder}/{name}"))).collect()
}

/// The README and `docs/`.
pub(crate) fn book() -> Vec<Page> {
    let mut pages = pages_of("docs");
    pages.insert(0, Page::read("README.md"));
    pages
}
