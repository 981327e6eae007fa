//! A whole service, described: what [`crate::run`] starts.

use std::sync::Arc;

use axum::Router;
use futures_util::future::BoxFuture;
use sqlx::migrate::Migrator;
use utoipa::openapi::OpenApi;

use crate::{Resources, Result};

/// The most bytes of a request's body that an extractor reads, unless [`Service::body_limit`] says otherwise.
const BODY_LIMIT: usize = 2 * 1024 * 1024;

pub(crate) type Prepare = Arc<dyn Fn(Resources) -> BoxFuture<'static, Result<()>> + Send + Sync>;
pub(crate) type Background = Arc<dyn Fn(Resources) -> BoxFuture<'static, ()> + Send + Sync>;

/// A whole service, described. [`crate::run`] starts it, alone or with others in one process.
#[derive(Clone)]
#[must_use = "a service does nothing until it is run"]
pub struct Service {
    pub(crate) name: String,
    pub(crate) sqlite: Option<Arc<Migrator>>,
    pub(crate) postgres: Option<Arc<Migrator>>,
    pub(crate) routes: Router,
    pub(crate) openapi: Option<OpenApi>,
    pub(crate) body_limit: usize,
    pub(crate) prepare: Vec<Prepare>,
    pub(crate) background: Vec<Background>,
}

impl Service {
    /// A service of this name, as the manifest has it. A name that breaks the rule for names is reported when
    /// the service is run.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            sqlite: None,
            postgres: None,
            routes: Router::new(),
            openapi: None,
            body_limit: BODY_LIMIT,
            prepare: Vec::new(),
            background: Vec::new(),
        }
    }

    /// Keeps its rows in a SQLite file of its own when its database URL starts with `sqlite:`.
    ///
    /// `madang::migrate!("./migrations")` puts the folder's files into the program. Cargo does not notice a new
    /// file there unless the crate's `build.rs` says `cargo::rerun-if-changed=migrations`.
    pub fn sqlite(mut self, migrations: Migrator) -> Self {
        self.sqlite = Some(Arc::new(migrations));
        self
    }

    /// Keeps its rows in a PostgreSQL database of its own when its database URL starts with `postgres:`.
    pub fn postgres(mut self, migrations: Migrator) -> Self {
        self.postgres = Some(Arc::new(migrations));
        self
    }

    /// Serves these routes; called again, these too.
    pub fn routes(mut self, routes: Router) -> Self {
        self.routes = self.routes.merge(routes);
        self
    }

    /// Serves this document at `/openapi.json`. A title or version that it leaves empty is filled in.
    pub fn openapi(mut self, document: OpenApi) -> Self {
        self.openapi = Some(document);
        self
    }

    /// The most bytes of a request's body that an extractor reads: 2 MiB unless said otherwise.
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// Runs after the migrations and before the service is ready, at each start: seeds what is missing. It must
    /// be safe to repeat. Of several processes with one database, one at a time does so.
    pub fn prepare<F, Fut>(mut self, prepare: F) -> Self
    where
        F: Fn(Resources) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.prepare.push(Arc::new(move |resources| Box::pin(prepare(resources))));
        self
    }

    /// Runs beside the requests, in a task of its own, from the moment the service is prepared. It should end
    /// when [`Resources::stopping`] does; whatever then still runs is cut off with the process. A panic in it
    /// stops the process, so that it is seen and started again.
    pub fn background<F, Fut>(mut self, background: F) -> Self
    where
        F: Fn(Resources) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.background.push(Arc::new(move |resources| Box::pin(background(resources))));
        self
    }
}

/// One service or several, as [`crate::run`] takes them.
pub trait IntoServices {
    /// The services.
    fn into_services(self) -> Vec<Service>;
}

impl IntoServices for Service {
    fn into_services(self) -> Vec<Service> {
        vec![self]
    }
}

impl IntoServices for Vec<Service> {
    fn into_services(self) -> Vec<Service> {
        self
    }
}

impl<const N: usize> IntoServices for [Service; N] {
    fn into_services(self) -> Vec<Service> {
        self.into()
    }
}
