//! Which files of a crate use which others, read from its source.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// What the root of a crate is called among its modules.
pub(crate) const ROOT: &str = "crate";

/// A place in the source at which the file of one module declares or names another's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    /// The file.
    pub(crate) file: PathBuf,
    /// The line, counted from 1.
    pub(crate) line: usize,
    /// The module that the file is, for example `label::journal`.
    pub(crate) from: String,
    /// The module whose file holds what is named. It is the one that the path goes through, so a name
    /// that `lib.rs` or a `mod.rs` passes on is an edge to that.
    pub(crate) to: String,
}

impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, line) = (self.file.display(), self.line);
        write!(f, "{file}, line {line}: {} uses {}", self.from, self.to)
    }
}

/// The modules of the crate whose root, `lib.rs` or `main.rs`, is in this folder: those that are files,
/// but for those of tests.
pub(crate) fn modules(folder: &Path) -> Vec<String> {
    Files::of_crate(folder).0.into_keys().collect()
}

/// What the files of that crate use of one another: by `mod`, by `use`, and by paths within the code.
/// What stands under `#[cfg(test)]` is not counted.
pub(crate) fn dependencies(folder: &Path) -> Vec<Edge> {
    let files = Files::of_crate(folder);
    let mut edges = Vec::new();
    for (module, source) in &files.0 {
        let mut reader = Reader {
            files: &files,
            module,
            file: &source.path,
            edges: Vec::new(),
        };
        reader.read(source.tokens.clone(), &segments(module));
        reader.edges.retain(|edge| edge.to != *module);
        edges.append(&mut reader.edges);
    }
    edges
}

/// The modules of a circle, if there is one: each uses the next, and the last the first.
pub(crate) fn circle<'a>(
    edges: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Option<Vec<&'a str>> {
    let mut uses: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (from, to) in edges {
        uses.entry(from).or_default().insert(to);
        uses.entry(to).or_default();
    }
    // Whatever uses nothing that is left is in no circle.
    while let Some(free) = uses
        .iter()
        .find(|(_, used)| used.is_empty())
        .map(|(free, _)| *free)
    {
        uses.remove(free);
        uses.values_mut().for_each(|used| {
            used.remove(free);
        });
    }
    let mut way = vec![*uses.keys().next()?];
    loop {
        let next = uses.get(way.last()?)?.first()?;
        if let Some(place) = way.iter().position(|module| module == next) {
            return Some(way.split_off(place));
        }
        way.push(next);
    }
}

/// The files of a crate, by their modules.
struct Files(BTreeMap<String, Source>);

struct Source {
    path: PathBuf,
    tokens: TokenStream,
}

impl Files {
    fn of_crate(folder: &Path) -> Self {
        let roots = ["lib.rs", "main.rs"].map(|name| folder.join(name));
        let root = roots.iter().find(|path| path.exists());
        let root = root.unwrap_or_else(|| panic!("no lib.rs or main.rs in {}", folder.display()));
        let mut files = Self(BTreeMap::new());
        files.add(Vec::new(), root.clone(), folder);
        files
    }

    /// Adds a module and those below it, whose files lie in a folder.
    fn add(&mut self, module: Vec<String>, path: PathBuf, folder: &Path) {
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let tokens = TokenStream::from_str(&text);
        let tokens = tokens.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        for child in children(&tokens) {
            let below = folder.join(&child);
            let beside = folder.join(format!("{child}.rs"));
            let file = match beside.exists() {
                true => beside,
                false => below.join("mod.rs"),
            };
            let child = module.iter().cloned().chain([child]).collect();
            self.add(child, file, &below);
        }
        self.0.insert(name(&module), Source { path, tokens });
    }

    /// The file that a path from the crate's root goes to.
    fn holding(&self, path: &[String]) -> String {
        let prefixes = (0..=path.len()).rev().map(|end| name(&path[..end]));
        let mut files = prefixes.filter(|prefix| self.0.contains_key(prefix));
        files.next().unwrap_or_else(|| ROOT.to_owned())
    }
}

/// The modules that a file declares with files of their own.
fn children(tokens: &TokenStream) -> Vec<String> {
    let tokens = without_tests(tokens.clone());
    let declared = tokens.windows(3).filter_map(|window| match window {
        [word, TokenTree::Ident(name), end] if is_word(word, "mod") && is(end, ';') => {
            Some(name.to_string())
        }
        _ => None,
    });
    declared.collect()
}

/// Reads the paths in a file.
struct Reader<'a> {
    files: &'a Files,
    module: &'a str,
    file: &'a Path,
    edges: Vec<Edge>,
}

