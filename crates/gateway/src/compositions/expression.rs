//! Expressions in CEL: what they name, and what they come to.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::{Arc, LazyLock},
};

use cel::{
    Context, Env, ExecutionError, IdedExpr, Program, Value,
    common::ast::{EntryExpr, Expr},
    parser::Parser,
};

/// The functions and operators that expressions have: those of CEL, and nothing that does anything.
static LANGUAGE: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// Variables and their values.
pub(crate) type Scope = BTreeMap<Box<str>, Value>;

/// An expression, ready to be evaluated.
#[derive(Clone)]
pub(crate) struct Compiled {
    program: Arc<Program>,
    /// The variables that it names.
    pub(crate) names: BTreeSet<String>,
}

/// Why a text is no expression.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    /// Where in the text it shows.
    pub(crate) at: Range<usize>,
    pub(crate) why: String,
}

// === impl Compiled ===

impl Compiled {
    /// Parses it, on a stack that is deep enough for whatever it holds: the parser calls itself for each bracket.
    pub(crate) fn parse(text: &str) -> Result<Self, Unreadable> {
        let whole = |why: String| Unreadable { at: 0..text.len(), why };
        if let Some(at) = too_deep(text) {
            return Err(Unreadable { at: at..text.len(), why: DEEP.to_owned() });
        }
        std::thread::scope(|scope| {
            let parser = std::thread::Builder::new().stack_size(STACK);
            let parser = parser.spawn_scoped(scope, || Self::parse_here(text));
            let parsed = parser.map_err(|error| whole(error.to_string()))?.join();
            parsed.unwrap_or_else(|_| Err(whole("the parser failed".to_owned())))
        })
    }

    fn parse_here(text: &str) -> Result<Self, Unreadable> {
        let unreadable = |errors: cel::ParseErrors| {
            let first = errors.errors.first();
            let (line, column) = first.map_or((1, 0), |error| error.pos);
            let why = first.map_or("it is no expression", |error| error.msg.as_str());
            Unreadable {
                at: place(text, line, column),
                why: why.lines().next().unwrap_or_default().to_owned(),
            }
        };
        let parsed = Parser::default().parse(text).map_err(unreadable)?;
        let mut names = BTreeSet::new();
        if !free(&parsed, &mut Vec::new(), &mut names, TREE) {
            return Err(Unreadable { at: 0..text.len(), why: DEEP.to_owned() });
        }
        Ok(Self { program: Arc::new(LANGUAGE.compile(text).map_err(unreadable)?), names })
    }

    /// What it comes to where these variables have these values.
    pub(crate) fn evaluate(&self, scope: &Scope) -> Result<Value, ExecutionError> {
        let mut context = Context::with_env(LANGUAGE.clone());
        for name in &self.names {
            if let Some(value) = scope.get(name.as_str()) {
                context.add_variable_from_value(name, value.clone());
            }
        }
        self.program.execute(&context)
    }
}

/// How deep brackets and signs may be in each other, and half of how many choices there may be: more than anything that
/// a person reads.
const DEPTH: usize = 24;

/// How deep what comes of it may be, where each operator and each member is one step: it is evaluated by a function that
/// calls itself, on the stack of a worker.
const TREE: usize = 100;

/// How many loops (`map`, `filter` and their like) may be in each other: each takes the time of those in it once for each
/// item.
const LOOPS: usize = 3;

/// The stack of the parser, in bytes: of the deepest that is let through it takes a tenth, without optimisation.
const STACK: usize = 64 << 20;

const DEEP: &str = "it is too deep";

/// Where an expression is deeper than that, in bytes. Brackets within a text count too, which only makes it sooner.
fn too_deep(text: &str) -> Option<usize> {
    let (mut open, mut choices, mut signs) = (0_usize, 0_usize, 0_usize);
    let deep = |(_, byte): &(usize, u8)| {
        match byte {
            b'(' | b'[' | b'{' => open += 1,
            b')' | b']' | b'}' => open = open.saturating_sub(1),
            b'?' => choices += 1,
            _ => {}
        }
        signs = if matches!(byte, b'!' | b'-') { signs + 1 } else { 0 };
        open > DEPTH || choices > 2 * DEPTH || signs > DEPTH
    };
    text.bytes().enumerate().find(deep).map(|(at, _)| at)
}

/// From a line and a column, from 1, to the end of that line; the whole text if there is no such place.
fn place(text: &str, line: isize, column: isize) -> Range<usize> {
    let before = usize::try_from(line - 1).unwrap_or_default();
    let start: usize = text.split_inclusive('\n').take(before).map(str::len).sum();
    let rest = text.get(start..).unwrap_or_default();
    let line = rest.lines().next().unwrap_or_default();
    let column = usize::try_from(column - 1).unwrap_or_default();
    let at = line.char_indices().nth(column).map(|(at, _)| at);
    at.map_or(0..text.len(), |at| start + at..start + line.len())
}

