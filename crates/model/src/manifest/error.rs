//! What is wrong with a manifest: every problem with its file, its span and a way out.

use std::{error, fmt};

use miette::{Diagnostic, LabeledSpan, NamedSource, Severity, SourceCode};

use super::source::Spot;

/// The most problems that one load reports: past that the file is something else than a manifest.
const MOST: usize = 100;

/// A kind of problem in a manifest: a stable code with a page under `docs/errors/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// The stable code, such as `MDG-MF-001`.
    pub id: &'static str,
    /// What is wrong, the same for every occurrence.
    pub title: &'static str,
}

macro_rules! codes {
    ($($name:ident = $id:literal, $title:literal;)*) => {
        impl Code {
            $(#[doc = $title] pub const $name: Code = Code { id: $id, title: $title };)*

            /// Every code there is.
            pub const ALL: &'static [Code] = &[$(Code::$name),*];
        }
    };
}

codes! {
    NO_MANIFEST = "MDG-MF-001", "There is no manifest here";
    UNREADABLE = "MDG-MF-002", "A file of the manifest cannot be read";
    SYNTAX = "MDG-MF-003", "A file is not TOML";
    UNKNOWN_KEY = "MDG-MF-004", "A key is unknown";
    MISPLACED_KEY = "MDG-MF-005", "A key is under the wrong table header";
    WRONG_TYPE = "MDG-MF-006", "A value has the wrong type";
    MISSING_KEY = "MDG-MF-007", "A required key is missing";
    BAD_NAME = "MDG-MF-008", "A name breaks the rule for names";
    BAD_VALUE = "MDG-MF-009", "A value is not what its key takes";
    VARIABLE = "MDG-MF-010", "A variable cannot be substituted";
    PLACEHOLDER = "MDG-MF-011", "A placeholder is not known or not allowed here";
    BAD_PATH = "MDG-MF-012", "A route's path is not a path pattern";
    BAD_MATCH = "MDG-MF-013", "A route's host, method or header cannot match";
    BAD_WEIGHTS = "MDG-MF-014", "The weights of a route do not add up to anything";
    UNKNOWN_SERVICE = "MDG-MF-015", "A service is named that does not exist";
    DUPLICATE_SERVICE = "MDG-MF-016", "Two services have the same name";
    PORT_TAKEN = "MDG-MF-017", "Two listeners want the same port";
    FIXED_PORT_REPLICAS = "MDG-MF-018", "A fixed port cannot have several replicas";
    LISTEN_IS_PORT = "MDG-MF-019", "A service listens on its own program's port";
    DEPENDENCY_CYCLE = "MDG-MF-020", "Units wait for each other";
    UNREACHABLE_ROUTE = "MDG-MF-021", "A route can never match";
    SHARED_DATABASE = "MDG-MF-022", "Two services share a database";
    SERVICE_IN_TWO_UNITS = "MDG-MF-023", "A service is placed in two units";
    EMPTY_UNIT = "MDG-MF-024", "A unit hosts no service";
    NOT_RUNNABLE = "MDG-MF-025", "Nothing says how a service runs";
    INCLUDE_NOTHING = "MDG-MF-026", "An include matches no file";
    NO_POSTGRES = "MDG-MF-027", "No PostgreSQL server is named";
    NO_PORT = "MDG-MF-028", "Requests are meant for a service without a port";
    DUPLICATE_UNIT = "MDG-MF-029", "A unit has the name of a service that is its own unit";
    ENV_CONFLICT = "MDG-MF-030", "Services in one process want different values of a variable";
    RUNS_ELSEWHERE = "MDG-MF-031", "A service that runs elsewhere is treated as one that runs here";
    SAID_TWICE = "MDG-MF-032", "A setting is given twice in one place";
    CONTRADICTION = "MDG-MF-033", "Settings contradict each other";
    SELF_CALL = "MDG-MF-034", "A service calls itself";
    NO_ENVIRONMENT = "MDG-MF-035", "There is no such environment";
    UNDECLARED_CALL = "MDG-MF-036", "A program asks for the URL of a service that it does not call";
    NOBODY_KNOWS = "MDG-MF-037", "A client is asked who it is, and nobody can tell";
    UNKNOWN_SECRET = "MDG-MF-038", "A secret is asked for that is not kept";
    OPEN_SECRET = "MDG-MF-039", "A secret would be seen by others";
    NO_CERTIFICATE = "MDG-MF-040", "The gateway speaks TLS and has no certificate";
    CACHE_TOO_SMALL = "MDG-MF-041", "The cache is smaller than an answer that it is to keep";
    NEVER_KEPT = "MDG-MF-042", "Answers are to be kept that no cache keeps";
    OWN_HEADER = "MDG-MF-045", "A header is changed that the gateway goes by";
    BAD_REDIRECT = "MDG-MF-046", "A redirect leads nowhere, or anywhere";
    NO_CHOICE = "MDG-MF-047", "A choice is kept where there is none";
    BAD_MIRROR = "MDG-MF-048", "Requests are copied to where they go anyway";
    OPEN_CORS = "MDG-MF-049", "Every page could act for whoever is logged in";
    COMPRESSED_SECRETS = "MDG-MF-050", "Secrets would be compressed beside what others choose";
    NO_LIMIT_STORE = "MDG-MF-051", "A limit is shared, and nothing says where";
    BAD_EXPRESSION = "MDG-MF-060", "An expression cannot be read";
    BAD_COMPOSITION = "MDG-MF-061", "A composition cannot answer";
    BAD_DOMAIN = "MDG-MF-062", "No certificate can be had for a name";
    NO_PROOF = "MDG-MF-063", "An authority could not see that a name is this gateway's";
}

/// One problem of a manifest, with its place.
#[derive(Debug)]
pub struct ManifestError {
    code: Code,
    message: String,
    help: Option<String>,
    label: Option<Label>,
    also: Vec<Note>,
}

#[derive(Debug)]
struct Label {
    spot: Spot,
    source: NamedSource<std::sync::Arc<str>>,
    text: String,
}

/// A second place that a problem is about.
#[derive(Debug)]
struct Note(Label);

impl ManifestError {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: None, label: None, also: Vec::new() }
    }

    /// Points at the place of the problem.
    pub(super) fn at(mut self, spot: &Spot, text: impl Into<String>) -> Self {
        self.label = Some(Label::new(spot, text));
        self
    }

    /// Points at a second place, also in another file.
    pub(super) fn also(mut self, spot: &Spot, text: impl Into<String>) -> Self {
        self.also.push(Note(Label::new(spot, text)));
        self
    }

    /// Says what was expected and what to do.
    pub(super) fn hint(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The kind of problem.
    pub fn kind(&self) -> Code {
        self.code
    }

    /// The file and line of the problem, if it is in a file.
    pub fn place(&self) -> Option<crate::Place> {
        self.label.as_ref().map(|label| label.spot.place())
    }
}

