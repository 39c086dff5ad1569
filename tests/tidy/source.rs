//! A source file as the rules see it: its items and its tokens, without comments and tests.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, LineColumn, Spacing, Span, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// A parsed file.
pub struct Source {
    /// Functions, types, modules and constants that are no tests.
    pub items: Vec<Item>,
    /// Every path, also a single name, and each part of a `use`.
    pub paths: Vec<Path>,
    /// All tokens but those of tests.
    tokens: Vec<Token>,
    /// The first and the last line of each item under `#[cfg(test)]`.
    tests: Vec<(usize, usize)>,
    /// Where modules with a body begin and end, but for tests.
    inline_modules: Vec<(LineColumn, LineColumn)>,
}

/// An item that has a name.
pub struct Item {
    /// `fn`, `struct`, `mod`, ...
    pub keyword: &'static str,
    pub name: String,
    pub first_line: usize,
    pub last_line: usize,
}

/// A path with every group of a `use` opened: `use a::{b, c}` has two.
pub struct Path {
    /// `::a::b` begins with an empty one.
    pub segments: Vec<String>,
    pub line: usize,
    /// Whether it is what a `use` imports.
    pub is_import: bool,
    /// The name by which an import is known: its last segment, or what stands behind `as`.
    pub name: String,
    /// Whether an import is passed on: `pub use`, with or without bounds.
    pub is_public: bool,
    start: LineColumn,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Word,
    Sign,
    Literal,
}

struct Token {
    kind: Kind,
    text: String,
    start: LineColumn,
}

impl Source {
    /// Parses a file.
    ///
    /// # Errors
    ///
    /// What is wrong with its syntax, and in which line.
    pub fn parse(text: &str) -> Result<Source, String> {
        let located = |error: syn::Error| format!("{}: {error}", error.span().start().line);
        let stream: TokenStream = text.parse().map_err(|error: proc_macro2::LexError| {
            format!("{}: {error}", error.span().start().line)
        })?;
        let file: syn::File = syn::parse2(stream.clone()).map_err(located)?;
        let mut visitor = Visitor::default();
        visitor.visit_file(&file);
        let Visitor { items, tests, inline_modules } = visitor;
        let mut tokens = Vec::new();
        flatten(stream, &mut tokens);
        tokens.retain(|token| {
            !tests.iter().any(|(start, end)| *start <= token.start && token.start < *end)
        });
        let tests = tests.into_iter().map(|(start, end)| (start.line, end.line)).collect();
        let paths = paths(&tokens);
        Ok(Source { items, paths, tokens, tests, inline_modules })
    }

    /// How many lines are of tests.
    pub fn test_lines(&self) -> usize {
        self.tests.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// The lines of a word. With an exclamation mark behind it, it is a macro that is called.
    pub fn lines_of(&self, word: &str) -> Vec<usize> {
        let (word, is_macro) = match word.strip_suffix('!') {
            Some(word) => (word, true),
            None => (word, false),
        };
        let is_it = |at: usize| {
            self.tokens[at].is_word(word)
                && (!is_macro || self.tokens.get(at + 1).is_some_and(|next| next.text == "!"))
        };
        let found = (0..self.tokens.len()).filter(|&at| is_it(at));
        found.map(|at| self.tokens[at].start.line).collect()
    }

    /// All words, in order.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.tokens.iter().filter(|token| token.kind == Kind::Word).map(|token| &*token.text)
    }

    /// Characters of a line that are code and no literals.
    pub fn code_chars(&self, line: usize) -> usize {
        let here = self.tokens.iter().filter(|token| token.start.line == line);
        let code = here.filter(|token| token.kind != Kind::Literal);
        code.map(|token| token.text.chars().count()).sum()
    }

    /// Whether the path stands in a module with a body.
    pub fn is_in_inline_module(&self, path: &Path) -> bool {
        self.inline_modules.iter().any(|(start, end)| *start <= path.start && path.start < *end)
    }

    /// What stands directly behind `root::`.
    pub fn names_below(&self, root: &str) -> BTreeSet<String> {
        let below = self.paths.iter().filter(|path| path.segments[0] == root);
        below.filter_map(|path| path.segments.get(1).cloned()).collect()
    }
}