impl Reader<'_> {
    /// Reads code that stands in a module, which may be one within the file.
    fn read(&mut self, tokens: TokenStream, inside: &[String]) {
        let tokens = without_tests(tokens);
        let mut place = 0;
        while place < tokens.len() {
            match &tokens[place..] {
                [word, TokenTree::Ident(name), TokenTree::Group(body), ..]
                    if is_word(word, "mod") && body.delimiter() == Delimiter::Brace =>
                {
                    let inside: Vec<_> = inside.iter().cloned().chain([name.to_string()]).collect();
                    self.read(body.stream(), &inside);
                    place += 3;
                }
                [word, TokenTree::Ident(child), end, ..]
                    if is_word(word, "mod") && is(end, ';') =>
                {
                    let line = child.span().start().line;
                    self.add(&["self".to_owned(), child.to_string()], inside, line);
                    place += 3;
                }
                // But for the `use<'a>` of a return type.
                [word, next, ..] if is_word(word, "use") && !is(next, '<') => {
                    let end = tokens[place..].iter().position(|token| is(token, ';'));
                    let end = end.map_or(tokens.len(), |end| place + end);
                    self.read_tree(&tokens[place + 1..end], &[], inside);
                    place = end;
                }
                [TokenTree::Ident(_), ..] => {
                    let (path, length) = path(&tokens[place..]);
                    if length > 1 {
                        self.add(&path, inside, tokens[place].span().start().line);
                    }
                    place += length;
                }
                // `pub(in path)` says who may see a thing, not what is used.
                [TokenTree::Group(group), ..] if !begins_with(group, "in") => {
                    self.read(group.stream(), inside);
                    place += 1;
                }
                _ => place += 1,
            }
        }
    }

    /// Reads `a::b`, `a::{b, c::d}` or `{a, b}` of a `use`, whose paths go on from `before`.
    fn read_tree(&mut self, tokens: &[TokenTree], before: &[String], inside: &[String]) {
        let (path, length) = path(tokens);
        let line = tokens.first().map_or(0, |token| token.span().start().line);
        let whole: Vec<String> = before.iter().cloned().chain(path).collect();
        let rest = tokens[length..].iter().find(|token| !is(token, ':'));
        let Some(TokenTree::Group(group)) = rest else {
            self.add(&whole, inside, line);
            return;
        };
        let tokens: Vec<TokenTree> = group.stream().into_iter().collect();
        let branches = tokens.split(|token| is(token, ','));
        for branch in branches.filter(|branch| !branch.is_empty()) {
            self.read_tree(branch, &whole, inside);
        }
    }

    /// Adds the edge of a path, if it is one within the crate.
    fn add(&mut self, path: &[String], inside: &[String], line: usize) {
        let Some(first) = path.first() else { return };
        let up = path.iter().take_while(|part| *part == "super").count();
        let is_child = |name: &String| {
            let child: Vec<_> = inside.iter().cloned().chain([name.clone()]).collect();
            self.files.0.contains_key(&self::name(&child))
        };
        let (base, rest) = match first.as_str() {
            "crate" => (&[][..], &path[1..]),
            "self" => (inside, &path[1..]),
            "super" => (&inside[..inside.len().saturating_sub(up)], &path[up..]),
            _ if is_child(first) => (inside, path),
            _ => return,
        };
        let target: Vec<String> = base.iter().chain(rest).cloned().collect();
        self.edges.push(Edge {
            file: self.file.to_owned(),
            line,
            from: self.module.to_owned(),
            to: self.files.holding(&target),
        });
    }
}

/// The path that tokens begin with, and how many of them it takes.
fn path(tokens: &[TokenTree]) -> (Vec<String>, usize) {
    let (mut path, mut length) = (Vec::new(), 0);
    while let Some(TokenTree::Ident(part)) = tokens.get(length) {
        path.push(part.to_string());
        length += 1;
        match &tokens[length..] {
            [a, b, TokenTree::Ident(_), ..] if is(a, ':') && is(b, ':') => length += 2,
            _ => break,
        }
    }
    (path, length)
}

/// Tokens without the items under `#[cfg(test)]`.
fn without_tests(tokens: TokenStream) -> Vec<TokenTree> {
    let mut kept = Vec::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let of_tests = is(&token, '#') && tokens.peek().is_some_and(is_cfg_test);
        if !of_tests {
            kept.push(token);
            continue;
        }
        tokens.next();
        // To the end of the item: its body, or the semicolon of one that has none.
        let is_end = |token: &TokenTree| match token {
            TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
            token => is(token, ';'),
        };
        tokens.find(is_end);
    }
    kept
}

/// Whether an attribute's brackets hold `cfg(test)` or `cfg(all(test, ...))`.
fn is_cfg_test(attribute: &TokenTree) -> bool {
    let TokenTree::Group(brackets) = attribute else {
        return false;
    };
    let text = brackets.stream().to_string().replace(' ', "");
    text == "cfg(test)" || text.starts_with("cfg(all(test,")
}

fn begins_with(group: &Group, word: &str) -> bool {
    let first = group.stream().into_iter().next();
    first.is_some_and(|token| is_word(&token, word))
}

