//! YAML text to a tree in which every node knows its place.
//!
//! A tree instead of serde's deserialization, since that ends at the first error and all of them
//! are wanted.

use super::diagnostics::{Reporter, Span};
use granit_parser::{Event, Parser, ScalarStyle};
use std::collections::HashMap;

/// Nodes that a document may come to once its aliases are put in place: a limit against documents
/// whose aliases multiply.
const NODES_MAX: usize = 8_000_000;

/// A node and its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub span: Span,
    pub value: Value,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// A scalar; `plain` is one without quotes.
    Scalar { text: String, plain: bool },
    /// A sequence.
    List(Vec<Node>),
    /// A mapping in the order of the document, duplicate keys and all.
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// Nothing stands there, or YAML's null.
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// Whether it is a single value with this text.
    pub fn is_text(&self, wanted: &str) -> bool {
        matches!(&self.value, Value::Scalar { text, .. } if text == wanted)
    }

    /// What a person calls it.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            _ if self.is_null() => "nothing",
            Value::Scalar { .. } => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    fn count(&self) -> usize {
        1 + match &self.value {
            Value::Scalar { .. } => 0,
            Value::List(items) => items.iter().map(Node::count).sum(),
            Value::Map(entries) => entries.iter().map(|(key, value)| key.count() + value.count()).sum(),
        }
    }
}

/// A collection that is not closed yet.
struct Open {
    anchor: usize,
    span: Span,
    is_map: bool,
    items: Vec<Node>,
}

/// Reads one document. Nothing is returned for a document without content, and for one that is not
/// YAML, which is reported.
pub(super) fn read(text: &str, reporter: &mut Reporter<'_>) -> Option<Node> {
    let mut options = granit_parser::Options::default();
    options.set_emit_comments(false);
    let mut tree = Tree::default();
    for next in Parser::new_from_str_with_options(text, options) {
        let (event, place) = match next {
            Ok(next) => next,
            Err(error) => {
                let start = span_at(error.marker(), error.marker());
                reporter.error(start, format!("this is not YAML: {}", error.info()), SYNTAX_HELP);
                return None;
            }
        };
        let span = span_at(&place.start, &place.end);
        if !tree.take(event, span, reporter) {
            return None;
        }
    }
    tree.root
}

const SYNTAX_HELP: &str = "mend this first: what follows could not be read";

fn span_at(start: &granit_parser::Marker, end: &granit_parser::Marker) -> Span {
    Span {
        start: start.byte_offset().unwrap_or_default(),
        end: end.byte_offset().unwrap_or_default(),
        line: start.line(),
        column: start.col() + 1,
    }
}

#[derive(Default)]
struct Tree {
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    documents: usize,
    root: Option<Node>,
}

impl Tree {
    /// Takes one event; false ends the reading.
    fn take(&mut self, event: Event<'_>, span: Span, reporter: &mut Reporter<'_>) -> bool {
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    reporter.error(
                        span,
                        "a second document begins here",
                        "put each policy into its own file",
                    );
                    return false;
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                refuse_tag(tag.is_some(), span, reporter);
                let plain = style == ScalarStyle::Plain;
                self.add(Node { span, value: Value::Scalar { text: text.into_owned(), plain } }, anchor);
            }
            Event::SequenceStart(_, anchor, tag) => self.begin(false, anchor, tag.is_some(), span, reporter),
            Event::MappingStart(_, anchor, tag) => self.begin(true, anchor, tag.is_some(), span, reporter),
            Event::SequenceEnd | Event::MappingEnd => self.end(span),
            Event::Alias(anchor) => return self.alias(anchor, span, reporter),
            _ => {}
        }
        true
    }

    fn begin(&mut self, is_map: bool, anchor: usize, tagged: bool, span: Span, reporter: &mut Reporter<'_>) {
        refuse_tag(tagged, span, reporter);
        self.open.push(Open { anchor, span, is_map, items: Vec::new() });
    }

    fn end(&mut self, end: Span) {
        let Some(open) = self.open.pop() else { return };
        let value = if open.is_map {
            let mut items = open.items.into_iter();
            let mut entries = Vec::with_capacity(items.len() / 2);
            while let (Some(key), Some(mut value)) = (items.next(), items.next()) {
                // Where nothing stands, the key is what can be shown.
                if value.span.start == value.span.end && value.is_null() {
                    value.span = key.span;
                }
                entries.push((key, value));
            }
            Value::Map(entries)
        } else {
            Value::List(open.items)
        };
        self.add(Node { span: Span { end: end.end, ..open.span }, value }, open.anchor);
    }

    /// Puts the anchor's node in the alias's place, where the alias stands.
    fn alias(&mut self, anchor: usize, span: Span, reporter: &mut Reporter<'_>) -> bool {
        let Some(node) = self.anchors.get(&anchor) else {
            reporter.error(span, "this alias stands inside its own anchor", "write the content out here");
            return false;
        };
        self.nodes += node.count();
        if self.nodes > NODES_MAX {
            reporter.error(span, "the aliases of this document multiply beyond measure", "use fewer of them");
            return false;
        }
        let node = Node { span, ..node.clone() };
        self.add(node, 0);
        true
    }

    fn add(&mut self, node: Node, anchor: usize) {
        self.nodes += 1;
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            Some(open) => open.items.push(node),
            None => self.root = Some(node),
        }
    }
}

fn refuse_tag(tagged: bool, span: Span, reporter: &mut Reporter<'_>) {
    if tagged {
        reporter.error(span, "YAML tags are not read here", "leave out the word that begins with `!`");
    }
}
