//! Checks of which module uses which, against a table.

use std::{collections::BTreeSet, path::Path};

use crate::imports::{Edge, ROOT, circle, dependencies, modules};

/// A module at the top of a crate, and those that it and what is below it may use. The root may use all.
pub(crate) type Allowed = [(&'static str, &'static str)];

/// Every arrow of the source is in the table, every arrow of the table in the source, and the table has no
/// circle.
pub(crate) fn assert_layers(source: &Path, allowed: &'static Allowed) {
    let edges = dependencies(source);
    let edges: Vec<&Edge> = edges
        .iter()
        .filter(|edge| edge.from != ROOT && top(&edge.from) != top(&edge.to))
        .collect();
    let arrows = arrows(allowed);
    let forbidden: Vec<String> = edges
        .iter()
        .filter(|edge| !arrows.contains(&(top(&edge.from), top(&edge.to))))
        .map(|edge| edge.to_string())
        .collect();
    assert!(
        forbidden.is_empty(),
        "{}\nis in no row of the table: import a name from the module that owns it, or, if the arrow \
         is right, add it there",
        forbidden.join("\n")
    );
    let used = edges.iter().map(|edge| (top(&edge.from), top(&edge.to)));
    let used: BTreeSet<_> = used.collect();
    let idle: Vec<_> = arrows.difference(&used).collect();
    assert!(idle.is_empty(), "{idle:?} are in the table and unused");
    let listed: BTreeSet<_> = allowed.iter().map(|(module, _)| *module).collect();
    let there = modules(source);
    let there: BTreeSet<_> = there.iter().map(|module| top(module)).collect();
    let there: BTreeSet<_> = there.into_iter().filter(|module| *module != ROOT).collect();
    assert_eq!(listed, there, "the table has a row for each module");
    assert_eq!(circle(arrows), None, "the table has a circle");
}

/// No files of the source go round in a circle.
pub(crate) fn assert_no_circle(source: &Path) {
    let edges = dependencies(source);
    let pairs = edges.iter().map(|edge| (&*edge.from, &*edge.to));
    let Some(modules) = circle(pairs) else {
        return;
    };
    let next = modules.iter().cycle().skip(1);
    let edge = |(from, to): (&&str, &&str)| {
        let mut between = edges
            .iter()
            .filter(|edge| edge.from == *from && edge.to == *to);
        between.next().unwrap().to_string()
    };
    let edges: Vec<String> = modules.iter().zip(next).map(edge).collect();
    panic!(
        "a circle: move what they share into a module of its own\n{}",
        edges.join("\n")
    );
}

/// The arrows of a table.
fn arrows(allowed: &'static Allowed) -> BTreeSet<(&'static str, &'static str)> {
    let rows = allowed.iter();
    let row = |(from, uses): &(&'static str, &'static str)| {
        let (from, uses) = (*from, uses.split_whitespace());
        uses.map(move |to| (from, to))
    };
    rows.flat_map(row).collect()
}

fn top(module: &str) -> &str {
    module.split("::").next().unwrap()
}
