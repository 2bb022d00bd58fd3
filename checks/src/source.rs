//! The library's source, as far as orderings are concerned: which ones there are, in which function, and what the comment above says.
//!
//! Three things are read in a comment. **Who the partner is**, in a sentence such as
//!
//! ```text
//! // Pairs with the acquire load of `tail` in `look` and with the fence in `gate::admit`.
//! ```
//!
//! for which [`Use::partners`] tells whether there is such an operation in such a function; "the kernel's …" is in no source of ours, and
//! is taken at its word where no checker comes by. **Why it stays although nothing needs
//! it**: what follows `Kept:`, to the end of the comment. And **why no checker comes by**: what follows `Unreached:`.

use std::sync::LazyLock;

use include_dir::{Dir, include_dir};
use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Expr};

use crate::flavour::weakened::{Operation, Place, Strength};

static IMPL: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../impl/src");

/// The library's files by their paths below `impl/src`, with their text.
pub fn files() -> Vec<(&'static str, &'static str)> {
    fn collect(dir: &'static Dir<'_>, files: &mut Vec<(&'static str, &'static str)>) {
        files.extend(dir.files().filter_map(|file| Some((file.path().to_str()?, file.contents_utf8()?))));
        dir.dirs().for_each(|dir| collect(dir, files));
    }
    let mut files = Vec::new();
    collect(&IMPL, &mut files);
    files.retain(|(path, _)| path.ends_with(".rs"));
    files.sort();
    files
}

/// A call in the library's source, tests left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Where its name begins.
    pub place: Place,
    /// The function around it.
    pub function: String,
    /// Its name.
    pub name: String,
    /// The last name of what it is called on; empty for a function.
    pub receiver: String,
    /// Those among its arguments that are memory orderings.
    pub orders: Vec<Strength>,
    /// The comment above it, or above the statement that it is in, or behind it.
    pub comment: String,
}

/// One memory ordering in the source. A compare-exchange has two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// Where the name of the operation begins.
    pub place: Place,
    /// The function around it.
    pub function: String,
    /// The operation.
    pub operation: Operation,
    /// What it is called on; empty for a fence.
    pub object: String,
    /// The ordering.
    pub order: Strength,
    /// Whether it is that of a compare-exchange that fails.
    pub on_failure: bool,
    /// The comment above it.
    pub comment: String,
}

/// All calls in the library's source, in its order.
pub fn calls() -> &'static [Call] {
    static CALLS: LazyLock<Vec<Call>> = LazyLock::new(|| {
        let parsed = files().into_iter().map(|(file, text)| calls_in(file, text));
        parsed.flat_map(|calls| calls.expect("the compiler has read it before")).collect()
    });
    &CALLS
}

/// All memory orderings in the library's source, in its order.
pub fn uses() -> Vec<Use> {
    calls().iter().flat_map(uses_of).collect()
}

/// The call of `name` in `function`, the first if there are several.
///
/// It saves whoever makes a [mutation](crate::flavour::weakened::Mutation) from naming a line that moves.
pub fn call(file: &str, function: &str, name: &str) -> Option<&'static Call> {
    calls().iter().find(|call| call.place.file == file && call.function == function && call.name == name)
}

/// The calls in one file.
///
/// # Errors
/// If it is not Rust.
pub fn calls_in(file: &'static str, text: &str) -> syn::Result<Vec<Call>> {
    let mut scanner = Scanner { file, lines: text.lines().collect(), scopes: vec![], calls: vec![] };
    scanner.visit_file(&syn::parse_file(text)?);
    Ok(scanner.calls)
}

/// The orderings of a call.
pub fn uses_of(call: &Call) -> Vec<Use> {
    let Some(operation) = Operation::ordered(&call.name) else { return Vec::new() };
    let ordering = |(i, &order): (usize, &Strength)| Use {
        place: call.place.clone(),
        function: call.function.clone(),
        operation,
        object: call.receiver.clone(),
        order,
        on_failure: i == 1,
        comment: call.comment.clone(),
    };
    call.orders.iter().enumerate().map(ordering).collect()
}