fn is(token: &TokenTree, punctuation: char) -> bool {
    matches!(token, TokenTree::Punct(found) if found.as_char() == punctuation)
}

fn is_word(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(found) if found == word)
}

fn name(module: &[String]) -> String {
    match module.is_empty() {
        true => ROOT.to_owned(),
        false => module.join("::"),
    }
}

fn segments(name: &str) -> Vec<String> {
    let parts = name.split("::").filter(|part| *part != ROOT);
    parts.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the files of a crate with these sources use: line, from, to.
    fn read(files: &[(&str, &str)]) -> Vec<(usize, String, String)> {
        let folder = tempfile::tempdir().unwrap();
        for (name, source) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, source).unwrap();
        }
        let edges = dependencies(folder.path()).into_iter();
        edges.map(|edge| (edge.line, edge.from, edge.to)).collect()
    }

    /// What the file `a/b.rs` of a crate with the modules `a`, `a::b`, `a::c` and `d` uses.
    fn read_b(source: &str) -> Vec<(usize, String)> {
        let files = [
            ("lib.rs", "mod a; mod d;"),
            ("a/mod.rs", "mod b; mod c;"),
            ("a/b.rs", source),
            ("a/c.rs", ""),
            ("d.rs", ""),
        ];
        let edges = read(&files).into_iter();
        edges
            .filter(|(_, from, _)| from == "a::b")
            .map(|(line, _, to)| (line, to))
            .collect()
    }

    fn owned(edges: &[(usize, &str)]) -> Vec<(usize, String)> {
        let edges = edges.iter();
        edges.map(|(line, to)| (*line, (*to).to_owned())).collect()
    }

    #[test]
    fn imports_are_seen_in_every_form() {
        let cases: [(&str, &[(usize, &str)]); 10] = [
            ("use crate::d::Thing;", &[(1, "d")]),
            (
                "\nuse crate::{\n    a::c::{self, Thing},\n    d,\n    Error,\n};",
                &[(3, "a::c"), (3, "a::c"), (4, "d"), (5, "crate")],
            ),
            (
                "use super::{c::Thing as Other, Of};",
                &[(1, "a::c"), (1, "a")],
            ),
            ("use super::super::d::*;", &[(1, "d")]),
            ("pub use crate::a::c::Thing;", &[(1, "a::c")]),
            (
                "fn f() -> crate::d::Thing {\n    super::c::g()\n}",
                &[(1, "d"), (2, "a::c")],
            ),
            (
                "fn f() { assert!(matches!(x, crate::d::Kind::One)) }",
                &[(1, "d")],
            ),
            // A module within the file is one deeper.
            (
                "mod inner { use super::super::c::Thing; use super::f; }",
                &[(1, "a::c")],
            ),
            (
                "use std::fmt; use serde::d::Thing; use other::{crate_, super_};",
                &[],
            ),
            (
                "//! [crate::d]\n/* use crate::d; */\nconst TEXT: &str = \"use crate::d;\";\npub(in crate::a) fn f() {}",
                &[],
            ),
        ];
        for (source, expected) in cases {
            assert_eq!(read_b(source), owned(expected), "{source}");
        }
    }

    #[test]
    fn what_is_for_tests_is_not_seen() {
        let source = "\
            #[cfg(test)] use crate::d::A;
            #[cfg(test)]
            mod tests { use crate::d::B; fn f() { super::super::c::g() } }
            #[cfg(all(test, unix))] #[allow(dead_code)] fn f() { crate::d::h() }
            fn last() -> impl Fn() + use<> { crate::a::c::g() }";
        assert_eq!(read_b(source), owned(&[(5, "a::c")]));
        // Files of tests too.
        let files = [
            ("lib.rs", "mod a;\n#[cfg(test)]\nmod tests;"),
            ("a.rs", ""),
            ("tests.rs", "use crate::a;"),
        ];
        assert_eq!(read(&files), [(1, "crate".to_owned(), "a".to_owned())]);
    }

    #[test]
    fn a_module_uses_those_that_it_declares_or_names() {
        let files = [
            (
                "main.rs",
                "mod a;\nfn main() { a::b::run() }\nuse a::Thing;",
            ),
            ("a.rs", "mod b;"),
            ("a/b.rs", "use super::helper;"),
        ];
        let found = read(&files);
        let found: Vec<_> = found
            .iter()
            .map(|(line, from, to)| (*line, from.as_str(), to.as_str()))
            .collect();
        let expected = [
            (1, "a", "a::b"),
            (1, "a::b", "a"),
            (1, "crate", "a"),
            (2, "crate", "a::b"),
            (3, "crate", "a"),
        ];
        assert_eq!(found, expected);
        let pairs = found.iter().map(|(_, from, to)| (*from, *to));
        assert_eq!(circle(pairs), Some(vec!["a", "a::b"]));
        assert_eq!(circle([("a", "b"), ("b", "c"), ("a", "c")]), None);
    }
}