/// Finds the names in an expression that nothing in it binds, as `map` and its like bind one; false if it is deeper than
/// this.
fn free<'a>(
    expression: &'a IdedExpr,
    bound: &mut Vec<&'a str>,
    names: &mut BTreeSet<String>,
    depth: usize,
) -> bool {
    let Some(depth) = depth.checked_sub(1) else { return false };
    let mut each = |expression: &'a IdedExpr| free(expression, bound, names, depth);
    match &expression.expr {
        Expr::Unspecified | Expr::Literal(_) => true,
        Expr::Ident(name) => {
            if !name.starts_with('@') && !bound.contains(&name.as_str()) {
                names.insert(name.clone());
            }
            true
        }
        Expr::Select(select) => each(&select.operand),
        Expr::Call(call) => call.target.iter().map(|target| &**target).chain(&call.args).all(each),
        Expr::List(list) => list.elements.iter().all(each),
        Expr::Map(map) => map.entries.iter().flat_map(|entry| parts(&entry.expr)).all(each),
        Expr::Struct(of) => of.entries.iter().flat_map(|entry| parts(&entry.expr)).all(each),
        Expr::Comprehension(all) => {
            let outside = each(&all.iter_range) && each(&all.accu_init);
            let before = bound.len();
            // Each loop around this one binds two names at least.
            if before >= 2 * LOOPS {
                return false;
            }
            bound.extend([all.iter_var.as_str(), all.accu_var.as_str()]);
            bound.extend(all.iter_var2.as_deref());
            let mut inside = [&all.loop_cond, &all.loop_step, &all.result].into_iter();
            let inside = inside.all(|part| free(part, bound, names, depth));
            bound.truncate(before);
            outside && inside
        }
    }
}

fn parts(entry: &EntryExpr) -> impl Iterator<Item = &IdedExpr> {
    let (key, value) = match entry {
        EntryExpr::StructField(field) => (None, &field.value),
        EntryExpr::MapEntry(entry) => (Some(&entry.key), &entry.value),
    };
    key.into_iter().chain([value])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        Compiled::parse(text).unwrap().names.into_iter().collect()
    }

    #[test]
    fn what_an_expression_names_is_what_it_does_not_bind() {
        assert_eq!(names("order.id + user.name"), ["order", "user"]);
        assert_eq!(names("order.lines.map(line, {'of': line.product, 'at': now})"), ["now", "order"]);
        assert_eq!(names("lines.filter(x, x > y).exists(y, y == x)"), ["lines", "x", "y"]);
        assert_eq!(names("has(order.note) ? [order.note] : []"), ["order"]);
        assert!(names("'{}' + string(1)").is_empty());
    }

    #[test]
    fn what_is_no_expression_is_refused_with_its_place() {
        for (text, shown) in [("order.", ""), ("{'a': 1,\n 'b': ]}", "]}"), ("a b", "b")] {
            let unreadable = Compiled::parse(text).err().unwrap();
            assert!(!unreadable.why.is_empty());
            assert!(text[unreadable.at.clone()].ends_with(shown), "{text}: {unreadable:?}");
        }
    }

    /// However deep or long it is: it is refused, and neither takes long nor breaks the stack, which may be small.
    #[test]
    fn what_is_too_deep_is_refused() {
        for text in ["({[({[({[1]})]})]})", "a ? b : c ? d : e", "!!!!a", "1 - -1"].map(str::to_owned) {
            assert_eq!(too_deep(&text), None, "{text}");
        }
        let loops = |count: usize| format!("{}a{}", "a.map(b, ".repeat(count), ")".repeat(count));
        assert!(Compiled::parse(&loops(LOOPS)).is_ok());
        assert_eq!(Compiled::parse(&loops(LOOPS + 1)).err().unwrap().why, DEEP);
        let deepest = format!("{}1{}", "[".repeat(DEPTH), "]".repeat(DEPTH));
        let parsed = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
            Compiled::parse(&deepest).map(|compiled| compiled.evaluate(&Scope::new()).is_ok()).ok()
        });
        assert_eq!(parsed.unwrap().join().unwrap(), Some(true));
        let long = 8 * 1024;
        for (open, close) in
            [("(", ")"), ("[", "]"), ("{1:", "}"), ("!", ""), ("-", ""), ("a?", ":b"), ("f(", ")")]
        {
            let deep = long / (open.len() + close.len());
            let text = format!("{}1{}", open.repeat(deep), close.repeat(deep));
            let parsed = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
                Compiled::parse(&text).map(|compiled| drop(compiled.evaluate(&Scope::new()))).is_err()
            });
            let refused = parsed.unwrap().join().unwrap();
            assert!(refused, "{open}");
        }
    }
}