impl Label {
    fn new(spot: &Spot, text: impl Into<String>) -> Self {
        let source = NamedSource::new(spot.source.shown.to_string_lossy(), spot.source.text.clone());
        Self { spot: spot.clone(), source: source.with_language("toml"), text: text.into() }
    }

    fn span(&self) -> LabeledSpan {
        LabeledSpan::new_primary_with_span(Some(self.text.clone()), self.spot.range.clone())
    }
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl error::Error for ManifestError {}

impl Diagnostic for ManifestError {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.code.id))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.label.as_ref().map(|label| &label.source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let label = self.label.as_ref()?;
        // One frame shows the places that share its file; the others follow as notes.
        let here = self.also.iter().filter(|note| note.0.spot.source.path == label.spot.source.path);
        let here =
            here.map(|note| LabeledSpan::new_with_span(Some(note.0.text.clone()), note.0.spot.range.clone()));
        Some(Box::new([label.span()].into_iter().chain(here)))
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        let file = self.label.as_ref().map(|label| &label.spot.source.path);
        let mut elsewhere =
            self.also.iter().filter(move |note| Some(&note.0.spot.source.path) != file).peekable();
        elsewhere.peek()?;
        Some(Box::new(elsewhere.map(|note| note as &dyn Diagnostic)))
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, at {}", self.0.text, self.0.spot.place())
    }
}

impl error::Error for Note {}

impl Diagnostic for Note {
    fn severity(&self) -> Option<Severity> {
        Some(Severity::Advice)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.0.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(std::iter::once(self.0.span())))
    }
}

/// All problems of a manifest, in the order of the files; never empty.
#[derive(Debug)]
pub struct Errors {
    list: Vec<ManifestError>,
    total: usize,
}

impl Errors {
    /// The problems; of very many, the first hundred.
    pub fn iter(&self) -> std::slice::Iter<'_, ManifestError> {
        self.list.iter()
    }
}

impl Errors {
    /// These problems; nothing if there are none.
    pub fn of(list: Vec<ManifestError>) -> Option<Self> {
        let total = list.len();
        (total > 0).then_some(Self { list, total })
    }
}

impl From<ManifestError> for Errors {
    fn from(error: ManifestError) -> Self {
        Self { list: vec![error], total: 1 }
    }
}

impl IntoIterator for Errors {
    type Item = ManifestError;
    type IntoIter = std::vec::IntoIter<ManifestError>;
    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}

impl<'a> IntoIterator for &'a Errors {
    type Item = &'a ManifestError;
    type IntoIter = std::slice::Iter<'a, ManifestError>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.total {
            1 => f.write_str("the manifest has a problem"),
            n if n > self.list.len() => {
                write!(f, "the manifest has {n} problems; the first {} are", self.list.len())
            }
            n => write!(f, "the manifest has {n} problems"),
        }
    }
}

impl error::Error for Errors {}

impl Diagnostic for Errors {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.list.iter().map(|error| error as &dyn Diagnostic)))
    }
}

/// Collects problems while a manifest is read.
#[derive(Default)]
pub(super) struct Found {
    list: Vec<ManifestError>,
    total: usize,
}

impl Found {
    pub fn push(&mut self, error: ManifestError) {
        self.push_with(|| error);
    }

    /// For an error whose hint takes a while to find: it is made only if it will be shown.
    pub fn push_with(&mut self, error: impl FnOnce() -> ManifestError) {
        self.total += 1;
        if self.list.len() < MOST {
            self.list.push(error());
        }
    }

    /// Gives the problems in order, if there are any.
    pub fn finish(mut self) -> Result<(), Errors> {
        if self.list.is_empty() {
            return Ok(());
        }
        self.list.sort_by_key(|error| error.label.as_ref().map(|label| label.spot.order()));
        Err(Errors { list: self.list, total: self.total })
    }
}