/// What a comment says the partner is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partner {
    /// In these words.
    pub words: String,
    /// Whether there is such an operation in each of the functions that are named, and at least one is.
    pub exists: bool,
}

impl Call {
    /// Whether it keeps a panic of foreign code from unwinding further, for a checker to take it out. What other threads
    /// have to do with is checked; the reactor and its futures belong to one thread.
    pub fn is_guard(&self) -> bool {
        let named = match &*self.name {
            "contain" | "discard" | "discard_all" | "catch" => true,
            "call" => self.receiver == "calls",
            _ => false,
        };
        // The guards themselves are made of these.
        let inside = self.place.file == "unwind.rs"
            && ["contain", "discard", "discard_all", "call"].contains(&&*self.function);
        named && !inside && !self.place.file.starts_with("uring/")
    }

    /// Why it stays although nothing needs it, if the comment says so.
    pub fn why_kept(&self) -> Option<&str> {
        after(&self.comment, "Kept: ")
    }

    /// Why no checker comes by, if the comment says so.
    pub fn why_unreached(&self) -> Option<&str> {
        after(&self.comment, "Unreached: ")
    }
}

impl Use {
    /// Whether it orders anything.
    pub fn is_ordered(&self) -> bool {
        self.order != Strength::Relaxed
    }

    /// Why it stays although nothing needs it, if the comment says so.
    pub fn why_kept(&self) -> Option<&str> {
        after(&self.comment, "Kept: ")
    }

    /// Why no checker comes by, if the comment says so.
    pub fn why_unreached(&self) -> Option<&str> {
        after(&self.comment, "Unreached: ")
    }

    /// The partners that the comment names.
    pub fn partners(&self, all: &[Use]) -> Vec<Partner> {
        let sentences = self.comment.match_indices("airs with the ").map(|(at, found)| {
            let rest = &self.comment[at + found.len()..];
            // To the end of the sentence.
            let end = [". ", "; ", ": "].iter().filter_map(|stop| rest.find(stop)).min();
            rest[..end.unwrap_or(rest.len())].trim_end_matches('.')
        });
        let halves = sentences.flat_map(|sentence| sentence.split(", and with the "));
        halves.map(|words| Partner { words: words.into(), exists: self.partner_exists(words, all) }).collect()
    }

    fn partner_exists(&self, words: &str, all: &[Use]) -> bool {
        if words.starts_with("kernel's ") {
            return self.why_unreached().is_some(); // not in this source, and so for no checker to reach
        }
        let Some((what, functions)) = words.split_once(" in `") else { return false };
        let (what, object) = what.split_once(" of `").unwrap_or((what, ""));
        let object = object.trim_end_matches('`');
        let functions = functions.split(" and in `").map_while(|function| Some(function.split_once('`')?.0));
        functions.into_iter().all(|function| {
            let (module, function) = function.rsplit_once("::").unwrap_or(("", function));
            all.iter().any(|other| {
                let file = other.place.file.trim_end_matches(".rs").trim_end_matches("/mod");
                other.function == function
                    && (if module.is_empty() {
                        other.place.file == self.place.file
                    } else {
                        file.ends_with(module)
                    })
                    && (object.is_empty() || other.object == object)
                    && what.split(' ').all(|word| describes(word, other))
            })
        })
    }
}

/// Whether a word of a partner's description is true of an operation.
fn describes(word: &str, of: &Use) -> bool {
    use Strength::{AcqRel, Acquire, Release, SeqCst};
    match word {
        "acquire" => matches!(of.order, Acquire | AcqRel | SeqCst),
        "release" => matches!(of.order, Release | AcqRel | SeqCst),
        "full" => of.order == SeqCst,
        "fence" | "fences" => of.operation == Operation::Fence,
        "exchange" | "exchanges" => {
            matches!(of.operation, Operation::CompareExchange | Operation::CompareExchangeWeak)
        }
        word => {
            let singular = word.strip_suffix('s').unwrap_or(word);
            Operation::ordered(word).or(Operation::ordered(singular)) == Some(of.operation)
        }
    }
}