fn paths(tokens: &[Token]) -> Vec<Path> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let begins = tokens[at].is_word("use") || begins_path(tokens, at);
        if !begins {
            at += 1;
            continue;
        }
        let is_import = tokens[at].is_word("use");
        let is_public = is_import && at > 0 && {
            let before = &tokens[at - 1];
            before.is_word("pub") || before.text == ")"
        };
        let start = tokens[at].start;
        at += usize::from(is_import);
        let mut tree = Tree { tokens, at, is_import, found: Vec::new() };
        tree.read(&mut Vec::new());
        at = tree.at.max(at + 1);
        found.extend(tree.found.into_iter().map(|(segments, line, name)| Path {
            segments,
            line,
            is_import,
            name,
            is_public,
            start,
        }));
    }
    found
}

fn begins_path(tokens: &[Token], at: usize) -> bool {
    let token = &tokens[at];
    let is_global = token.text == "::"
        && (at == 0 || {
            let before = &tokens[at - 1];
            before.kind != Kind::Word && before.text != ">"
        });
    token.kind == Kind::Word || is_global
}

impl Token {
    fn is_word(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text == word
    }
}

/// A path or a tree of paths on its way to be read.
struct Tree<'a> {
    tokens: &'a [Token],
    at: usize,
    is_import: bool,
    /// Segments, line and name.
    found: Vec<(Vec<String>, usize, String)>,
}

impl Tree<'_> {
    fn text(&self) -> &str {
        self.tokens.get(self.at).map_or("", |token| &token.text)
    }

    fn read(&mut self, head: &mut Vec<String>) {
        let length = head.len();
        if self.text() == "::" && head.is_empty() {
            head.push(String::new());
            self.at += 1;
        }
        while let Some(token) = self.tokens.get(self.at) {
            if token.kind == Kind::Word || self.is_import && token.text == "*" {
                head.push(token.text.clone());
                self.at += 1;
                if self.text() == "::" {
                    let next = self.tokens.get(self.at + 1);
                    let goes_on = next.is_some_and(|next| {
                        next.kind == Kind::Word
                            || self.is_import && ["{", "*"].contains(&next.text.as_str())
                    });
                    if goes_on {
                        self.at += 1;
                        continue;
                    }
                }
                self.end(head, token.start.line);
            } else if self.is_import && token.text == "{" {
                self.group(head);
            }
            break;
        }
        head.truncate(length);
    }

    fn end(&mut self, head: &[String], line: usize) {
        let mut name = head.last().cloned().unwrap_or_default();
        if name == "self" && head.len() > 1 {
            name = head[head.len() - 2].clone();
        }
        let mut segments = head.to_vec();
        if self.is_import
            && segments.len() > 1
            && segments.last().is_some_and(|last| last == "self")
        {
            segments.pop();
        }
        if self.is_import && self.text() == "as" {
            name = self.tokens.get(self.at + 1).map_or(name, |token| token.text.clone());
            self.at += 2;
        }
        self.found.push((segments, line, name));
    }

    fn group(&mut self, head: &mut Vec<String>) {
        self.at += 1;
        while self.at < self.tokens.len() && self.text() != "}" {
            let before = self.at;
            self.read(head);
            if self.text() == "," || self.at == before {
                self.at += 1;
            }
        }
        self.at += 1;
    }
}

fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
    let mut after_joint_colon = false;
    for tree in stream {
        let start = tree.span().start();
        let mut push = |kind: Kind, text: String, start: LineColumn| {
            tokens.push(Token { kind, text, start });
        };
        let is_colon = matches!(&tree, TokenTree::Punct(sign) if sign.as_char() == ':');
        match tree {
            TokenTree::Punct(_) if is_colon && after_joint_colon => {
                tokens.last_mut().expect("the first colon").text.push(':');
                after_joint_colon = false;
                continue;
            }
            TokenTree::Punct(sign) => {
                push(Kind::Sign, sign.as_char().to_string(), start);
                after_joint_colon = is_colon && sign.spacing() == Spacing::Joint;
                continue;
            }
            TokenTree::Ident(word) => push(Kind::Word, word.to_string(), start),
            TokenTree::Literal(literal) => push(Kind::Literal, literal.to_string(), start),
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                push(Kind::Sign, open.to_owned(), start);
                flatten(group.stream(), tokens);
                let start = group.span_close().start();
                tokens.push(Token { kind: Kind::Sign, text: close.to_owned(), start });
            }
        }
        after_joint_colon = false;
    }
}

