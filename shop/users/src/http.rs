//! The endpoints of users.

use madang::{
    Error, Json, Path, Problem, Query, Result, Sqlite,
    axum::{
        Router,
        http::{HeaderMap, HeaderValue, StatusCode, header},
        response::{IntoResponse, Response},
        routing::{get, post},
    },
};
use serde::Deserialize;
use serde_json::json;
use utoipa::{IntoParams, OpenApi, ToSchema};

use crate::{
    password::{self, Password},
    store,
    user::{Name, User},
};

/// The endpoints of users, as a document.
#[derive(OpenApi)]
#[openapi(info(title = "users", description = "Who can order."), paths(list, create, one))]
pub struct ApiDoc;

/// The routes of users.
pub fn routes() -> Router {
    Router::new()
        .route("/users", get(list).post(create))
        .route("/users/{id}", get(one))
        .route("/madang/login", post(log_in))
}

/// Which users to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// The id of the last user of the page before; from the start if absent.
    #[serde(default)]
    #[param(minimum = 0)]
    after: i64,
    /// How many users at most: 1 to 500.
    #[serde(default = "default_limit")]
    #[param(minimum = 1, maximum = 500, default = 100)]
    limit: u32,
}

fn default_limit() -> u32 {
    100
}

/// Lists users in the order of their ids.
#[utoipa::path(
    get,
    path = "/users",
    operation_id = "listUsers",
    params(Wanted),
    responses(
        (status = 200, description = "a page of users", body = Vec<User>,
         headers(("link" = String, description = "where the next page is (`rel=\"next\"`); absent on the last"))),
        (status = 422, description = "a bad field", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn list(
    Sqlite(pool): Sqlite,
    Query(Wanted { after, limit }): Query<Wanted>,
) -> Result<(HeaderMap, Json<Vec<User>>)> {
    if after < 0 {
        return Err(Error::invalid("after", "must not be negative"));
    }
    if !(1..=500).contains(&limit) {
        return Err(Error::invalid("limit", "must be 1 to 500"));
    }
    let mut users = store::page(&pool, after, limit + 1).await?;
    let more = users.len() > limit as usize;
    users.truncate(limit as usize);
    let mut headers = HeaderMap::new();
    if let Some(last) = users.last().filter(|_| more) {
        let next = format!("</users?after={}&limit={limit}>; rel=\"next\"", last.id);
        headers.insert(header::LINK, HeaderValue::try_from(next).map_err(Error::internal)?);
    }
    Ok((headers, Json(users)))
}

/// A user to add.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewUser {
    /// The name: 1 to 100 characters once trimmed.
    #[schema(example = "Carol", min_length = 1, max_length = 100)]
    name: String,
    /// The name by which they log in: 1 to 100 characters once trimmed, nobody else's. Without it they cannot.
    #[schema(example = "carol", min_length = 1, max_length = 100)]
    login: Option<String>,
    /// Their password: 8 to 256 characters.
    #[schema(example = "correct horse", min_length = 8, max_length = 256, write_only)]
    password: Option<String>,
}

/// Adds a user.
#[utoipa::path(
    post,
    path = "/users",
    operation_id = "addUser",
    request_body = NewUser,
    responses(
        (status = 201, description = "the user", body = User,
         headers(("location" = String, description = "where the user is"))),
        (status = 409, description = "somebody logs in by this name", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "a bad field", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn create(Sqlite(pool): Sqlite, Json(new): Json<NewUser>) -> Result<impl IntoResponse> {
    let name = Name::parse(&new.name).map_err(|why| Error::invalid("name", why))?;
    let login = match (new.login, new.password) {
        (Some(login), Some(password)) => {
            let login = Name::parse(&login).map_err(|why| Error::invalid("login", why))?;
            let password = Password::parse(&password).map_err(|why| Error::invalid("password", why))?;
            Some((login, password.hash().await?))
        }
        (None, None) => None,
        (Some(_), None) => return Err(Error::invalid("password", "is missing")),
        (None, Some(_)) => return Err(Error::invalid("login", "is missing")),
    };
    let with = login.as_ref().map(|(login, hash)| (login, hash.as_str()));
    let user = store::add(&pool, &name, with).await?;
    let user = user.ok_or_else(|| Error::conflict("somebody logs in by this name: choose another"))?;
    Ok((StatusCode::CREATED, [(header::LOCATION, format!("/users/{}", user.id))], Json(user)))
}

/// One user.
#[utoipa::path(
    get,
    path = "/users/{id}",
    operation_id = "getUser",
    params(("id" = i64, Path, description = "the user")),
    responses(
        (status = 200, description = "the user", body = User),
        (status = 404, description = "no such user", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn one(Sqlite(pool): Sqlite, Path(id): Path<i64>) -> Result<Json<User>> {
    store::find(&pool, id).await?.map(Json).ok_or_else(|| Error::not_found(format_args!("user {id}")))
}

/// What somebody typed who wants to log in.
#[derive(Deserialize)]
struct Attempt {
    login: String,
    password: String,
}

/// Says to Madang's issuer whether a password is somebody's, and whose. Whether there is nobody or the password is another
/// takes as long, and is answered the same.
async fn log_in(Sqlite(pool): Sqlite, Json(attempt): Json<Attempt>) -> Result<Response> {
    let (user, hash) = store::by_login(&pool, attempt.login.trim()).await?.unzip();
    let same = password::is(attempt.password, hash).await?;
    Ok(match user.filter(|_| same) {
        Some(user) => {
            let claims = json!({ "name": user.name });
            Json(json!({ "subject": user.id.to_string(), "claims": claims })).into_response()
        }
        None => StatusCode::UNAUTHORIZED.into_response(),
    })
}