fn after<'a>(comment: &'a str, marker: &str) -> Option<&'a str> {
    comment.split_once(marker).map(|(_, text)| text)
}

struct Scanner<'a> {
    file: &'static str,
    lines: Vec<&'a str>,
    /// The functions around, and of each the statements around with their first lines.
    scopes: Vec<(String, Vec<usize>)>,
    calls: Vec<Call>,
}

impl Scanner<'_> {
    fn function(&mut self, name: String, visit: impl FnOnce(&mut Self)) {
        self.scopes.push((name, Vec::new()));
        visit(self);
        self.scopes.pop();
    }

    /// Something that a comment may stand above.
    fn statement(&mut self, span: Span, visit: impl FnOnce(&mut Self)) {
        if let Some((_, statements)) = self.scopes.last_mut() {
            statements.push(span.start().line);
        }
        visit(self);
        if let Some((_, statements)) = self.scopes.last_mut() {
            statements.pop();
        }
    }

    fn call<'e>(
        &mut self,
        at: Span,
        name: String,
        receiver: String,
        arguments: impl Iterator<Item = &'e Expr>,
    ) {
        let Some((function, statements)) = self.scopes.last() else { return };
        let (line, column) = (at.start().line, at.start().column + 1);
        let statement = statements.last().copied().unwrap_or(line);
        self.calls.push(Call {
            place: Place { file: self.file.into(), line: line as u32, column: column as u32 },
            function: function.clone(),
            name,
            receiver,
            orders: arguments.filter_map(ordering).collect(),
            comment: self.comment(line, statement),
        });
    }

    fn comment(&self, line: usize, statement: usize) -> String {
        let above = |line: usize| {
            let comments =
                self.lines[..line - 1].iter().rev().map_while(|line| line.trim_start().strip_prefix("//"));
            let mut comments: Vec<_> = comments.map(str::trim).collect();
            comments.reverse();
            comments.join(" ")
        };
        let behind = self.lines[line - 1].split_once("// ").map_or("", |(_, comment)| comment.trim());
        let here = above(line);
        [if here.is_empty() { above(statement) } else { here }.as_str(), behind].join(" ").trim().into()
    }
}

/// The last name in an expression that an operation is called on.
fn last_name(expression: &Expr) -> String {
    match expression {
        Expr::Field(field) => match &field.member {
            syn::Member::Named(name) => name.to_string(),
            syn::Member::Unnamed(_) => last_name(&field.base),
        },
        Expr::Path(path) => path.path.segments.last().map_or(String::new(), |last| last.ident.to_string()),
        Expr::MethodCall(call) => call.method.to_string(),
        Expr::Index(index) => last_name(&index.expr),
        Expr::Reference(reference) => last_name(&reference.expr),
        Expr::Paren(inner) => last_name(&inner.expr),
        _ => String::new(),
    }
}

fn ordering(argument: &Expr) -> Option<Strength> {
    let Expr::Path(path) = argument else { return None };
    let name = &path.path.segments.last()?.ident;
    Strength::ALL.into_iter().find(|order| name == &format!("{:?}", order.ordering()))
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
    })
}

impl<'ast> Visit<'ast> for Scanner<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(item.sig.ident.to_string(), |scanner| visit::visit_item_fn(scanner, item));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(item.sig.ident.to_string(), |scanner| visit::visit_impl_item_fn(scanner, item));
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.function(item.sig.ident.to_string(), |scanner| visit::visit_trait_item_fn(scanner, item));
    }

    fn visit_stmt(&mut self, statement: &'ast syn::Stmt) {
        self.statement(statement.span(), |scanner| visit::visit_stmt(scanner, statement));
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        self.statement(arm.span(), |scanner| visit::visit_arm(scanner, arm));
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        let receiver = last_name(&call.receiver);
        self.call(call.method.span(), call.method.to_string(), receiver, call.args.iter());
        visit::visit_expr_method_call(self, call);
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        self.call(call.func.span(), last_name(&call.func), String::new(), call.args.iter());
        visit::visit_expr_call(self, call);
    }
}
