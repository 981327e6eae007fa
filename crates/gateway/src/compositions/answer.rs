//! What a composition answers.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use cel::Value;
use http::{
    HeaderValue, Response,
    header::{CONTENT_TYPE, VARY},
    request::Parts,
};
use madang_calls::{Body, Client, Context, Form};
use madang_wire::{Code, Problem, principal::PrincipalClaims};
use serde_json::{Map, json};

use super::{
    Answer, Ready,
    expression::Scope,
    gather::{Gathered, Needed},
    value,
};

/// From how many bytes of answers on an expression may take so long that it is evaluated beside the worker's requests.
const LARGE: usize = 32 * 1024;

impl Ready {
    pub(super) async fn answer(&self, client: &Client, context: Context, request: &Parts) -> Response<Body> {
        let refuse = |problem: Problem| Form::Problem.answer(problem, &context, None);
        let Some(answer) = self.answer_for(request) else {
            return refuse(Problem::new(Code::INTERNAL));
        };
        let scope = self.known(request, &context);
        let gathered = self.gather(&answer.needs, client, &context, &request.headers, scope).await;
        let mut response = match gathered {
            Err(Needed { name, why }) => why.refusal(&name, &context),
            Ok(gathered) => match shaped(answer, gathered).await {
                Ok(json) => as_json(&json),
                Err(why) => {
                    let detail = format!("{} cannot be answered: {why}", self.name);
                    refuse(Problem::new(Code::NOT_COMPOSED).detail(detail))
                }
            },
        };
        if let Some(vary) = &self.vary {
            response.headers_mut().insert(VARY, vary.clone());
        }
        response
    }

    /// What expressions know before anybody was asked.
    fn known(&self, request: &Parts, context: &Context) -> Scope {
        let mut scope = Scope::new();
        let segments: Vec<&str> = request.uri.path().split('/').collect();
        for (at, name) in &self.parameters {
            let segment = segments.get(*at).copied().unwrap_or_default();
            scope.insert(name.clone(), value::text(unescaped(segment)));
        }
        let query = request.uri.query().unwrap_or_default();
        let query = form_urlencoded::parse(query.as_bytes())
            .map(|(name, text)| (name.into_owned(), value::text(text)));
        // Of a parameter that is given twice the first counts, whoever put the second behind it.
        let query: Vec<_> = query.collect();
        let headers = self.pass.iter().filter_map(|name| {
            let given = request.headers.get(name)?.to_str().ok()?;
            Some((name.as_str().to_owned(), value::text(given)))
        });
        let known = [
            ("path", value::text(request.uri.path())),
            ("query", value::map(query.into_iter().rev())),
            ("headers", value::map(headers)),
        ];
        scope.insert("request".into(), value::map(known.map(|(name, value)| (name.to_owned(), value))));
        scope.insert("principal".into(), whose(context));
        scope
    }
}

/// Whose the request is; null if nobody was asked. The gateway signed it itself, in this process.
fn whose(context: &Context) -> Value {
    let claims = || {
        let signed = context.principal.as_ref()?.signed().as_bytes();
        let claims = URL_SAFE_NO_PAD.decode(signed.split(|byte| *byte == b'.').nth(1)?).ok()?;
        serde_json::from_slice::<PrincipalClaims>(&claims).ok()
    };
    let Some(PrincipalClaims { sub, scope, roles, claims, .. }) = claims() else { return Value::Null };
    let scopes: Vec<&str> = scope.split_whitespace().collect();
    value::from_json(json!({ "subject": sub, "scopes": scopes, "roles": roles, "claims": claims }))
}

/// The answer's JSON; says why there is none. An expression takes as long as what it is about is large, and that only a
/// service knows.
async fn shaped(answer: &Answer, gathered: Gathered) -> Result<serde_json::Value, String> {
    let Gathered { mut scope, missing, size } = gathered;
    let problems: Map<_, _> = missing.iter().map(|(name, why)| (name.to_string(), why.problem())).collect();
    let told = answer.tells_problems || problems.is_empty();
    scope.insert("problems".into(), value::from_json(problems.clone().into()));
    let shape = answer.shape.clone();
    let evaluate = move || {
        let value = shape.evaluate(&scope).map_err(|error| error.to_string())?;
        value::to_json(&value)
    };
    let json = match size {
        LARGE.. => tokio::task::spawn_blocking(evaluate).await.map_err(|error| error.to_string())?,
        _ => evaluate(),
    };
    match json? {
        serde_json::Value::Object(mut fields) if !told => {
            fields.insert("problems".to_owned(), problems.into());
            Ok(fields.into())
        }
        json => Ok(json),
    }
}

fn as_json(json: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(Body::from(json.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn unescaped(segment: &str) -> String {
    let bytes: Vec<u8> = madang_model::unescaped(segment).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