#[derive(Default)]
struct Visitor {
    items: Vec<Item>,
    tests: Vec<(LineColumn, LineColumn)>,
    inline_modules: Vec<(LineColumn, LineColumn)>,
}

impl Visitor {
    fn add(&mut self, keyword: &'static str, name: &syn::Ident, start: Span, end: Span) {
        self.items.push(Item {
            keyword,
            name: name.to_string(),
            first_line: start.start().line,
            last_line: end.end().line,
        });
    }

    /// Whether it is a test, which is noted.
    fn notes_test(&mut self, attributes: &[syn::Attribute], whole: Span) -> bool {
        let is_test = attributes.iter().any(is_cfg_test);
        if is_test {
            self.tests.push((whole.start(), whole.end()));
        }
        is_test
    }
}

/// `#[cfg(test)]` and `#[cfg(all(test, ..))]`.
fn is_cfg_test(attribute: &syn::Attribute) -> bool {
    let syn::Meta::List(list) = &attribute.meta else { return false };
    let words: Vec<String> = list
        .tokens
        .clone()
        .into_iter()
        .flat_map(|tree| match tree {
            TokenTree::Group(group) => group.stream().into_iter().take(1).collect(),
            tree => vec![tree],
        })
        .map(|tree| tree.to_string())
        .collect();
    list.path.is_ident("cfg")
        && (words[0] == "test" || words[0] == "all" && words.get(1).is_some_and(|w| w == "test"))
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::ExternCrate(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::ForeignMod(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::TraitAlias(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Union(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

impl<'ast> Visit<'ast> for Visitor {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if self.notes_test(attributes(item), item.span()) {
            return;
        }
        let whole = item.span();
        match item {
            syn::Item::Fn(item) => self.add("fn", &item.sig.ident, item.sig.span(), whole),
            syn::Item::Struct(item) => self.add("struct", &item.ident, whole, whole),
            syn::Item::Enum(item) => self.add("enum", &item.ident, whole, whole),
            syn::Item::Union(item) => self.add("union", &item.ident, whole, whole),
            syn::Item::Trait(item) => self.add("trait", &item.ident, whole, whole),
            syn::Item::Type(item) => self.add("type", &item.ident, whole, whole),
            syn::Item::Const(item) => self.add("const", &item.ident, whole, whole),
            syn::Item::Static(item) => self.add("static", &item.ident, whole, whole),
            syn::Item::Macro(syn::ItemMacro { ident: Some(name), .. }) => {
                self.add("macro_rules", name, whole, whole);
            }
            syn::Item::Mod(item) => {
                self.add("mod", &item.ident, whole, whole);
                if item.content.is_some() {
                    self.inline_modules.push((whole.start(), whole.end()));
                }
            }
            _ => {}
        }
        visit::visit_item(self, item);
    }

    fn visit_impl_item(&mut self, item: &'ast syn::ImplItem) {
        let attributes = match item {
            syn::ImplItem::Fn(item) => &item.attrs,
            syn::ImplItem::Const(item) => &item.attrs,
            syn::ImplItem::Type(item) => &item.attrs,
            _ => return visit::visit_impl_item(self, item),
        };
        if self.notes_test(attributes, item.span()) {
            return;
        }
        match item {
            syn::ImplItem::Fn(item) => {
                self.add("fn", &item.sig.ident, item.sig.span(), item.span());
            }
            syn::ImplItem::Const(item) => self.add("const", &item.ident, item.span(), item.span()),
            syn::ImplItem::Type(item) => self.add("type", &item.ident, item.span(), item.span()),
            _ => {}
        }
        visit::visit_impl_item(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.add("fn", &item.sig.ident, item.sig.span(), item.span());
        visit::visit_trait_item_fn(self, item);
    }
}
